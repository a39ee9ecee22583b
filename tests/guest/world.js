// The whole chain around one guest: a web site, the real proxy, our card and its tunnel, the guest.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { connectTunnel, createNic } from "aero-nic";
import { attachNic } from "aero-nic/v86";
import { startSampleSite } from "../../web-demo/sample-site.js";
import { ProxyProcess } from "../support/proxy.js";
import { Guest } from "./guest.js";

export const SITE_NAME = "web.test";
const SITE_ADDRESS = "203.0.113.10"; // TEST-NET-3: belongs to nobody
/** Room for the largest window that the NAT offers, 4 MiB: a burst must not overrun a busy pump. */
const RING_BYTES = 8 << 20;

/** Everything of one run; close() ends all of it, in the right order, whatever exists. */
export class World {
  /** @type {Guest} */ guest;
  #closers = [];

  /**
   * @param {object} options
   * @param {string} [options.model]  of the card
   * @param {object} [options.guest]  options of Guest
   * @param {() => Promise<{ port: number, close: () => Promise<void> }>} [options.startSite]
   * @param {object} [options.tunnel]  more options of connectTunnel()
   * @param {Record<string, string>} [options.proxy]  more settings of the proxy
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
    this.site = await (options.startSite ?? startSampleSite)();
    this.#closers.push(() => this.site.close());
    this.proxy = await ProxyProcess.start({
      AERO_L2_OPEN: "1",
      AERO_L2_INSECURE_ALLOW_NO_AUTH: "1",
      AERO_L2_DNS_A: `${SITE_NAME}=${SITE_ADDRESS}`,
      AERO_L2_TCP_FORWARD: `${SITE_ADDRESS}:80=127.0.0.1:${this.site.port}`,
      ...options.proxy,
    });
    this.#closers.push(() => this.proxy.stop());
    this.nic = await createNic({
      model: options.model ?? "e1000",
      ringBytes: RING_BYTES,
    });
    this.#closers.push(() => this.nic.close());
    this.tunnel = connectTunnel(this.nic, {
      url: this.proxy.url,
      webSocketModule: pathToFileURL(createRequire(import.meta.url).resolve("ws")).href,
      ...options.tunnel,
    });
    this.#closers.push(() => this.tunnel.close());
    await this.tunnel.opened;
    this.guest = new Guest(options.guest);
    this.#closers.push(() => this.guest.destroy());
    this.card = attachNic(this.guest.emulator, this.nic);
    await this.card.ready;
    this.#closers.push(() => this.card.detach());
  }

  /** Every counter of a loss on the way, by layer; all of them should stand still. */
  async losses() {
    const isLoss = (name) => /drop|corrupt|broken|bad_?ring|closed_|fail/i.test(name);
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
