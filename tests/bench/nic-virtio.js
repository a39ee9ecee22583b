// Our virtio-net without an emulator, as nic-card.js does the E1000: rings and frames are laid out once,
// a batch moves avail.idx, notifies, polls and reads ISR.
import { createNic } from "../../wasm-glue/src/index.js";
import { tunnelPort } from "../../wasm-glue/src/nic.js";
import { Common, RX, TX } from "../glue/virtio-driver.js";
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

const RAM_BYTES = 2 << 20;
const PAGE_BYTES = 65536;
const QUEUE_BYTES = 0x10000; // queue q lies at (q + 1) times this
const AVAIL_AT = 0x4000;
const USED_AT = 0x6000;
const RX_BUFFERS = 0x80000;
const TX_BUFFERS = 0x100000;
const BUFFER_BYTES = 2048;
const SLOTS = 256;
const VNET_BYTES = 12; // the header before a frame
const PIECE_BYTES = 4096; // as drivers cut page fragments
const CHAINS = 8; // of an aggregate's descriptors in the ring
const RING_HEADER_BYTES = 16;

const NOTIFY = 0x1000;
const ISR = 0x2000;
const DESC_NEXT = 1;
const DESC_WRITE = 2;
const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_TCPV4 = 1;
const [CSUM, GUEST_CSUM, MAC, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, STATUS] = [0, 1, 5, 7, 11, 15, 16];
const SUPER_RING_BYTES = 1 << 19; // enough for records with a gso_size before each frame

const recordBytes = (frame) => (frame.length + 4 + 3) & ~3;
const bits = (list) => list.reduce((sum, bit) => sum | (1 << bit), 0);

/** The frames as one packet, its IP length over all of it, behind their gso_size. */
function superRecord(frames) {
  const payloads = frames.map((frame, index) =>
    index === 0 ? frame : frame.subarray(HEADER_BYTES),
  );
  const record = new Uint8Array(Buffer.concat([Buffer.alloc(2), ...payloads]));
  const view = new DataView(record.buffer);
  view.setUint16(0, MSS, true);
  view.setUint16(2 + 16, record.length - 2 - 14);
  return record;
}

/** One card with the rings of one shape of traffic. */
export class VirtioBench {
  /**
   * @param {import("./nic-frames.js").Shape} shape
   * @param {"direct" | "callback"} kind  the card lives in guest memory, or asks for it
   * @param {boolean} [whole]  an aggregate passes as one super-frame, both ways
   */
  static async create(shape, kind, whole = false) {
    const bench = new VirtioBench();
    let memory;
    let ram;
    if (kind === "direct") {
      const wasmMemory = new WebAssembly.Memory({ initial: RAM_BYTES / PAGE_BYTES + 1 });
      memory = { wasmMemory, guestBase: PAGE_BYTES, guestSize: RAM_BYTES };
      ram = () => new Uint8Array(wasmMemory.buffer, PAGE_BYTES, RAM_BYTES);
    } else {
      memory = new Uint8Array(RAM_BYTES);
      ram = () => memory;
    }
    bench.frames = framesOf(shape);
    bench.batch = [];
    for (let i = 0; i < shape.units; i++) bench.batch.push(...bench.frames);
    if (whole) bench.batch = [superRecord(bench.frames)];
    bench.whole = whole;
    bench.rxStep = whole
      ? Math.ceil((VNET_BYTES + shape.bytes) / BUFFER_BYTES)
      : bench.batch.length;
    bench.batchBytes = bench.batch.reduce((sum, frame) => sum + recordBytes(frame), 0);
    bench.units = shape.units;
    bench.nic = await createNic({
      model: "virtio-net",
      memory,
      isolated: false,
      ringBytes: whole ? SUPER_RING_BYTES : 2 * bench.batchBytes,
    });
    const { rings } = bench.nic[tunnelPort];
    bench.txWords = new Uint32Array(rings.memory.buffer, rings.txAt, 4);
    bench.rxWords = new Uint32Array(rings.memory.buffer, rings.rxAt, 4);
    bench.txData = new Uint8Array(rings.memory.buffer, rings.txAt + RING_HEADER_BYTES);
    bench.rxData = new Uint8Array(rings.memory.buffer, rings.rxAt + RING_HEADER_BYTES);
    bench.ram = ram(); // the memory has its final size
    bench.view = new DataView(bench.ram.buffer, bench.ram.byteOffset);
    bench.#start();
    bench.#check();
    return bench;
  }

