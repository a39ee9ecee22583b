// A card inside the emulator's memory, as the classes of spec/host-api.md drive it: its place there,
// its rings, its registers and its saved state.

import { entered, GUEST_SIZE_MAX, linearHost, Region } from "./aero-entry.js";
import { modelNumber, namesOf, optionWords, SNAPSHOT_MAX_BYTES } from "./card.js";
import { mirrorRings } from "./mirror.js";
import { Instance } from "./wasm.js";

const DEFAULT_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const CONFIG_BYTES = 256;
const COMMAND_AT = 4;
const ALIGNMENT_BYTES = 64;

/** §4: the counters of a ring back end, beside rx_broken. */
const RING_COUNTERS = [
  "tx_pushed_frames tx_pushed_bytes tx_dropped_oversize tx_dropped_oversize_bytes",
  "tx_dropped_full tx_dropped_full_bytes rx_popped_frames rx_popped_bytes",
  "rx_dropped_oversize rx_dropped_oversize_bytes rx_corrupt",
].flatMap((names) => names.split(" "));

/** @param {number} size */
export function isAccess(size) {
  return size === 1 || size === 2 || size === 4;
}

/**
 * Where guest RAM is, as a constructor's arguments say (§3).
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

/** @typedef {{ buffer: ArrayBufferLike, offset: number, capacity: number }} RingPlace  of a header */

/** One card, from its making to free(). */
export class GuestCard {
  /** @type {any} */ exports;
  /** @type {Instance} */ instance;
  /** Room of how.extraBytes for its user. @type {number} */ extraAt;
  mmioBar = -1; // the first BAR in memory space; -1: there is none
  ioBar = -1;
  #world;
  #guest;
  #region;
  #card = 0; // its address; 0 after free()
  #name;
  #snapshotAt;
  #own; // the rings it has while no others are attached: [address, bytes]
  /** Of attached rings. @type {{ region: Region, mirror: ReturnType<typeof mirrorRings> } | null} */
  #link = null;

