// E1000Bridge: the E1000 under the names of spec/host-api.md §3, inside the emulator's memory.

import { GuestCard, isAccess } from "./aero-card.js";
import { addCamelCase } from "./aero-names.js";

const MMIO_BAR = 0;
const IO_BAR = 1;
const RAL0 = 0x5400;
const RAH0 = 0x5404;
const FRAME_MIN_BYTES = 14;
const FRAME_MAX_BYTES = 1522;
const RING_FRAME_BYTES = 2048; // net-rings.md §4
const QUEUE_FRAMES = 256; // e1000.md §10.2: as many go into a snapshot
const LENGTH_BYTES = 4; // in front of each frame of a snapshot
const FRAMES_BYTES = (QUEUE_FRAMES + 1) * (LENGTH_BYTES + RING_FRAME_BYTES);
const RX_RING_BYTES = 4096; // not used: received frames go into the card's own queue

/** One card, from its making to free(). */
export class E1000Bridge {
  #card;
  #barBytes;
  /** Frames taken from NET_TX to be saved, before those that wait in it. @type {Uint8Array[]} */
  #outgoing = [];

  /**
   * @param {number} guestBase  where guest RAM starts in the memory init() was given
   * @param {number} guestSize  0: up to the end of that memory
   * @param {Uint8Array} [mac]
   */
  constructor(guestBase, guestSize, mac) {
    this.#card = new GuestCard("e1000", guestBase, guestSize, {
      name: "E1000Bridge",
      mac,
      ringBytes: [FRAMES_BYTES, RX_RING_BYTES],
      extraBytes: FRAMES_BYTES,
    });
    this.#barBytes = [MMIO_BAR, IO_BAR].map((bar) => this.#card.barBytes(bar));
    this.#limit();
  }

  /** @param {number} offset @param {number} size */
  mmio_read(offset, size) {
    return this.#read(MMIO_BAR, offset, size);
  }

  /** No DMA. @param {number} offset @param {number} size @param {number} value */
  mmio_write(offset, size, value) {
    this.#write(MMIO_BAR, offset, size, value);
  }

  /** @param {number} offset @param {number} size */
  io_read(offset, size) {
    return this.#read(IO_BAR, offset, size);
  }

  /** @param {number} offset @param {number} size @param {number} value */
  io_write(offset, size, value) {
    this.#write(IO_BAR, offset, size, value);
  }

  /** @param {number} command  its low 16 bits */
  set_pci_command(command) {
    this.#card.setCommand(command);
  }

  /** @param {number} offset @param {number} size @param {number} value */
  pci_config_write(offset, size, value) {
    this.#card.configWrite(offset, size, value);
  }

  /** One bounded step of DMA in both directions; nothing without bus mastering. */
  poll() {
    this.#card.poll();
  }

  /** Queues a frame for the guest: no DMA before poll(). @param {Uint8Array} frame */
  receive_frame(frame) {
    const { at, exports, instance } = this.#card;
    const bytes = frame?.length;
    if (!(bytes >= FRAME_MIN_BYTES && bytes <= FRAME_MAX_BYTES)) return;
    instance.bytes(exports.nic_area(at), bytes).set(frame);
    exports.nic_queue(at, bytes);
  }

  /** @returns {Uint8Array | undefined}  the oldest frame from the guest, the caller's own copy */
  pop_tx_frame() {
    const kept = this.#outgoing.shift();
    if (!kept) return this.#take();
    this.#limit();
    return kept;
  }

  /** The level of INTA, behind the command register's interrupt disable. */
  irq_level() {
    return this.#card.irqLevel;
  }

  /** Receive address 0 as it is now. */
  mac_addr() {
    const mac = new DataView(new ArrayBuffer(8));
    mac.setUint32(0, this.#read(MMIO_BAR, RAL0, 4), true);
    mac.setUint32(4, this.#read(MMIO_BAR, RAH0, 4), true);
    return new Uint8Array(mac.buffer.slice(0, 6));
  }

  /** The card's state, with the frames that wait in either direction. */
  save_state() {
    const { instance, extraAt } = this.#card;
    this.#takeAll();
    this.#limit();
    const frames = this.#outgoing.filter(
      ({ length }) => length >= FRAME_MIN_BYTES && length <= FRAME_MAX_BYTES,
    );
    let at = extraAt;
    for (const frame of frames) {
      instance.bytes(at, LENGTH_BYTES).set([frame.length & 0xff, frame.length >> 8, 0, 0]);
      instance.bytes(at + LENGTH_BYTES, frame.length).set(frame);
      at += LENGTH_BYTES + frame.length;
    }
    return this.#card.save(extraAt, frames.length, at - extraAt);
  }

  /**
   * Takes over a saved state. Throws for anything else, and then changes nothing.
   * @param {Uint8Array} bytes
   */
  load_state(bytes) {
    // NET_TX is emptied first: loading puts the state's own frames there.
    this.#takeAll();
    this.#card.exports.nic_limit_waiting(this.#card.at, QUEUE_FRAMES);
    const loaded = this.#card.load(bytes);
    if (loaded) this.#outgoing = [];
    this.#limit();
    if (!loaded) throw new Error("this is not a saved state of an E1000");
  }

  /** As save_state(). */
  snapshot_state() {
    return this.save_state();
  }

  /** As load_state(). @param {Uint8Array} bytes */
  restore_state(bytes) {
    this.load_state(bytes);
  }

  /** Releases the card and its place in the memory. Every later call throws. */
  free() {
    this.#card.free();
    this.#outgoing = [];
  }

  /** @param {number} bar @param {number} offset @param {number} size */
  #read(bar, offset, size) {
    const card = this.#card;
    if (!isAccess(size)) return card.at && 0;
    if (offset >>> 0 > this.#barBytes[bar] - size) return card.at && 0xffffffff;
    return card.read(bar, offset, size);
  }

  /** @param {number} bar @param {number} offset @param {number} size @param {number} value */
  #write(bar, offset, size, value) {
    const card = this.#card;
    if (card.at && isAccess(size) && offset >>> 0 <= this.#barBytes[bar] - size)
      card.write(bar, offset, size, value);
  }

  /** @returns {Uint8Array | undefined} */
  #take() {
    const { at, exports, instance } = this.#card;
    const bytes = exports.nic_take(at);
    return bytes < 0 ? undefined : instance.bytes(exports.nic_area(at), bytes).slice();
  }

  #takeAll() {
    for (let frame = this.#take(); frame; frame = this.#take()) this.#outgoing.push(frame);
  }

  /** What waits here counts among the frames that may wait. */
  #limit() {
    const { at, exports } = this.#card;
    exports.nic_limit_waiting(at, QUEUE_FRAMES - this.#outgoing.length);
  }
}

addCamelCase(E1000Bridge);
