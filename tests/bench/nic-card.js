// Our card's wasm build without an emulator, through the public class Nic. What a driver does is
// laid out once: descriptors and frames stay, a batch moves the tail, polls and reads ICR.
import { createNic } from "../../wasm-glue/src/index.js";
import { tunnelPort } from "../../wasm-glue/src/nic.js";
import { Reg } from "../glue/driver.js";
import {
  framesOf,
  HEADER_BYTES,
  L4_AT,
  MSS,
  mustEqual,
  pseudo,
  TCP_CHECKSUM_AT,
  tcpBytesOf,
} from "./nic-frames.js";

const RAM_BYTES = 1 << 20;
const TX_RING = 0x1000;
const RX_RING = 0x3000;
const TX_BUFFERS = 0x10000;
const RX_BUFFERS = 0x40000;
const BUFFER_BYTES = 2048;
const DESC_BYTES = 16;
const RX_SLOTS = 256;
const PIECE_BYTES = 4096; // as drivers cut page fragments
const RING_HEADER_BYTES = 16;
const PAGE_BYTES = 65536;

const RXCSUM = 0x5000;
const RXCSUM_IP_TCP = 0x300;
const RCTL_EN_UPE_BAM_SECRC = 0x0400800a;
const TCTL_EN_PSP = 0x0a;
const CAUSES = 0xd7;
const COMMAND_MEMORY_MASTER = 6;

const EOP_RS = 0x09;
const DATA = (2 << 24) | (1 << 29) | (1 << 20); // IFCS, DEXT, DTYP
const TSE = 0x04;
const TXSM = 0x200;
const IXSM_TXSM = 0x300;
const STATUS_DD_EOP_TCPCS_IPCS = 0x63;

const recordBytes = (frame) => (frame.length + 4 + 3) & ~3;