  #put(register, size, value) {
    this.nic.barWrite(0, register, size, value);
  }

  #descriptor(queue, slot, at, bytes, flags) {
    const raw = (queue + 1) * QUEUE_BYTES + slot * 16;
    this.view.setUint32(raw, at, true);
    this.view.setUint32(raw + 8, bytes, true);
    this.view.setUint16(raw + 12, flags, true);
    this.view.setUint16(raw + 14, slot + 1, true);
  }

  #available(queue, entry, head) {
    this.view.setUint16((queue + 1) * QUEUE_BYTES + AVAIL_AT + 4 + 2 * entry, head, true);
  }

  /** The header and, behind it, the first frame as a driver leaves it to the card. */
  #packetAt(at, gsoBytes) {
    const first = this.frames[0].slice();
    const seed = pseudo(first, gsoBytes ? 0 : tcpBytesOf(first));
    first.set([seed >> 8, seed & 0xff], TCP_CHECKSUM_AT);
    this.ram.set([NEEDS_CSUM, gsoBytes ? GSO_TCPV4 : 0, HEADER_BYTES, 0], at);
    this.view.setUint16(at + 4, gsoBytes, true);
    this.view.setUint16(at + 6, L4_AT, true);
    this.view.setUint16(at + 8, TCP_CHECKSUM_AT - L4_AT, true);
    this.ram.set(first, at + VNET_BYTES);
    return VNET_BYTES + first.length;
  }

  #layOutTransmit() {
    if (this.frames.length === 1) {
      for (let slot = 0; slot < SLOTS; slot++) {
        const at = TX_BUFFERS + (slot % this.units) * BUFFER_BYTES;
        this.#descriptor(TX, slot, at, this.#packetAt(at, 0), 0);
        this.#available(TX, slot, slot);
      }
      return;
    }
    let end = TX_BUFFERS + this.#packetAt(TX_BUFFERS, MSS);
    for (const frame of this.frames.slice(1)) {
      this.ram.set(frame.subarray(HEADER_BYTES), end);
      end += frame.length - HEADER_BYTES;
    }
    const pieces = Math.ceil((end - TX_BUFFERS) / PIECE_BYTES);
    for (let chain = 0; chain < CHAINS; chain++) {
      for (let i = 0; i < pieces; i++) {
        const at = TX_BUFFERS + i * PIECE_BYTES;
        const flags = i + 1 < pieces ? DESC_NEXT : 0;
        this.#descriptor(TX, chain * pieces + i, at, Math.min(PIECE_BYTES, end - at), flags);
      }
    }
    for (let entry = 0; entry < SLOTS; entry++)
      this.#available(TX, entry, (entry % CHAINS) * pieces);
  }

  #layOutReceive() {
    const records = new DataView(this.rxData.buffer, this.rxData.byteOffset);
    let at = 0;
    for (const frame of this.batch) {
      records.setUint32(at, frame.length, true);
      this.rxData.set(frame, at + 4);
      at += recordBytes(frame);
    }
    for (let slot = 0; slot < SLOTS; slot++) {
      this.#descriptor(RX, slot, RX_BUFFERS + slot * BUFFER_BYTES, BUFFER_BYTES, DESC_WRITE);
      this.#available(RX, slot, slot);
    }
  }

  #start() {
    this.nic.configWrite(4, 2, 6);
    this.#put(Common.STATUS, 1, 3);
    const features = [bits([CSUM, GUEST_CSUM, MAC, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, STATUS]), 1];
    features.forEach((word, index) => {
      this.#put(Common.DRIVER_FEATURE_SELECT, 4, index);
      this.#put(Common.DRIVER_FEATURE, 4, word);
    });
    this.#put(Common.STATUS, 1, 11);
    for (const queue of [RX, TX]) {
      const at = (queue + 1) * QUEUE_BYTES;
      this.#put(Common.QUEUE_SELECT, 2, queue);
      this.#put(Common.QUEUE_DESC, 4, at);
      this.#put(Common.QUEUE_AVAIL, 4, at + AVAIL_AT);
      this.#put(Common.QUEUE_USED, 4, at + USED_AT);
      this.#put(Common.QUEUE_ENABLE, 2, 1);
    }
    this.#layOutTransmit();
    this.#layOutReceive();
    this.#put(Common.STATUS, 1, 15);
    const index = (queue) =>
      new Uint16Array(
        this.ram.buffer,
        this.ram.byteOffset + (queue + 1) * QUEUE_BYTES + AVAIL_AT + 2,
        1,
      );
    this.rxAvail = index(RX);
    this.txAvail = index(TX);
  }

  /** @param {number} batches */
  transmit(batches) {
    const { nic, txWords, txAvail, units } = this;
    for (let i = 0; i < batches; i++) {
      txAvail[0] += units;
      nic.barWrite(0, NOTIFY + 4 * TX, 2, TX);
      nic.poll();
      nic.barRead(0, ISR, 1);
      txWords[0] = txWords[2]; // the reader of NET_TX took everything
    }
  }

  /** @param {number} batches */
  receive(batches) {
    const { nic, rxWords, rxAvail, batchBytes, rxStep } = this;
    for (let i = 0; i < batches; i++) {
      rxAvail[0] += rxStep;
      nic.barWrite(0, NOTIFY + 4 * RX, 2, RX);
      rxWords[0] = 0;
      rxWords[1] = batchBytes;
      rxWords[2] = batchBytes;
      nic.poll();
      nic.barRead(0, ISR, 1);
    }
  }

  /** A batch each way, looked at. */
  #check() {
    this.transmit(1);
    if (this.whole) {
      this.#checkWhole();
      return;
    }
    const records = new DataView(this.txData.buffer, this.txData.byteOffset);
    let at = 0;
    for (const frame of this.batch) {
      const bytes = records.getUint32(at, true);
      mustEqual(this.txData.subarray(at + 4, at + 4 + bytes), frame, "virtio transmit");
      at += recordBytes(frame);
    }
    this.receive(1);
    this.batch.forEach((frame, slot) => {
      const buffer = RX_BUFFERS + slot * BUFFER_BYTES;
      if (this.ram[buffer] !== DATA_VALID) throw new Error("virtio receive: no DATA_VALID");
      const start = buffer + VNET_BYTES;
      mustEqual(this.ram.subarray(start, start + frame.length), frame, "virtio receive");
    });
  }

  #checkWhole() {
    const record = this.batch[0];
    const payload = record.subarray(2 + HEADER_BYTES);
    const sent = new DataView(this.txData.buffer, this.txData.byteOffset);
    if (sent.getUint32(0, true) !== record.length || sent.getUint16(4, true) !== MSS)
      throw new Error("virtio transmit: no super-frame");
    const sentAt = 4 + 2 + HEADER_BYTES;
    mustEqual(this.txData.subarray(sentAt, sentAt + payload.length), payload, "virtio transmit");
    this.receive(1);
    if (this.ram[RX_BUFFERS + 1] !== GSO_TCPV4) throw new Error("virtio receive: it was cut");
    const start = RX_BUFFERS + VNET_BYTES + HEADER_BYTES; // the buffers lie in a row
    mustEqual(this.ram.subarray(start, start + payload.length), payload, "virtio receive");
  }
}
