// Machine: the network part of a device set that lives in the CPU's module, under the names of
// spec/host-api.md §5. One card at most, and rings that come and go.

import { GuestCard, isAccess } from "./aero-card.js";
import { addCamelCase } from "./aero-names.js";
import { placeOf } from "./aero-ring.js";
import { legacyRead, mmioRead, netRings, virtioCard, virtioWrite } from "./aero-virtio.js";

const IDLE_RING_BYTES = 4096;

/**
 * Each name also in camelCase.
 * @typedef {object} MachineOptions
 * @property {number} guest_base @property {number} [guest_size]
 * @property {boolean} [enable_e1000]  it wins where both are on
 * @property {boolean} [enable_virtio_net]
 * @property {Uint8Array} [mac]
 * @property {string | number | boolean | null} [transport_mode]  of the virtio card
 * @property {"contract" | "standard"} [profile]  of the virtio card, default "contract"
 * @property {"default" | "10" | "12" | "auto" | 10 | 12} [header_mode]
 */

/** @param {any} options */
function named(options) {
  return (/** @type {string} */ name) =>
    options[name] ?? options[name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())];
}

/** From its making to free(). Without a card every call is safe and does nothing. */
export class Machine {
  /** @type {GuestCard | null} */ #card = null;
  #isE1000;
  #freed = false;

  /** @param {MachineOptions} options */
  constructor(options) {
    const option = named(options ?? {});
    const mac = option("mac");
    const guest = [option("guest_base"), option("guest_size") ?? 0];
    this.#isE1000 = Boolean(option("enable_e1000"));
    if (this.#isE1000)
      this.#card = new GuestCard("e1000", guest[0], guest[1], {
        name: "Machine",
        mac,
        ringBytes: [IDLE_RING_BYTES, IDLE_RING_BYTES],
      });
    else if (option("enable_virtio_net"))
      this.#card = virtioCard("Machine", guest[0], guest[1], option("transport_mode"), {
        mac,
        profile: option("profile"),
        headerMode: option("header_mode"),
      });
  }

  /**
   * Frames go to and come from these rings; others attached before are let go.
   * @param {import("./aero-ring.js").SharedRingBuffer} tx  NET_TX
   * @param {import("./aero-ring.js").SharedRingBuffer} rx  NET_RX
   */
  attach_l2_tunnel_rings(tx, rx) {
    this.#open()?.attach(placeOf(tx), placeOf(rx));
  }

  /** As attach_l2_tunnel_rings().
   *  @param {import("./aero-ring.js").SharedRingBuffer} tx
   *  @param {import("./aero-ring.js").SharedRingBuffer} rx */
  attach_net_rings(tx, rx) {
    this.attach_l2_tunnel_rings(tx, rx);
  }

  /** @param {SharedArrayBuffer} sab  an AIPC buffer with NET_TX and NET_RX */
  attach_l2_tunnel_from_io_ipc_sab(sab) {
    const [tx, rx] = netRings(sab);
    this.#open()?.attach(tx, rx);
  }

  /** What the guest sends is discarded from now on. */
  detach_network() {
    this.#open()?.detach();
  }

  /** As detach_network(). */
  detach_net_rings() {
    this.detach_network();
  }

  /** One bounded tick of the card in both directions. */
  poll_network() {
    this.#open()?.poll();
  }

  /** Counters of the attached rings as BigInt, and rx_broken; null without a card or rings. */
  net_stats() {
    return this.#open()?.ringStats() ?? null;
  }

  /** The card's configuration space. @param {number} offset @param {number} size */
  pci_config_read(offset, size) {
    return this.#open()?.configRead(offset, size) ?? 0xffffffff;
  }

  /** @param {number} offset @param {number} size @param {number} value */
  pci_config_write(offset, size, value) {
    this.#open()?.configWrite(offset, size, value);
  }

  /** @param {number} command  its low 16 bits */
  set_pci_command(command) {
    this.#open()?.setCommand(command);
  }

  /** BAR0 of the card. @param {number} offset @param {number} size */
  mmio_read(offset, size) {
    const card = this.#open();
    return card ? mmioRead(card, offset, size) : 0xffffffff;
  }

  /** @param {number} offset @param {number} size @param {number} value */
  mmio_write(offset, size, value) {
    const card = this.#open();
    if (card) virtioWrite(card, card.mmioBar, offset, size, value);
  }

  /** The card's I/O BAR. @param {number} offset @param {number} size */
  io_read(offset, size) {
    const card = this.#open();
    if (!card || !isAccess(size)) return 0xffffffff;
    return this.#isE1000 ? card.read(card.ioBar, offset, size) : legacyRead(card, offset, size);
  }

  /** @param {number} offset @param {number} size @param {number} value */
  io_write(offset, size, value) {
    const card = this.#open();
    if (card) virtioWrite(card, card.ioBar, offset, size, value);
  }

  irq_level() {
    return this.#open()?.irqLevel ?? false;
  }

  /** The card's state; empty without one. What waits in the rings is not part of it. */
  save_state() {
    return this.#open()?.save() ?? new Uint8Array(0);
  }

  /** Throws for anything else, and then changes nothing. @param {Uint8Array} bytes */
  load_state(bytes) {
    const card = this.#open();
    if (card ? !card.load(bytes) : bytes?.length !== 0)
      throw new Error("this is not a saved state of this machine's card");
  }

  /** Every later call throws. */
  free() {
    this.#open()?.free();
    this.#freed = true;
  }

  #open() {
    if (this.#freed) throw new Error("this Machine was freed");
    return this.#card;
  }
}

addCamelCase(Machine);
