// One network card: the object an emulator drives.

import { makeCard, makeHomeIn, SNAPSHOT_MAX_BYTES } from "./card.js";
import { guestMemory, isLinear, noMemory } from "./memory.js";
import { Ring } from "./ring-core.js";

const TWO_32 = 2 ** 32;

/** @param {number} low @param {number} high */
function join(low, high) {
  return (high >>> 0) * TWO_32 + (low >>> 0);
}

const SHORT_BYTES = 32; // a DMA access that a loop does faster than a view and a copy

/**
 * @typedef {object} NicOptions
 * @property {import("./wasm.js").Model} [model]  default "e1000"
 * @property {string | Uint8Array} [mac]  unicast; default 52:54:00:12:34:56
 * @property {import("./memory.js").GuestMemory} [memory]  may come later: nic.setMemory()
 * @property {(level: boolean) => void} [onInterrupt]  each transition of INTA
 * @property {(address: number, data: number) => void} [onMessage]  virtio-net: delivers an MSI-X
 *   message, a 32-bit write to a guest-physical address; left out: the card has INTA only
 * @property {() => void} [onWork]  frames have arrived for the guest: poll soon
 * @property {boolean} [isolated]  a shared memory, so that the tunnel can have a worker; left
 *   out: when the environment allows it
 * @property {number} [ringBytes]  room of each of the two frame rings
 * @property {number} [mtu]  of the network, default 1500; a virtio card of the standard profile tells
 *   its guest. Rings without super-frames carry no more than 2030
 * @property {"standard" | "contract"} [profile]  virtio-net only, as all below: what it offers
 * @property {"modern" | "transitional" | "legacy"} [transport]
 * @property {"default" | "10" | "12" | "auto" | 10 | 12} [headerMode]  bytes of the packet header
 * @property {number} [queueSize]  a power of two from 2 to 1024, default 256
 */

/**
 * What a tunnel plugs into a card.
 * @typedef {object} Port
 * @property {() => void} moved  NET_TX grew or NET_RX shrank in a poll
 * @property {() => boolean} full  NET_TX is full: true when it was drained within the call
 */

/** Of tunnel.js only: the key under which a card gives and takes what a tunnel needs. */
export const tunnelPort = Symbol("aero-nic tunnel port");

/** One network card. Its owner calls close(); a tunnel of it must be closed before. */
export class Nic {
  /** Called on each transition of INTA. @type {((level: boolean) => void) | null} */
  onInterrupt = null;
  /** Called for each MSI-X message of a card made with it.
   *  @type {((address: number, data: number) => void) | null} */
  onMessage = null;
  /** Called, from a JS event, when frames have arrived for the guest. @type {(() => void) | null} */
  onWork = null;

  /** The first home, with a tunnel's end of the rings. @type {import("./card.js").Card} */ #made;
  /** Where the card lives now. @type {import("./wasm.js").Instance} */ #instance;
  /** @type {any} */ #exports;
  #card; // its address there; 0 after close()
  /** Of a card that moved. @type {ReturnType<typeof makeHomeIn> | null} */ #moved = null;
  #memory = noMemory;
  /** @type {import("./memory.js").LinearMemory | null} */ #linear = null;
  /** @type {Port | null} */ #port = null;
  #announced = false;
  #polling = false;
  #drainWanted = false;
  /** The first error of a callback, until #done(). @type {{ error: unknown } | null} */ #failure =
    null;
  /** Room for a snapshot, by home. @type {WeakMap<import("./wasm.js").Instance, number>} */
  #snapshotAt = new WeakMap();

  /** Use createNic(). @param {import("./card.js").Card} made */
  constructor(made) {
    this.#made = made;
    this.#instance = made.instance;
    this.#exports = made.instance.exports;
    this.#card = made.at;
  }

