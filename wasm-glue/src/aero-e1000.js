// E1000Bridge: the E1000 under the names of spec/host-api.md §3, inside the emulator's memory.

import { entered, GUEST_SIZE_MAX, linearHost, Region } from "./aero-entry.js";
import { addCamelCase } from "./aero-names.js";
import { modelNumber, optionWords } from "./card.js";
import { Instance } from "./wasm.js";

const DEFAULT_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const MMIO_BAR = 0;
const IO_BAR = 1;
const CONFIG_BYTES = 256;
const COMMAND_AT = 4;
const RAL0 = 0x5400;
const RAH0 = 0x5404;
const FRAME_MIN_BYTES = 14;
const FRAME_MAX_BYTES = 1522;
const QUEUE_FRAMES = 256; // e1000.md §10.2: as many go into a snapshot
const RX_RING_BYTES = 4096; // not used: received frames go into the card's own queue
const SNAPSHOT_BYTES = 2 << 20;
const LENGTH_BYTES = 4; // in front of each frame of a snapshot
const ALIGNMENT_BYTES = 64;

/** @param {number} size */
function isAccess(size) {
  return size === 1 || size === 2 || size === 4;
}

/**
 * Where guest RAM is, as the constructor's arguments say (§3).
 * @param {WebAssembly.Memory} memory
 * @param {number} guestBase
 * @param {number} guestSize
 */
function guestRange(memory, guestBase, guestSize) {
  const base = guestBase >>> 0;
  if (base === 0) throw new Error("guest_base must be non-zero");
  const { byteLength } = memory.buffer;
  if (base > byteLength)
    throw new Error(`guest_base 0x${base.toString(16)} lies outside the linear memory`);
  const bytes = Math.min(guestSize >>> 0 || byteLength - base, GUEST_SIZE_MAX);
  if (bytes === 0) throw new Error("guest_size is 0: guest_base is the end of the linear memory");
  if (bytes > byteLength - base)
    throw new Error(
      `guest RAM of ${bytes} bytes at 0x${base.toString(16)} lies outside the linear memory`,
    );
  return { base, bytes };
}

/** @param {unknown} mac */
function macBytes(mac) {
  if (mac === undefined || mac === null) return DEFAULT_MAC;
  const bytes = Array.from(/** @type {ArrayLike<number>} */ (mac));
  if (bytes.length !== DEFAULT_MAC.length)
    throw new Error(`mac must have 6 bytes, not ${bytes.length}`);
  return bytes;
}

/** One card, from its making to free(). */
export class E1000Bridge {
  /** @type {any} */ #exports;
  #instance;
  #region;
  #card; // its address; 0 after free()
  #snapshotAt;
  #framesAt;
  #barBytes;
  /** Frames taken from NET_TX to be saved, before those that wait in it. @type {Uint8Array[]} */
  #outgoing = [];

  /**
   * @param {number} guestBase  where guest RAM starts in the memory init() was given
   * @param {number} guestSize  0: up to the end of that memory
   * @param {Uint8Array} [mac]
   */
  constructor(guestBase, guestSize, mac) {
    const world = entered();
    const { module, memory, model } = world;
    const guest = guestRange(memory, guestBase, guestSize);
    const address = macBytes(mac);
    const { ABI_RING_FRAME_BYTES } = model.constants;
    const framesBytes = (QUEUE_FRAMES + 1) * (LENGTH_BYTES + ABI_RING_FRAME_BYTES);
    const ringsBytes = model.exports.rings_bytes(framesBytes, RX_RING_BYTES);
    const e1000 = modelNumber(model, "e1000");
    const cardBytes = model.exports.nic_card_bytes(e1000);
    const options = optionWords(model, e1000, {});
    const optionsBytes = 4 * options.length;
    const sizes = [
      cardBytes,
      ringsBytes,
      framesBytes,
      SNAPSHOT_BYTES,
      address.length,
      optionsBytes,
    ];
    const bytes = sizes.reduce((sum, size) => sum + size + ALIGNMENT_BYTES, 0);

    this.#region = new Region(world, Instance.overhead(module) + bytes, guest);
    const { base, bytes: regionBytes } = this.#region;
    const place = { memory, base, bytes: regionBytes };
    try {
      this.#instance = Instance.createNow(module, linearHost, place);
      const [cardAt, ringsAt, framesAt, snapshotAt, macAt, optionsAt] = sizes.map((size) =>
        this.#instance.alloc(size),
      );
      const { exports: x, constants: c } = this.#instance;
      this.#instance.bytes(macAt, address.length).set(address);
      this.#instance.words(optionsAt, options.length).set(options);
      x.rings_build(ringsAt, ringsBytes, framesBytes, RX_RING_BYTES);
      const rings = [ringsAt, ringsBytes];
      const ram = [guest.base, guest.bytes];
      if (x.nic_open(cardAt, e1000, macAt, optionsAt, ...rings, c.ABI_HOST_LINEAR, ...ram) !== 0)
        throw new Error("mac must be a unicast address");
      x.nic_limit_waiting(cardAt, QUEUE_FRAMES);
      this.#barBytes = [MMIO_BAR, IO_BAR].map((bar) => x.nic_bar_bytes(cardAt, bar));
      this.#exports = x;
      this.#card = cardAt;
      this.#framesAt = framesAt;
      this.#snapshotAt = snapshotAt;
    } catch (error) {
      this.#region.release();
      throw error;
    }
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
    this.#exports.nic_config_write(this.#slot(), COMMAND_AT, 2, command & 0xffff);
  }

