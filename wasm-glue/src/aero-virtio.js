// VirtioNetPciBridge: the virtio network card under the names of spec/host-api.md §4. Unlike the
// E1000's bridge it talks to the rings itself.

import { GuestCard, isAccess } from "./aero-card.js";
import { addCamelCase } from "./aero-names.js";
import { findRing, RingKind } from "./ring-layout.js";

const COMMAND_IO = 1;
const IDLE_RING_BYTES = 4096; // its own rings carry nothing

/** §4: what callers may give for each transport. */
const FORMS = {
  modern: [undefined, null, false, 0, "modern", "modern-only", ""],
  transitional: [true, 1, "transitional"],
  legacy: [2, "legacy", "legacy-only"],
};

/** @param {unknown} mode */
export function transportOf(mode) {
  const form = typeof mode === "string" ? mode.toLowerCase().replaceAll("_", "-") : mode;
  const found = Object.entries(FORMS).find(([, forms]) =>
    forms.includes(/** @type {any} */ (form)),
  );
  if (!found)
    throw new Error(`bad transportMode ${String(mode)}: give modern, transitional or legacy`);
  return found[0];
}

/** NET_TX and NET_RX of an AIPC buffer. Throws a sentence when they are not there.
 *  @param {SharedArrayBuffer} sab */
export function netRings(sab) {
  return [RingKind.NET_TX, RingKind.NET_RX].map((kind) => ({
    buffer: sab,
    ...findRing(sab, { kind }),
  }));
}

/**
 * The card of a bridge.
 * @param {string} name  of the bridge's class
 * @param {number} guestBase @param {number} guestSize @param {unknown} transportMode
 * @param {VirtioBridgeOptions} [options]
 */
export function virtioCard(name, guestBase, guestSize, transportMode, options) {
  const transport = transportOf(transportMode);
  return new GuestCard("virtio-net", guestBase, guestSize, {
    name,
    mac: options?.mac,
    options: { ...options, profile: options?.profile ?? "contract", transport },
    ringBytes: [IDLE_RING_BYTES, IDLE_RING_BYTES],
  });
}

/** §4, mmio_read. @param {GuestCard} card @param {number} offset @param {number} size */
export function mmioRead(card, offset, size) {
  if (size === 0) return card.at && 0;
  return isAccess(size) ? card.read(card.mmioBar, offset, size) : card.at && 0xffffffff;
}

/** §4, legacy_io_read. @param {GuestCard} card @param {number} offset @param {number} size */
export function legacyRead(card, offset, size) {
  if (size === 0) return card.at && 0;
  const enabled = (card.command & COMMAND_IO) !== 0 && isAccess(size);
  const inside = enabled && offset >>> 0 <= card.barBytes(card.ioBar) - size;
  return inside ? card.read(card.ioBar, offset, size) : 0xffffffff;
}

/** @param {GuestCard} card @param {number} bar @param {number} offset @param {number} size
 *  @param {number} value */
export function virtioWrite(card, bar, offset, size, value) {
  if (card.at && isAccess(size)) card.write(bar, offset, size, value);
}

/**
 * @typedef {object} VirtioBridgeOptions
 * @property {Uint8Array} [mac]
 * @property {"contract" | "standard"} [profile]  default "contract"
 * @property {"default" | "10" | "12" | "auto" | 10 | 12} [headerMode]
 * @property {number} [queueSize]
 * @property {number} [mtu]  at most 2030: the rings carry frames of up to 2048 bytes
 */

/** One card, from its making to free(). */
export class VirtioNetPciBridge {
  #card;

  /**
   * @param {number} guestBase  where guest RAM starts in the memory init() was given
   * @param {number} guestSize  0: up to the end of that memory
   * @param {SharedArrayBuffer} ioIpc  an AIPC buffer with NET_TX and NET_RX
   * @param {string | number | boolean | null} [transportMode]
   * @param {VirtioBridgeOptions} [options]
   */
  constructor(guestBase, guestSize, ioIpc, transportMode, options) {
    const [tx, rx] = netRings(ioIpc);
    const card = virtioCard("VirtioNetPciBridge", guestBase, guestSize, transportMode, options);
    try {
      card.attach(tx, rx);
    } catch (error) {
      card.free();
      throw error;
    }
    this.#card = card;
  }

  /** BAR0. @param {number} offset @param {number} size */
  mmio_read(offset, size) {
    return mmioRead(this.#card, offset, size);
  }

  /** No DMA. @param {number} offset @param {number} size @param {number} value */
  mmio_write(offset, size, value) {
    virtioWrite(this.#card, this.#card.mmioBar, offset, size, value);
  }

  /** BAR2; all ones when it is not there or not decoded. @param {number} offset @param {number} size */
  legacy_io_read(offset, size) {
    return legacyRead(this.#card, offset, size);
  }

  /** No DMA. @param {number} offset @param {number} size @param {number} value */
  legacy_io_write(offset, size, value) {
    virtioWrite(this.#card, this.#card.ioBar, offset, size, value);
  }

  /** As legacy_io_read(). @param {number} offset @param {number} size */
  io_read(offset, size) {
    return this.legacy_io_read(offset, size);
  }

  /** As legacy_io_write(). @param {number} offset @param {number} size @param {number} value */
  io_write(offset, size, value) {
    this.legacy_io_write(offset, size, value);
  }

  /** Its low 16 bits: decoding, bus mastering, INTx. @param {number} command */
  set_pci_command(command) {
    this.#card.setCommand(command);
  }

  /** One bounded tick in both directions, rings included; nothing without bus mastering. */
  poll() {
    this.#card.poll();
  }

  /** As poll(). */
  tick() {
    this.#card.poll();
  }

  irq_asserted() {
    return this.#card.irqLevel;
  }

  /** As irq_asserted(). */
  irq_level() {
    return this.#card.irqLevel;
  }

  /** Counters of the rings as BigInt, and rx_broken. */
  virtio_net_stats() {
    return this.#card.ringStats();
  }

  /** The card's state; what waits in the rings is not part of it. */
  save_state() {
    return this.#card.save();
  }

  /** Throws for anything else, and then changes nothing. @param {Uint8Array} bytes */
  load_state(bytes) {
    if (!this.#card.load(bytes))
      throw new Error("this is not a saved state of this virtio network card");
  }

  /** Releases the card and its place in the memory. Every later call throws. */
  free() {
    this.#card.free();
  }
}

addCamelCase(VirtioNetPciBridge);
