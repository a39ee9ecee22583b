// v86's own cards as the rival: the models of the npm package inside a CPU that never runs, driven
// through their ports and the emulator's own message bus. What a guest's driver would do to rings
// in memory is laid out once, as for our card; what it must do port by port (ne2k) is done.
import { fileURLToPath } from "node:url";
import { V86 } from "v86";
import { framesOf, mustEqual } from "./nic-frames.js";

const wasmPath = fileURLToPath(new URL("v86.wasm", import.meta.resolve("v86")));
const MEMORY_BYTES = 32 << 20;

async function stoppedMachine(type) {
  const emulator = new V86({
    wasm_path: wasmPath,
    memory_size: MEMORY_BYTES,
    vga_memory_size: 2 << 20,
    autostart: false,
    disable_speaker: true,
    net_device: { type },
  });
  await new Promise((ready) => emulator.add_listener("emulator-ready", ready));
  return emulator;
}

/** What every rival has: the frames of a shape, counted and looked at. */
class Rival {
  constructor(emulator, shape) {
    this.bus = emulator.bus; // the other end of the wire
    this.cpu = emulator.v86.cpu;
    this.io = this.cpu.io;
    this.batch = [];
    for (let i = 0; i < shape.units; i++) this.batch.push(...framesOf(shape));
    this.sent = 0;
    this.last = null;
    this.bus.register(
      "net0-send",
      (frame) => {
        this.sent++;
        this.last = frame;
      },
      this,
    );
  }

  check(received) {
    const want = this.batch[this.batch.length - 1];
    this.transmit(1);
    if (this.sent !== this.batch.length) throw new Error("v86 transmit: frames are missing");
    mustEqual(this.last, want, "v86 transmit");
    this.receive(1);
    mustEqual(received(want.length), want, "v86 receive");
  }
}

const Port = { CR: 0x300, PSTART: 0x301, PSTOP: 0x302, BOUNDARY: 0x303, TPSR: 0x304 };
Object.assign(Port, { TCNT0: 0x305, TCNT1: 0x306, ISR: 0x307, RSAR0: 0x308, RSAR1: 0x309 });
Object.assign(Port, { RCNT0: 0x30a, RCNT1: 0x30b, RXCR: 0x30c, DCFG: 0x30e, IMR: 0x30f });
Object.assign(Port, { DATA: 0x310 });
const TX_PAGE = 0x40;
const RX_PAGE = 0x4c;
const END_PAGE = 0x80;

/** NE2000: every byte goes through a port; the driver's copy is part of the card. */
export class Ne2k extends Rival {
  static async create(shape) {
    const emulator = await stoppedMachine("ne2k");
    return new Ne2k(emulator, shape);
  }

  constructor(emulator, shape) {
    super(emulator, shape);
    this.words = new Uint32Array(512);
    this.frame = new Uint8Array(this.words.buffer);
    this.boundary = RX_PAGE;
    this.#out(Port.CR, 0x21);
    this.#out(Port.DCFG, 0x49);
    this.#out(Port.PSTART, RX_PAGE);
    this.#out(Port.PSTOP, END_PAGE);
    this.#out(Port.BOUNDARY, RX_PAGE);
    this.#out(Port.CR, 0x61); // page 1: CURPG
    this.#out(0x307, RX_PAGE);
    this.#out(Port.CR, 0x22);
    this.#out(Port.RXCR, 0x14); // all frames
    this.#out(Port.IMR, 3);
    this.padded = this.batch.map((frame) => {
      const words = new Uint32Array((frame.length + 3) >> 2);
      new Uint8Array(words.buffer).set(frame);
      return words;
    });
    this.check((bytes) => this.frame.subarray(4, 4 + bytes));
  }

  #out(port, value) {
    this.io.port_write8(port, value);
  }

  #address(at, bytes) {
    this.#out(Port.RSAR0, at & 0xff);
    this.#out(Port.RSAR1, at >> 8);
    this.#out(Port.RCNT0, bytes & 0xff);
    this.#out(Port.RCNT1, bytes >> 8);
  }

  transmit(batches) {
    const { io, batch, padded } = this;
    for (let i = 0; i < batches; i++) {
      for (let f = 0; f < batch.length; f++) {
        const bytes = batch[f].length;
        const words = padded[f];
        this.#address(TX_PAGE << 8, words.length * 4);
        this.#out(Port.CR, 0x12);
        for (let at = 0; at < words.length; at++) io.port_write32(Port.DATA, words[at] | 0);
        this.#out(Port.TPSR, TX_PAGE);
        this.#out(Port.TCNT0, bytes & 0xff);
        this.#out(Port.TCNT1, bytes >> 8);
        this.#out(Port.CR, 0x26);
        this.#out(Port.ISR, 0xff);
      }
    }
  }

  receive(batches) {
    const { io, bus, batch, words, frame } = this;
    for (let i = 0; i < batches; i++) {
      for (let f = 0; f < batch.length; f++) {
        bus.send("net0-receive", batch[f]);
        const bytes = (batch[f].length + 4 + 3) & ~3;
        this.#address(this.boundary << 8, bytes);
        this.#out(Port.CR, 0x0a);
        for (let at = 0; at < bytes >> 2; at++) words[at] = io.port_read32(Port.DATA);
        this.boundary = frame[1];
        this.#out(Port.BOUNDARY, this.boundary);
        this.#out(Port.ISR, 0xff);
      }
    }
  }
}