  /** @param {number} offset @param {number} size @param {number} value */
  pci_config_write(offset, size, value) {
    const card = this.#slot();
    if (!isAccess(size) || offset >>> 0 > CONFIG_BYTES - size) return;
    this.#exports.nic_config_write(card, offset, size, value);
  }

  /** One bounded step of DMA in both directions; nothing without bus mastering. */
  poll() {
    this.#exports.nic_poll(this.#slot());
  }

  /** Queues a frame for the guest: no DMA before poll(). @param {Uint8Array} frame */
  receive_frame(frame) {
    const card = this.#slot();
    const bytes = frame?.length;
    if (!(bytes >= FRAME_MIN_BYTES && bytes <= FRAME_MAX_BYTES)) return;
    this.#instance.bytes(this.#exports.nic_area(card), bytes).set(frame);
    this.#exports.nic_queue(card, bytes);
  }

  /** @returns {Uint8Array | undefined}  the oldest frame from the guest, the caller's own copy */
  pop_tx_frame() {
    const card = this.#slot();
    const kept = this.#outgoing.shift();
    if (!kept) return this.#take(card);
    this.#limit(card);
    return kept;
  }

  /** The level of INTA, behind the command register's interrupt disable. */
  irq_level() {
    return this.#exports.nic_irq_level(this.#slot()) !== 0;
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
    const card = this.#slot();
    for (let frame = this.#take(card); frame; frame = this.#take(card)) this.#outgoing.push(frame);
    this.#limit(card);
    const frames = this.#outgoing.filter(
      ({ length }) => length >= FRAME_MIN_BYTES && length <= FRAME_MAX_BYTES,
    );
    const framesAt = this.#framesAt;
    let at = framesAt;
    for (const frame of frames) {
      this.#instance.bytes(at, LENGTH_BYTES).set([frame.length & 0xff, frame.length >> 8, 0, 0]);
      this.#instance.bytes(at + LENGTH_BYTES, frame.length).set(frame);
      at += LENGTH_BYTES + frame.length;
    }
    const outgoing = [framesAt, frames.length, at - framesAt];
    const bytes = this.#exports.nic_save(card, this.#snapshotAt, SNAPSHOT_BYTES, ...outgoing) >>> 0;
    if (bytes > SNAPSHOT_BYTES) throw new Error(`the state needs ${bytes} bytes`);
    return this.#instance.bytes(this.#snapshotAt, bytes).slice();
  }

  /**
   * Takes over a saved state. Throws for anything else, and then changes nothing.
   * @param {Uint8Array} bytes
   */
  load_state(bytes) {
    const card = this.#slot();
    if (!(bytes?.length <= SNAPSHOT_BYTES))
      throw new Error("this is not a saved state of an E1000");
    // NET_TX is emptied first: loading puts the state's own frames there.
    for (let frame = this.#take(card); frame; frame = this.#take(card)) this.#outgoing.push(frame);
    this.#exports.nic_limit_waiting(card, QUEUE_FRAMES);
    this.#instance.bytes(this.#snapshotAt, bytes.length).set(bytes);
    const result = this.#exports.nic_load(card, this.#snapshotAt, bytes.length);
    if (result === 0) this.#outgoing = [];
    this.#limit(card);
    if (result !== 0) throw new Error("this is not a saved state of an E1000");
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
    this.#slot();
    this.#card = 0;
    this.#outgoing = [];
    this.#region.release();
  }

  #slot() {
    if (this.#card === 0) throw new Error("this E1000Bridge was freed");
    return this.#card;
  }

  /** @param {number} bar @param {number} offset @param {number} size */
  #read(bar, offset, size) {
    const card = this.#slot();
    if (!isAccess(size)) return 0;
    if (offset >>> 0 > this.#barBytes[bar] - size) return 0xffffffff;
    return this.#exports.nic_bar_read(card, bar, offset, size) >>> 0;
  }

  /** @param {number} bar @param {number} offset @param {number} size @param {number} value */
  #write(bar, offset, size, value) {
    const card = this.#slot();
    if (!isAccess(size) || offset >>> 0 > this.#barBytes[bar] - size) return;
    this.#exports.nic_bar_write(card, bar, offset, size, value);
  }

  /** @param {number} card @returns {Uint8Array | undefined} */
  #take(card) {
    const bytes = this.#exports.nic_take(card);
    if (bytes < 0) return undefined;
    return this.#instance.bytes(this.#exports.nic_area(card), bytes).slice();
  }

  /** What waits here counts among the frames that may wait. @param {number} card */
  #limit(card) {
    this.#exports.nic_limit_waiting(card, QUEUE_FRAMES - this.#outgoing.length);
  }
}

addCamelCase(E1000Bridge);
