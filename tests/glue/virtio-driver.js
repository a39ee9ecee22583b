// The guest's half of a virtio network card, in JavaScript: split queues in an array of RAM, the
// modern registers through the Nic. Numbers are those of spec/virtio-net.md §2 to §6.

const QUEUE_BYTES = 0x10000; // queue q lies at (q + 1) times this
const AVAIL_AT = 0x4000;
const USED_AT = 0x6000;
const BUFFERS_AT = 0x80000;
const BUFFER_BYTES = 4096;
const WRITE = 2;
const ISR = 0x2000;
const NOTIFY = 0x1000;

export const RX = 0;
export const TX = 1;
export const RAM_BYTES = 4 << 20;
export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

export const Common = Object.freeze({
  DEVICE_FEATURE_SELECT: 0x00,
  DEVICE_FEATURE: 0x04,
  DRIVER_FEATURE_SELECT: 0x08,
  DRIVER_FEATURE: 0x0c,
  NUM_QUEUES: 0x12,
  STATUS: 0x14,
  CONFIG_GENERATION: 0x15,
  QUEUE_SELECT: 0x16,
  QUEUE_SIZE: 0x18,
  QUEUE_ENABLE: 0x1c,
  QUEUE_DESC: 0x20,
  QUEUE_AVAIL: 0x28,
  QUEUE_USED: 0x30,
});

/** Where the bits of a feature set are: [low word, high word]. */
export const Feature = Object.freeze({
  MTU: [1 << 3, 0],
  MAC: [1 << 5, 0],
  STATUS: [1 << 16, 0],
  INDIRECT: [1 << 28, 0],
  VERSION_1: [0, 1],
});

/** @param {number[][]} features */
function union(features) {
  return features.reduce(([low, high], [l, h]) => [low | l, high | h], [0, 0]);
}

export class VirtioDriver {
  /**
   * @param {{ read: (bar: number, offset: number, size: number) => number,
   *   write: (bar: number, offset: number, size: number, value: number) => void,
   *   command: (value: number) => void }} bus
   * @param {Uint8Array} ram
   * @param {number} [base]  guest-physical address of ram's first byte
   */
  constructor(bus, ram, base = 0) {
    this.bus = bus;
    this.ram = ram;
    this.base = base;
    this.view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
    this.avail = [0, 0, 0];
    this.seen = [0, 0, 0];
    this.headerBytes = 12;
  }

  /** @param {import("../../wasm-glue/src/nic.js").Nic} nic @param {Uint8Array} ram */
  static of(nic, ram) {
    return new VirtioDriver(
      {
        read: (bar, offset, size) => nic.barRead(bar, offset, size),
        write: (bar, offset, size, value) => nic.barWrite(bar, offset, size, value),
        command: (value) => nic.configWrite(4, 2, value),
      },
      ram,
    );
  }

  get(offset, size) {
    return this.bus.read(0, offset, size);
  }

  put(offset, size, value) {
    this.bus.write(0, offset, size, value);
  }

  offered() {
    return [0, 1].map((word) => {
      this.put(Common.DEVICE_FEATURE_SELECT, 4, word);
      return this.get(Common.DEVICE_FEATURE, 4);
    });
  }

  /** Up to FEATURES_OK; the status read back. @param {number[][]} features */
  negotiate(features) {
    this.bus.command(7);
    this.put(Common.STATUS, 1, 0);
    this.put(Common.STATUS, 1, 3);
    union(features).forEach((bits, word) => {
      this.put(Common.DRIVER_FEATURE_SELECT, 4, word);
      this.put(Common.DRIVER_FEATURE, 4, bits >>> 0);
    });
    this.put(Common.STATUS, 1, 11);
    return this.get(Common.STATUS, 1);
  }

  /** What a driver does until the card moves frames. @param {number[][]} [features] */
  start(features = [Feature.VERSION_1, Feature.MAC, Feature.STATUS]) {
    this.negotiate(features);
    for (const queue of [RX, TX]) {
      const at = this.base + this.queueAt(queue);
      this.put(Common.QUEUE_SELECT, 2, queue);
      this.put(Common.QUEUE_DESC, 4, at);
      this.put(Common.QUEUE_AVAIL, 4, at + AVAIL_AT);
      this.put(Common.QUEUE_USED, 4, at + USED_AT);
      this.put(Common.QUEUE_ENABLE, 2, 1);
      this.ram.fill(0, this.queueAt(queue), this.queueAt(queue + 1));
    }
    this.size = this.get(Common.QUEUE_SIZE, 2);
    this.avail = [0, 0, 0];
    this.seen = [0, 0, 0];
    this.put(Common.STATUS, 1, 15);
  }

  queueAt(queue) {
    return (queue + 1) * QUEUE_BYTES;
  }

  bufferAt(queue, index) {
    return BUFFERS_AT + (queue * this.size + index) * BUFFER_BYTES;
  }

  #post(queue, index, bytes, flags) {
    const at = this.queueAt(queue) + 16 * index;
    this.view.setUint32(at, this.base + this.bufferAt(queue, index), true);
    this.view.setUint32(at + 4, 0, true);
    this.view.setUint32(at + 8, bytes, true);
    this.view.setUint16(at + 12, flags, true);
    const ring = this.queueAt(queue) + AVAIL_AT;
    this.view.setUint16(ring + 4 + 2 * (this.avail[queue] % this.size), index, true);
    this.avail[queue] = (this.avail[queue] + 1) & 0xffff;
    this.view.setUint16(ring + 2, this.avail[queue], true);
  }

  kick(queue) {
    this.put(NOTIFY + 4 * queue, 2, queue);
  }

  /** Sends a frame: header and frame in one buffer, which may reach into those behind it.
   *  @param {Uint8Array} frame @param {Uint8Array} [header] */
  send(frame, header = new Uint8Array(this.headerBytes)) {
    const index = this.avail[TX] % this.size;
    const at = this.bufferAt(TX, index);
    this.ram.set(header, at);
    this.ram.set(frame, at + this.headerBytes);
    this.#post(TX, index, this.headerBytes + frame.length, 0);
    this.kick(TX);
  }

  /** Gives the card receive buffers. */
  post(count) {
    for (let i = 0; i < count; i++) this.#post(RX, this.avail[RX] % this.size, BUFFER_BYTES, WRITE);
    this.kick(RX);
  }

  /** Used elements since the last look: [id, length]. */
  used(queue) {
    const found = [];
    const ring = this.queueAt(queue) + USED_AT;
    while (this.seen[queue] !== this.view.getUint16(ring + 2, true)) {
      const at = ring + 4 + 8 * (this.seen[queue] % this.size);
      found.push([this.view.getUint32(at, true), this.view.getUint32(at + 4, true)]);
      this.seen[queue] = (this.seen[queue] + 1) & 0xffff;
    }
    return found;
  }

  /** Frames received since the last look. */
  received() {
    return this.used(RX).map(([id, bytes]) => {
      const at = this.bufferAt(RX, id);
      return this.ram.slice(at + this.headerBytes, at + bytes);
    });
  }

  /** Reads the ISR, which lowers INTA. */
  isr() {
    return this.get(ISR, 1);
  }
}