/** One card with the rings of one shape of traffic. */
export class CardBench {
  /**
   * @param {import("./nic-frames.js").Shape} shape
   * @param {"direct" | "callback" | "shared"} kind  the card lives in guest memory, or asks for it
   *   (and lives in a shared memory itself)
   */
  static async create(shape, kind) {
    const bench = new CardBench();
    let memory;
    if (kind === "direct") {
      const wasmMemory = new WebAssembly.Memory({ initial: RAM_BYTES / PAGE_BYTES + 1 });
      const guestBase = PAGE_BYTES;
      memory = { wasmMemory, guestBase, guestSize: RAM_BYTES };
      bench.ram = () => new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES);
    } else {
      memory = new Uint8Array(RAM_BYTES);
      bench.ram = () => memory;
    }
    bench.shape = shape;
    bench.frames = framesOf(shape);
    bench.batch = [];
    for (let i = 0; i < shape.units; i++) bench.batch.push(...bench.frames);
    bench.batchBytes = bench.batch.reduce((sum, frame) => sum + recordBytes(frame), 0);
    const isolated = kind === "shared";
    const ringBytes = 2 * bench.batchBytes;
    bench.nic = await createNic({ memory, isolated, ringBytes });
    const { rings } = bench.nic[tunnelPort];
    bench.memory = rings.memory;
    bench.txWords = new Uint32Array(rings.memory.buffer, rings.txAt, 4);
    bench.rxWords = new Uint32Array(rings.memory.buffer, rings.rxAt, 4);
    bench.txData = new Uint8Array(rings.memory.buffer, rings.txAt + RING_HEADER_BYTES);
    bench.rxData = new Uint8Array(rings.memory.buffer, rings.rxAt + RING_HEADER_BYTES);
    bench.txTail = 0;
    bench.rxTail = 0;
    bench.#start();
    bench.#check();
    return bench;
  }

  #put(register, value) {
    this.nic.barWrite(0, register, 4, value);
  }

  #slot(slot) {
    const ram = this.ram();
    return new DataView(ram.buffer, ram.byteOffset + TX_RING + slot * DESC_BYTES, DESC_BYTES);
  }

  #context(slot, segment) {
    const raw = this.#slot(slot);
    raw.setUint32(0, 14 | (24 << 8) | ((L4_AT - 1) << 16), true);
    raw.setUint32(4, L4_AT | (TCP_CHECKSUM_AT << 8), true);
    raw.setUint32(8, (segment ? this.shape.bytes - HEADER_BYTES : 0) | (3 << 24) | (1 << 29), true);
    raw.setUint32(12, segment ? (HEADER_BYTES << 8) | (MSS << 16) : 0, true);
    if (segment) raw.setUint8(11, raw.getUint8(11) | TSE);
  }

  #data(slot, at, bytes, last, segment) {
    const raw = this.#slot(slot);
    raw.setUint32(0, at, true);
    raw.setUint32(4, 0, true);
    raw.setUint32(8, bytes | DATA, true);
    raw.setUint32(12, segment ? IXSM_TXSM : TXSM, true);
    if (segment) raw.setUint8(11, raw.getUint8(11) | TSE);
    if (last) raw.setUint8(11, raw.getUint8(11) | EOP_RS);
  }

  #layOutTransmit() {
    const { shape, frames } = this;
    const ram = this.ram();
    const segment = frames.length > 1;
    const first = frames[0].slice();
    const seed = pseudo(first, segment ? 0 : tcpBytesOf(first));
    first.set([seed >> 8, seed & 0xff], TCP_CHECKSUM_AT);
    if (!segment) {
      this.txStep = shape.units;
      this.txCount = 4 * shape.units;
      for (let slot = 0; slot < this.txCount; slot++) {
        const at = TX_BUFFERS + (slot % shape.units) * BUFFER_BYTES;
        ram.set(first, at);
        this.#data(slot, at, first.length, true, false);
      }
      return;
    }
    first.fill(0, 24, 26);
    ram.set(first, TX_BUFFERS);
    for (let i = 1; i < frames.length; i++)
      ram.set(frames[i].subarray(HEADER_BYTES), TX_BUFFERS + HEADER_BYTES + i * MSS);
    let slot = 0;
    for (let lap = 0; lap < 4; lap++) {
      this.#context(slot++, true);
      this.#data(slot++, TX_BUFFERS, HEADER_BYTES, false, true);
      for (let at = HEADER_BYTES; at < shape.bytes; at += PIECE_BYTES) {
        const rest = shape.bytes - at;
        const last = rest <= PIECE_BYTES;
        this.#data(slot++, TX_BUFFERS + at, Math.min(rest, PIECE_BYTES), last, true);
      }
      if (lap === 0) this.txStep = slot;
    }
    this.txCount = slot;
  }

  /** NET_RX keeps one batch of records; receive() publishes it again and again. */
  #layOutReceive() {
    const records = new DataView(this.rxData.buffer, this.rxData.byteOffset);
    let at = 0;
    for (const frame of this.batch) {
      records.setUint32(at, frame.length, true);
      this.rxData.set(frame, at + 4);
      at += recordBytes(frame);
    }
    const ram = this.ram();
    const ring = new DataView(ram.buffer, ram.byteOffset + RX_RING);
    for (let slot = 0; slot < RX_SLOTS; slot++)
      ring.setUint32(slot * DESC_BYTES, RX_BUFFERS + slot * BUFFER_BYTES, true);
  }

  #start() {
    this.#layOutTransmit();
    this.#layOutReceive();
    this.nic.configWrite(4, 2, COMMAND_MEMORY_MASTER);
    this.#put(Reg.TDBAL, TX_RING);
    this.#put(Reg.TDLEN, this.txCount * DESC_BYTES);
    this.#put(Reg.RDBAL, RX_RING);
    this.#put(Reg.RDLEN, RX_SLOTS * DESC_BYTES);
    this.#put(RXCSUM, RXCSUM_IP_TCP);
    this.#put(Reg.RCTL, RCTL_EN_UPE_BAM_SECRC);
    this.#put(Reg.TCTL, TCTL_EN_PSP);
    this.#put(Reg.IMS, CAUSES);
    if (this.frames.length > 1) return;
    // The context stays latched; its slot is a data descriptor's again afterwards.
    this.#context(0, false);
    this.txTail = 1;
    this.#put(Reg.TDT, 1);
    this.nic.poll();
    this.#data(0, TX_BUFFERS, this.shape.bytes, true, false);
  }

  /** @param {number} batches */
  transmit(batches) {
    const { nic, txWords } = this;
    for (let i = 0; i < batches; i++) {
      this.txTail = (this.txTail + this.txStep) % this.txCount;
      nic.barWrite(0, Reg.TDT, 4, this.txTail);
      nic.poll();
      nic.barRead(0, Reg.ICR, 4);
      txWords[0] = txWords[2]; // the reader of NET_TX took everything
    }
  }

  /** @param {number} batches */
  receive(batches) {
    const { nic, rxWords, batchBytes } = this;
    const frames = this.batch.length;
    for (let i = 0; i < batches; i++) {
      this.rxTail = (this.rxTail + frames) % RX_SLOTS;
      nic.barWrite(0, Reg.RDT, 4, this.rxTail);
      rxWords[0] = 0;
      rxWords[1] = batchBytes;
      rxWords[2] = batchBytes;
      nic.poll();
      nic.barRead(0, Reg.ICR, 4);
    }
  }

  /** A batch each way, looked at. */
  #check() {
    this.transmit(1);
    const records = new DataView(this.txData.buffer, this.txData.byteOffset);
    let at = 0;
    for (const frame of this.batch) {
      const bytes = records.getUint32(at, true);
      mustEqual(this.txData.subarray(at + 4, at + 4 + bytes), frame, "transmit");
      at += recordBytes(frame);
    }
    this.receive(1);
    const ram = this.ram();
    const ring = new DataView(ram.buffer, ram.byteOffset + RX_RING);
    this.batch.forEach((frame, slot) => {
      const status = ring.getUint16(slot * DESC_BYTES + 12, true);
      if (status !== STATUS_DD_EOP_TCPCS_IPCS) throw new Error(`receive: status ${status}`);
      const bytes = ring.getUint16(slot * DESC_BYTES + 8, true);
      const buffer = RX_BUFFERS + slot * BUFFER_BYTES;
      mustEqual(ram.subarray(buffer, buffer + bytes), frame, "receive");
    });
  }
}

/** Bare copy and checksum, compiled as the card is. @param {BufferSource} wasm */
export async function makeLimit(wasm) {
  const { instance } = await WebAssembly.instantiate(wasm);
  return (shape) => {
    const frames = framesOf(shape);
    const last = frames[frames.length - 1].length;
    const count = shape.units * frames.length;
    return (batches) => instance.exports.limit_run(frames[0].length, last, count, batches);
  };
}