  /**
   * @param {NicOptions & import("./wasm.js").WasmOptions} options
   * @returns {Promise<Nic>}
   */
  static async create(options) {
    const linear = isLinear(options.memory) ? options.memory : null;
    const memory =
      linear || !options.memory ? noMemory : guestMemory(options.memory, options.model ?? "");
    /** @type {Nic} */
    let nic; // the model may call irq() while it is opened
    const card = await makeCard(options, {
      dma_read: (/** @type {[number, number, number, number, number]} */ ...a) => nic.#read(...a),
      dma_write: (/** @type {[number, number, number, number, number]} */ ...a) => nic.#write(...a),
      dma_written: (/** @type {number[]} */ ...a) =>
        nic.#tell(nic.#linear, "written", join(a[1], a[2]), a[3]),
      irq: (/** @type {number} */ _, /** @type {number} */ level) => {
        if (nic) nic.#tell(nic, "onInterrupt", level !== 0);
      },
      message: (/** @type {number[]} */ ...a) =>
        nic.#tell(nic, "onMessage", join(a[1], a[2]), a[3] >>> 0),
      tx_full: () => Number(nic.#full()),
      now_ms: () => performance.now(),
    });
    nic = new Nic(card);
    nic.#memory = memory;
    nic.#linear = linear;
    nic.onInterrupt = options.onInterrupt ?? null;
    nic.onMessage = options.onMessage ?? null;
    nic.onWork = options.onWork ?? null;
    return nic;
  }

  get model() {
    return this.#made.model;
  }

  get mac() {
    return this.#made.mac;
  }

  /** The BARs the emulator's PCI bus has to place. */
  get pci() {
    return this.#made.pci;
  }

  /**
   * Where the guest's RAM is; for a card made without, or whose emulator got another one. Given
   * an emulator's own memory the card moves into it; where that cannot be, and there are
   * callbacks as well, those are used.
   * @param {import("./memory.js").GuestMemory | import("./memory.js").EitherMemory} memory
   */
  setMemory(memory) {
    this.#slot();
    if (this.#made.linear) throw new TypeError("the memory of this Nic is fixed");
    if (isLinear(memory)) {
      let home = null;
      try {
        home = makeHomeIn(this.#made, memory);
      } catch (error) {
        if (!("read" in memory)) throw error;
      }
      if (home) {
        this.#linear = memory;
        return this.#moveTo(home.instance, home.at, home);
      }
    }
    this.#memory = guestMemory(memory, this.model);
    this.#linear = null;
    if (this.#moved) this.#moveTo(this.#made.instance, this.#made.at, null);
  }

  /** The card works in the emulator's own memory, without copies of what the guest wrote. */
  get zeroCopy() {
    return this.#linear !== null;
  }

  /** @param {number} offset @param {number} size  1, 2 or 4 */
  configRead(offset, size) {
    return this.#done(this.#exports.nic_config_read(this.#slot(), offset, size)) >>> 0;
  }

  /** @param {number} offset @param {number} size @param {number} value */
  configWrite(offset, size, value) {
    this.#done(this.#exports.nic_config_write(this.#slot(), offset, size, value));
  }

  /** No DMA happens here. @param {number} bar @param {number} offset @param {number} size */
  barRead(bar, offset, size) {
    return this.#done(this.#exports.nic_bar_read(this.#slot(), bar, offset, size)) >>> 0;
  }

  /** No DMA happens here: poll() afterwards, soon.
   *  @param {number} bar @param {number} offset @param {number} size @param {number} value */
  barWrite(bar, offset, size, value) {
    this.#done(this.#exports.nic_bar_write(this.#slot(), bar, offset, size, value));
  }

  /**
   * One bounded step of DMA in both directions. From a callback of a poll it does nothing.
   * @returns {boolean}  more work waits right now
   */
  poll() {
    const { ABI_POLL_MORE, ABI_POLL_SENT, ABI_POLL_TOOK } = this.#made.instance.constants;
    const card = this.#slot();
    if (this.#polling) return false;
    this.#moved?.mirror.fetch();
    this.#polling = true;
    const result = this.#exports.nic_poll(card);
    this.#polling = false;
    this.#moved?.mirror.deliver();
    if (this.#drainWanted) this.#drain();
    if ((result & (ABI_POLL_SENT | ABI_POLL_TOOK)) !== 0) this.#port?.moved();
    return (this.#done(result) & ABI_POLL_MORE) !== 0;
  }

  get workPending() {
    const card = this.#slot();
    if (!this.#polling) this.#moved?.mirror.fetch();
    return this.#exports.nic_work_pending(card) !== 0;
  }

  get irqLevel() {
    return this.#exports.nic_irq_level(this.#slot()) !== 0;
  }

  /** When the card wants the next poll() for a timer's sake, on performance.now()'s clock. */
  nextEventMs() {
    return this.#exports.nic_next_event_ms(this.#slot());
  }

  /**
   * Puts a frame behind those that wait for the guest. `frame` is copied.
   * @param {Uint8Array} frame  without FCS
   * @returns {boolean}  false: no room, or longer than the rings carry
   */
  receive(frame) {
    this.#slot();
    const { instance, at } = this.#made;
    if (frame.length > instance.constants.ABI_SUPER_FRAME_BYTES) return false;
    instance.bytes(instance.exports.nic_area(at), frame.length).set(frame);
    if (instance.exports.nic_receive(at, frame.length) !== 0) return false;
    this.#announce();
    return true;
  }

  /** @returns {Uint8Array | null}  the oldest frame from the guest, the caller's own copy */
  takeFrame() {
    this.#slot();
    if (this.#port) throw new Error("a tunnel takes the frames of this Nic");
    const { instance, at } = this.#made;
    const bytes = instance.exports.nic_take(at);
    return bytes < 0 ? null : instance.bytes(instance.exports.nic_area(at), bytes).slice();
  }

  /** The cable is in. */
  get link() {
    return this.#exports.nic_link(this.#slot()) !== 0;
  }

  /** @param {boolean} up */
  setLink(up) {
    this.#done(this.#exports.nic_set_link(this.#slot(), up ? 1 : 0));
  }

  /** @returns {Record<string, number>}  all counters; they begin anew only where the card moves to
   *  other memory: setMemory() */
  stats() {
    const card = this.#slot();
    return this.#instance.stats(
      (index) => this.#exports.nic_stat_name(card, index),
      () => this.#exports.nic_stats(card),
    );
  }

  /** The card's state; what waits in the rings is not part of it. */
  saveState() {
    const card = this.#slot();
    const bytes = this.#exports.nic_save(card, 0, 0);
    const at = this.#snapshotRoom(bytes);
    this.#exports.nic_save(card, at, bytes);
    return this.#instance.bytes(at, bytes).slice();
  }

  /**
   * Gives the card a state saveState() returned, here or elsewhere. Throws for anything else, and
   * then changes nothing.
   * @param {Uint8Array} state
   */
  restoreState(state) {
    const card = this.#slot();
    if (typeof state?.length !== "number")
      throw new TypeError("restoreState() takes the bytes that saveState() returned");
    const at = this.#snapshotRoom(state.length);
    this.#instance.bytes(at, state.length).set(state);
    if (this.#done(this.#exports.nic_load(card, at, state.length)) !== 0)
      throw new Error("this is not a saved state of this card");
  }

  /** Power-on reset. Frames in the rings stay. */
  reset() {
    this.#done(this.#exports.nic_reset(this.#slot()));
  }

  /** Ends the card. A tunnel of it must be closed by its owner. */
  close() {
    this.#card = 0;
    this.#memory = noMemory;
    this.onInterrupt = this.onMessage = this.onWork = null;
  }

  /** For tunnel use, see tunnelPort. */
  get [tunnelPort]() {
    this.#slot();
    return {
      rings: this.#made.rings,
      wasmOptions: this.#made.wasmOptions,
      announce: () => this.#announce(),
      drain: () => this.#drain(),
      plug: (/** @type {Port | null} */ port) => {
        if (port && this.#port) throw new Error("this Nic has a tunnel already");
        this.#port = port;
      },
    };
  }

  #slot() {
    if (this.#card === 0) throw new Error("this Nic is closed");
    return this.#card;
  }

  /**
   * Calls a callback of the host. What it throws must not unwind through C, which would leave the
   * card in the middle of a call for good: it is kept for the end of the export that led there.
   * @param {any} owner @param {string} name @param {unknown} [a] @param {unknown} [b]
   */
  #tell(owner, name, a, b) {
    try {
      return owner?.[name]?.(a, b);
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  /** The end of an export: throws what a callback threw. @param {any} result */
  #done(result) {
    const failure = this.#failure;
    if (failure === null) return result;
    this.#failure = null;
    throw failure.error;
  }

  /** Room that is kept for the next snapshot. @param {number} bytes */
  #snapshotRoom(bytes) {
    if (bytes > SNAPSHOT_MAX_BYTES) throw new RangeError("this saved state is too long");
    const at = this.#snapshotAt.get(this.#instance) ?? this.#instance.alloc(SNAPSHOT_MAX_BYTES);
    this.#snapshotAt.set(this.#instance, at);
    return at;
  }

  /**
   * The card goes on in another home, as it was.
   * @param {import("./wasm.js").Instance} instance @param {number} at
   * @param {ReturnType<typeof makeHomeIn> | null} moved
   */
  #moveTo(instance, at, moved) {
    const state = this.saveState();
    this.#instance = instance;
    this.#exports = instance.exports;
    this.#card = at;
    this.#moved = moved;
    this.restoreState(state);
  }

  /** NET_TX is full in the middle of a poll. @returns {boolean}  there is room again */
  #full() {
    this.#moved?.mirror.deliver();
    const drained = this.#tell(this.#port, "full") ?? false;
    return this.#moved?.mirror.reclaim() || drained;
  }

  /** Drops what waits in NET_RX. Within a poll not before its end: it would put the head back. */
  #drain() {
    this.#drainWanted = this.#polling;
    if (this.#polling) return;
    const { memory, rxAt, capacity } = this.#made.rings;
    new Ring(memory, rxAt, capacity).drain(); // a copy follows with the next poll
  }

  /** Once per turn, however many frames come. */
  #announce() {
    if (this.#announced || !this.onWork) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      this.onWork?.();
    });
  }

  // The arguments of both: card, guest address in two words, at, bytes.

  /** @param {number} _ @param {number} low @param {number} high @param {number} at @param {number} bytes */
  #read(_, low, high, at, bytes) {
    const memory = this.#memory;
    const instance = this.#instance;
    const gpa = join(low, high);
    try {
      if (bytes <= SHORT_BYTES && memory.readShort?.(gpa, instance.heap(), at, bytes)) return 1;
      return Number(memory.read(gpa, instance.bytes(at, bytes)));
    } catch (error) {
      this.#failure ??= { error };
      return Number(noMemory.read(gpa, instance.bytes(at, bytes)));
    }
  }

  /** @param {number} _ @param {number} low @param {number} high @param {number} at @param {number} bytes */
  #write(_, low, high, at, bytes) {
    const memory = this.#memory;
    const instance = this.#instance;
    const gpa = join(low, high);
    try {
      if (bytes <= SHORT_BYTES && memory.writeShort?.(gpa, instance.heap(), at, bytes)) return 1;
      return Number(memory.write(gpa, instance.bytes(at, bytes)));
    } catch (error) {
      this.#failure ??= { error };
      return 0;
    }
  }
}