  /**
   * @param {import("./wasm.js").Model} model
   * @param {number} guestBase  where guest RAM starts in the memory init() was given
   * @param {number} guestSize  0: up to the end of that memory
   * @param {object} how
   * @param {string} how.name  of the user's class, for its errors
   * @param {unknown} [how.mac]
   * @param {Record<string, any>} [how.options]  as those of createNic()
   * @param {number[]} how.ringBytes  capacities of its own NET_TX and NET_RX
   * @param {number} [how.extraBytes]
   */
  constructor(model, guestBase, guestSize, { name, mac, options = {}, ringBytes, extraBytes = 0 }) {
    const world = entered(model);
    const { module, memory, sample } = world;
    const guest = guestRange(memory, guestBase, guestSize);
    const address = macBytes(mac);
    const number = modelNumber(sample, model);
    const words = optionWords(sample, number, options);
    const sizes = [
      sample.exports.nic_card_bytes(number),
      sample.exports.rings_bytes(...ringBytes),
      SNAPSHOT_MAX_BYTES,
      address.length,
      4 * words.length,
      extraBytes,
    ];
    const bytes = sizes.reduce((sum, size) => sum + size + ALIGNMENT_BYTES, 0);

    this.#name = name;
    this.#world = world;
    this.#guest = guest;
    this.#region = new Region(world, Instance.overhead(module) + bytes, guest);
    try {
      const env = { ...linearHost, tx_full: () => Number(this.#full()) };
      this.instance = Instance.createNow(module, env, {
        memory,
        base: this.#region.base,
        bytes: this.#region.bytes,
      });
      const [cardAt, ringsAt, snapshotAt, macAt, wordsAt, extraAt] = sizes.map((size) =>
        this.instance.alloc(size),
      );
      const { exports: x, constants: c } = this.instance;
      this.instance.bytes(macAt, address.length).set(address);
      this.instance.words(wordsAt, words.length).set(words);
      this.#own = [ringsAt, sizes[1]];
      x.rings_build(...this.#own, ...ringBytes);
      const ram = [guest.base, guest.bytes];
      const asked = [number, macAt, wordsAt];
      if (x.nic_open(cardAt, ...asked, ...this.#own, c.ABI_HOST_LINEAR, ...ram) !== 0)
        throw new Error("mac must be a unicast address");
      this.exports = x;
      this.#card = cardAt;
      const kinds = Array.from({ length: c.CARD_BARS }, (_, bar) => x.nic_bar_kind(cardAt, bar));
      this.mmioBar = kinds.indexOf(c.CARD_BAR_MEMORY);
      this.ioBar = kinds.indexOf(c.CARD_BAR_IO);
      this.#snapshotAt = snapshotAt;
      this.extraAt = extraAt;
    } catch (error) {
      this.#region.release();
      throw error;
    }
  }

  /** Its address, for the exports. */
  get at() {
    if (this.#card === 0) throw new Error(`this ${this.#name} was freed`);
    return this.#card;
  }

  /** @param {number} bar */
  barBytes(bar) {
    return this.exports.nic_bar_bytes(this.at, bar);
  }

  /** Any offset and size. @param {number} bar @param {number} offset @param {number} size */
  read(bar, offset, size) {
    return this.exports.nic_bar_read(this.at, bar, offset, size) >>> 0;
  }

  /** @param {number} bar @param {number} offset @param {number} size @param {number} value */
  write(bar, offset, size, value) {
    this.exports.nic_bar_write(this.at, bar, offset, size, value);
  }

  get command() {
    return this.exports.nic_config_read(this.at, COMMAND_AT, 2);
  }

  /** Its low 16 bits. @param {number} command */
  setCommand(command) {
    this.exports.nic_config_write(this.at, COMMAND_AT, 2, command & 0xffff);
  }

  /** @param {number} offset @param {number} size */
  configRead(offset, size) {
    const card = this.at;
    if (!isAccess(size) || offset >>> 0 > CONFIG_BYTES - size) return 0xffffffff;
    return this.exports.nic_config_read(card, offset, size) >>> 0;
  }

  /** @param {number} offset @param {number} size @param {number} value */
  configWrite(offset, size, value) {
    const card = this.at;
    if (!isAccess(size) || offset >>> 0 > CONFIG_BYTES - size) return;
    this.exports.nic_config_write(card, offset, size, value);
  }

  get irqLevel() {
    return this.exports.nic_irq_level(this.at) !== 0;
  }

  /** One bounded step of DMA in both directions, between the attached rings if there are. */
  poll() {
    const card = this.at;
    this.#link?.mirror.fetch();
    this.exports.nic_poll(card);
    this.#link?.mirror.deliver();
  }

  /** NET_TX is full in the middle of a poll. @returns {boolean}  there is room again */
  #full() {
    this.#link?.mirror.deliver();
    return this.#link?.mirror.reclaim() ?? false;
  }

  /**
   * Frames go to and come from these rings from now on; all counters start at 0.
   * @param {RingPlace} tx @param {RingPlace} rx
   */
  attach(tx, rx) {
    const card = this.at;
    const { exports: x, instance } = this;
    const { memory } = this.#world;
    const bytes = x.rings_bytes(tx.capacity, rx.capacity);
    if (bytes === 0) throw new Error("these rings are too large for this card");
    const region = new Region(this.#world, bytes, this.#guest);
    x.rings_build(region.base, bytes, tx.capacity, rx.capacity);
    const find = (/** @type {number} */ kind) =>
      region.base + x.rings_find(region.base, bytes, kind);
    const { RING_KIND_NET_TX, RING_KIND_NET_RX } = instance.constants;
    const near = [find(RING_KIND_NET_TX), find(RING_KIND_NET_RX)];
    const [txFar, rxFar] = [tx, rx].map(({ buffer, offset }) => ({
      memory: { buffer },
      at: offset,
    }));
    const mirror = mirrorRings({ memory, txAt: near[0], rxAt: near[1] }, txFar, rxFar);
    x.nic_attach(card, region.base, bytes);
    this.#link?.region.release();
    this.#link = { region, mirror };
  }

  /** What the guest sends is discarded from now on. */
  detach() {
    this.exports.nic_attach(this.at, ...this.#own);
    this.#link?.region.release();
    this.#link = null;
  }

  /** Counters of the attached rings (§4), or null. */
  ringStats() {
    const card = this.at;
    if (!this.#link) return null;
    const names = namesOf(this.instance, (index) => this.exports.nic_stat_name(card, index));
    const at = this.exports.nic_stats(card);
    const values = new BigUint64Array(this.instance.memory.buffer, at, names.length);
    const value = (/** @type {string} */ name) => values[names.indexOf(name)];
    /** @type {Record<string, bigint | boolean>} */
    const counters = Object.fromEntries(RING_COUNTERS.map((name) => [name, value(name)]));
    return { ...counters, rx_broken: value("rx_broken") !== 0n };
  }

  /** @param {number[]} outgoing  of nic_save() */
  save(...outgoing) {
    const room = SNAPSHOT_MAX_BYTES;
    const bytes = this.exports.nic_save(this.at, this.#snapshotAt, room, ...outgoing) >>> 0;
    if (bytes > room) throw new Error(`the state needs ${bytes} bytes`);
    return this.instance.bytes(this.#snapshotAt, bytes).slice();
  }

  /** False: refused, and nothing has changed. @param {Uint8Array} bytes */
  load(bytes) {
    const card = this.at;
    if (!(bytes?.length <= SNAPSHOT_MAX_BYTES)) return false;
    this.instance.bytes(this.#snapshotAt, bytes.length).set(bytes);
    return this.exports.nic_load(card, this.#snapshotAt, bytes.length) === 0;
  }

  /** Releases the card and its places in the memory. Every later call throws. */
  free() {
    this.detach();
    this.#card = 0;
    this.#region.release();
  }
}