const Common = { STATUS: 0xc814, SELECT: 0xc816, SIZE: 0xc818, ENABLE: 0xc81c };
Object.assign(Common, { DESC: 0xc820, AVAIL: 0xc828, USED: 0xc830 });
Object.assign(Common, { FEATURE_SELECT: 0xc808, FEATURE: 0xc80c });
const NOTIFY_TX = 0xc902;
const ISR_STATUS = 0xc700;
const QUEUE_SLOTS = 256;
const HEADER_BYTES = 12;
const BUFFER_BYTES = 2048;
const QUEUES_AT = 0x100000; // 64 KiB a queue: descriptors, avail, used
const AVAIL_AT = 0x4000;
const USED_AT = 0x8000;
const BUFFERS_AT = 0x200000; // 1 MiB a queue
const DEVICE_WRITES = 2;

/** virtio-net over v86's transport. */
export class Virtio extends Rival {
  static async create(shape) {
    const emulator = await stoppedMachine("virtio");
    return new Virtio(emulator, shape);
  }

  constructor(emulator, shape) {
    super(emulator, shape);
    const { cpu, io } = this;
    const ram = new Uint8Array(cpu.wasm_memory.buffer, cpu.mem8.byteOffset, cpu.memory_size[0]);
    const view = new DataView(ram.buffer, ram.byteOffset);
    io.port_write8(Common.STATUS, 0);
    io.port_write8(Common.STATUS, 3);
    for (const word of [0, 1]) {
      io.port_write32(Common.FEATURE_SELECT, word);
      io.port_write32(Common.FEATURE, word); // VERSION_1 alone
    }
    io.port_write8(Common.STATUS, 11);
    for (const queue of [0, 1]) {
      const at = QUEUES_AT + queue * 0x10000;
      io.port_write16(Common.SELECT, queue);
      io.port_write16(Common.SIZE, QUEUE_SLOTS);
      io.port_write32(Common.DESC, at);
      io.port_write32(Common.AVAIL, at + AVAIL_AT);
      io.port_write32(Common.USED, at + USED_AT);
      io.port_write16(Common.ENABLE, 1);
      for (let slot = 0; slot < QUEUE_SLOTS; slot++) {
        const buffer = BUFFERS_AT + (queue * QUEUE_SLOTS + slot) * BUFFER_BYTES;
        const frame = this.batch[slot % this.batch.length];
        view.setUint32(at + slot * 16, buffer, true);
        view.setUint32(at + slot * 16 + 8, queue ? HEADER_BYTES + frame.length : 2048, true);
        view.setUint16(at + slot * 16 + 12, queue ? 0 : DEVICE_WRITES, true);
        view.setUint16(at + AVAIL_AT + 4 + slot * 2, slot, true);
        if (queue) ram.set(frame, buffer + HEADER_BYTES);
      }
    }
    io.port_write8(Common.STATUS, 15);
    const avail = (queue) =>
      new Uint16Array(ram.buffer, ram.byteOffset + QUEUES_AT + queue * 0x10000 + AVAIL_AT, 2);
    this.rxAvail = avail(0);
    this.txAvail = avail(1);
    const txRing = this.txAvail;
    this.txSlots = new Uint16Array(txRing.buffer, txRing.byteOffset + 4, QUEUE_SLOTS);
    this.check((bytes) => {
      const at = BUFFERS_AT + (this.batch.length - 1) * BUFFER_BYTES + HEADER_BYTES;
      return ram.subarray(at, at + bytes);
    });
  }

  transmit(batches) {
    const { io, txAvail, txSlots, batch } = this;
    for (let i = 0; i < batches; i++) {
      for (let f = 0; f < batch.length; f++) txSlots[(txAvail[1] + f) % QUEUE_SLOTS] = f;
      txAvail[1] += batch.length;
      io.port_write16(NOTIFY_TX, 1);
      io.port_read8(ISR_STATUS);
    }
  }

  receive(batches) {
    const { io, bus, rxAvail, batch } = this;
    for (let i = 0; i < batches; i++) {
      rxAvail[1] += batch.length;
      for (let f = 0; f < batch.length; f++) bus.send("net0-receive", batch[f]);
      io.port_read8(ISR_STATUS);
    }
  }
}
