// The whole chain around one guest: a web site, the real proxy, our card and its tunnel, the guest.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { connectTunnel, createNic } from "aero-nic";
import { attachNic } from "aero-nic/v86";
import { startSampleSite } from "../../web-demo/sample-site.js";
import { ProxyProcess } from "../support/proxy.js";
import { cards } from "./cards.js";
import { Guest } from "./guest.js";
import { Wire } from "./wire.js";

export const SITE_NAME = "web.test";
export const SITE_ADDRESS = "203.0.113.10"; // TEST-NET-3: belongs to nobody
/** Room for the largest window that the NAT offers, 4 MiB: a burst must not overrun a busy pump. */
const RING_BYTES = 8 << 20;
const NIC_SLOT = 3;
const WIRE_SLOT = 4;
export const WIRE_MAC = "52:54:00:12:34:57";

/**
 * The proxy, open to everybody here, with one name and one address behind which the site is.
 * @param {{ port: number }} site
 * @param {Record<string, string>} [settings]  more of them
 */
export function startProxy(site, settings = {}) {
  return ProxyProcess.start({
    AERO_L2_OPEN: "1",
    AERO_L2_INSECURE_ALLOW_NO_AUTH: "1",
    AERO_L2_DNS_A: `${SITE_NAME}=${SITE_ADDRESS}`,
    AERO_L2_TCP_FORWARD: `${SITE_ADDRESS}:80=127.0.0.1:${site.port}`,
    ...settings,
  });
}

/** Everything of one run; close() ends all of it, in the right order, whatever exists. */
export class World {
  /** @type {Guest} */ guest;
  /** The card with the tunnel. @type {import("aero-nic").Nic} */ nic;
  /** @type {import("aero-nic").Tunnel} */ tunnel;
  /** The second card, if there is one. @type {import("aero-nic").Nic | null} */ wireNic = null;
  /** The far end of the second card's cable. @type {Wire | null} */ wire = null;
  /** The cards live in v86's memory. */ zeroCopy = true;
  /** What is plugged into the guest, by slot. @type {Map<number, import("aero-nic").Nic>} */
  #nics = new Map();
  #cards = [];
  #closers = [];
  #options;

  /**
   * @param {object} options
   * @param {import("./cards.js").Card} [options.card]  an E1000 if left out
   * @param {boolean} [options.zeroCopy]  of attachNic()
   * @param {object} [options.guest]  options of Guest
   * @param {boolean} [options.wire]  true: a second card, whose cable ends in the test
   * @param {() => Promise<{ port: number, close: () => Promise<void> }>} [options.startSite]
   * @param {object} [options.tunnel]  more options of connectTunnel()
   * @param {Record<string, string>} [options.proxy]  more settings of the proxy
   * @param {number} [options.udp]  the site is not HTTP, but behind this port of UDP
   */
  static async open(options = {}) {
    const world = new World();
    try {
      await world.#open(options);
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  async #open(options) {
    this.#options = options;
    this.zeroCopy = options.zeroCopy ?? true;
    this.site = await (options.startSite ?? startSampleSite)();
    this.#closers.push(() => this.site.close());
    const forward = options.udp && {
      AERO_L2_UDP_FORWARD: `${SITE_ADDRESS}:${options.udp}=127.0.0.1:${this.site.port}`,
    };
    this.proxy = await startProxy(this.site, { ...options.proxy, ...forward });
    this.#closers.push(() => this.proxy.stop());
    await this.#connect();
    if (options.wire) {
      this.wireNic = await createNic({ ...this.#what(), mac: WIRE_MAC });
      this.#closers.push(() => this.wireNic.close());
      this.wire = new Wire(this.wireNic);
      this.#nics.set(WIRE_SLOT, this.wireNic);
    }
    await this.#boot(options.guest);
    this.#closers.push(() => this.#end());
  }

  /** What createNic() is told of the card. */
  #what() {
    const { model, options } = this.#options.card ?? cards.e1000;
    return { model, ...options };
  }

  async #connect() {
    const nic = await createNic({ ...this.#what(), ringBytes: RING_BYTES });
    this.#closers.push(() => nic.close());
    const tunnel = connectTunnel(nic, {
      url: this.proxy.url,
      webSocketModule: pathToFileURL(createRequire(import.meta.url).resolve("ws")).href,
      ...this.#options.tunnel,
    });
    this.#closers.push(() => tunnel.close());
    await tunnel.opened;
    this.nic = nic;
    this.tunnel = tunnel;
    this.#nics.set(NIC_SLOT, nic);
  }

  async #boot(guest) {
    this.guest = new Guest(guest);
    this.#cards = [...this.#nics].map(([slot, nic]) =>
      attachNic(this.guest.emulator, nic, { slot, zeroCopy: this.zeroCopy }),
    );
    await Promise.all(this.#cards.map((card) => card.ready));
  }

  async #end() {
    for (const card of this.#cards) card.detach();
    await this.guest.destroy();
  }

  /** Stops the guest and returns the emulator's saved state. It stays stopped: see restore(). */
  async save() {
    await this.guest.emulator.stop();
    return this.guest.emulator.save_state();
  }

  /**
   * Ends the guest and goes on from a saved state in another emulator. The cards keep their cables,
   * but what they know of the guest is reset, so that it can only come out of the saved state.
   * @param {ArrayBuffer} state
   */
  async restore(state) {
    await this.#end();
    for (const nic of this.#nics.values()) nic.reset();
    await this.#boot({ ...this.#options.guest, state });
  }

  /** As restore(), but the card is a new one, and its tunnel a new session with the proxy. */
  async restoreElsewhere(state) {
    this.tunnel.close();
    await this.#connect();
    await this.restore(state);
  }

  /** Every counter of a loss on the way, by layer; all of them should stand still. */
  async losses() {
    const isLoss = (name) =>
      /drop|corrupt|broken|bad_?ring|badChains|needsReset|refused|closed_|fail/i.test(name);
    const found = {};
    const note = (layer, entries) => {
      for (const [name, value] of entries) if (isLoss(name)) found[`${layer} ${name}`] = value;
    };
    note("card", Object.entries(this.nic.stats()));
    const { drops, ...tunnel } = this.tunnel.stats();
    note("tunnel", [
      ...Object.entries(tunnel),
      ...Object.entries(drops ?? {}).map(([name, value]) => [`drops.${name}`, value]),
    ]);
    note("proxy", await this.proxy.metrics());
    return found;
  }

  async close() {
    const errors = [];
    while (this.#closers.length > 0) {
      try {
        await this.#closers.pop()();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
