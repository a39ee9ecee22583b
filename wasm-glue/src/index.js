// aero-nic: network cards for browser-hosted emulators.

import { Tunnel } from "./connection.js";
import { Nic } from "./nic.js";

export { Nic, Tunnel };

/**
 * Makes a card.
 * @param {import("./nic.js").NicOptions & import("./wasm.js").WasmOptions} [options]
 * @returns {Promise<Nic>}
 */
export function createNic(options = {}) {
  return Nic.create(options);
}

/**
 * Connects a card to a proxy and keeps it connected until close().
 * @param {Nic} nic
 * @param {import("./connection.js").TunnelOptions} options
 * @returns {Tunnel}
 */
export function connectTunnel(nic, options) {
  return new Tunnel(nic, options);
}
