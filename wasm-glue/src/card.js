// Puts a card into a wasm instance: checks the options, lays out its memory, opens it.

import { isLinear } from "./memory.js";
import { Instance, loadModule, needWebAssembly } from "./wasm.js";

const MAC_BYTES = 6;
const DEFAULT_MAC = "52:54:00:12:34:56";
const DEFAULT_RING_BYTES = 4 << 20; // a burst of a whole TCP window must not overrun a busy pump
const SIGNAL_BYTES = 64;
/** e1000.md §10.2: a gathered packet and two queues of 256 frames at most. */
export const SNAPSHOT_MAX_BYTES = 2 << 20;
const CARD_ROOM_BYTES = 4 << 20; // more than any card needs beside its rings
const PAGE_BYTES = 65536;

/**
 * What the pump needs to know of a card's rings. With shared memory it may be posted to a worker.
 * @typedef {object} Rings
 * @property {WebAssembly.Memory} memory
 * @property {boolean} shared
 * @property {number} txAt  where the header of NET_TX is
 * @property {number} rxAt
 * @property {number} signalAt  two words: 0 = the card wants a message when frames arrive,
 *   1 = the pump wants one when frames leave
 */

/**
 * @typedef {object} Card
 * @property {Instance} instance
 * @property {number} at  the card's address in it
 * @property {string} model
 * @property {string} mac
 * @property {{ bars: { index: number, kind: "memory" | "io", bytes: number }[] }} pci
 * @property {boolean} linear
 * @property {Rings} rings
 * @property {import("./wasm.js").WasmOptions} wasmOptions
 */

/** @param {ArrayLike<number>} bytes */
function formatMac(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** @param {unknown} mac @returns {Uint8Array} */
function parseMac(mac) {
  let bytes = null;
  if (typeof mac === "string" && /^([\da-f]{2}[:-]){5}[\da-f]{2}$/i.test(mac))
    bytes = Uint8Array.from(mac.split(/[:-]/), (group) => Number.parseInt(group, 16));
  else if (mac instanceof Uint8Array && mac.length === MAC_BYTES) bytes = mac.slice();
  if (!bytes) throw new TypeError(`bad MAC ${mac}: give six bytes, as in "${DEFAULT_MAC}"`);
  if ((bytes[0] & 1) !== 0) throw new TypeError(`bad MAC ${formatMac(bytes)}: a group address`);
  if (bytes.every((byte) => byte === 0))
    throw new TypeError(`bad MAC ${formatMac(bytes)}: all bytes are zero`);
  return bytes;
}

/** @param {ArrayBuffer | SharedArrayBuffer} buffer */
function isShared(buffer) {
  return typeof SharedArrayBuffer === "function" && buffer instanceof SharedArrayBuffer;
}

/** True where a WebAssembly.Memory can be shared with a worker. */
function canShare() {
  const { crossOriginIsolated } = /** @type {any} */ (globalThis);
  return typeof SharedArrayBuffer === "function" && crossOriginIsolated !== false;
}

/** @param {import("./nic.js").NicOptions & import("./wasm.js").WasmOptions} options */
function wantsShared({ isolated, wasmModule, memory }) {
  if (isLinear(memory)) return isShared(memory.wasmMemory.buffer);
  if (isolated && !canShare())
    throw new Error("isolated: true needs SharedArrayBuffer: serve the page cross-origin isolated");
  // A lone module is the plain one: it works everywhere.
  return isolated ?? (canShare() && !(wasmModule instanceof WebAssembly.Module));
}

/** @param {import("./memory.js").LinearMemory} linear */
function checkLinear({ wasmMemory, guestBase, guestSize }) {
  if (!(wasmMemory instanceof WebAssembly.Memory))
    throw new TypeError("wasmMemory must be a WebAssembly.Memory");
  if (!(guestBase > 0)) throw new RangeError("guestBase must be an offset above 0");
  if (!(guestSize > 0) || guestBase + guestSize > wasmMemory.buffer.byteLength)
    throw new RangeError("guestBase and guestSize must name a range inside wasmMemory");
}

/**
 * The region of the emulator's memory where the card lives.
 * @param {number} bytes  at least @param {import("./memory.js").LinearMemory} linear
 */
function region(bytes, { wasmMemory, regionBase, regionBytes = bytes }) {
  if (regionBase === undefined) {
    const pages = Math.ceil(bytes / PAGE_BYTES);
    return { base: wasmMemory.grow(pages) * PAGE_BYTES, bytes: pages * PAGE_BYTES };
  }
  if (regionBase % 16 !== 0) throw new RangeError("regionBase must be a multiple of 16");
  if (regionBytes < bytes) throw new RangeError(`regionBytes must be at least ${bytes}`);
  return { base: regionBase, bytes };
}

/** @param {string} what @param {number} result */
function check(what, result) {
  if (result < 0) throw new Error(`${what} failed with ${result}`);
  return result;
}

/** @param {Instance} instance @param {unknown} wanted */
export function modelNumber(instance, wanted) {
  const names = [];
  for (let at = instance.exports.nic_model_name(0); at !== 0; ) {
    const name = instance.text(at);
    if (name === wanted) return names.length;
    names.push(name);
    at = instance.exports.nic_model_name(names.length);
  }
  throw new TypeError(`unknown model ${wanted}: give one of ${names.join(", ")}`);
}

/** @param {Instance} instance @param {number} model */
function bars({ exports, constants: c }, model) {
  /** @type {Card["pci"]["bars"]} */
  const found = [];
  for (let index = 0; index < c.CARD_BARS; index++) {
    const kind = exports.nic_bar_kind(model, index);
    if (kind === c.CARD_BAR_NONE) continue;
    const bytes = exports.nic_bar_bytes(model, index);
    found.push({ index, kind: kind === c.CARD_BAR_IO ? "io" : "memory", bytes });
  }
  return found;
}

/**
 * @param {import("./nic.js").NicOptions & import("./wasm.js").WasmOptions} options
 * @param {Record<string, Function>} env  what the card calls
 * @returns {Promise<Card>}
 */
export async function makeCard(options, env) {
  needWebAssembly();
  const mac = parseMac(options.mac ?? DEFAULT_MAC);
  const linear = isLinear(options.memory) ? options.memory : null;
  if (linear) checkLinear(linear);
  const ringBytes = options.ringBytes ?? DEFAULT_RING_BYTES;
  const modelName = options.model ?? "e1000";
  const shared = wantsShared(options);
  const module = await loadModule(shared ? "shared" : "plain", options);

  let instance = await Instance.create(module, env, {
    shared,
    maxBytes: linear ? 0 : 2 * ringBytes + CARD_ROOM_BYTES,
  });
  const model = modelNumber(instance, modelName);
  const cardBytes = instance.exports.nic_card_bytes(model);
  const ringsBytes = instance.exports.rings_bytes(ringBytes, ringBytes);
  if (ringsBytes === 0) throw new RangeError("ringBytes must be a multiple of 4 above 0");
  if (linear) {
    const bytes =
      Instance.overhead(module) + cardBytes + ringsBytes + SNAPSHOT_MAX_BYTES + 4 * SIGNAL_BYTES;
    const place = region(bytes, linear);
    instance = await Instance.create(module, env, { memory: linear.wasmMemory, ...place });
  }

  const { exports: x, constants: c } = instance;
  const at = instance.alloc(cardBytes);
  const ringsAt = instance.alloc(ringsBytes);
  const signalAt = instance.alloc(SIGNAL_BYTES);
  const macAt = instance.alloc(MAC_BYTES);
  const ring = (/** @type {number} */ kind) =>
    ringsAt + check("rings_find", x.rings_find(ringsAt, ringsBytes, kind));

  check("rings_build", x.rings_build(ringsAt, ringsBytes, ringBytes, ringBytes));
  instance.bytes(macAt, MAC_BYTES).set(mac);
  const host = linear ? c.ABI_HOST_LINEAR : c.ABI_HOST_CALLBACKS;
  const ram = [linear?.guestBase ?? 0, linear?.guestSize ?? 0];
  check("nic_open", x.nic_open(at, model, macAt, ringsAt, ringsBytes, host, ...ram));
  return {
    instance,
    at,
    model: modelName,
    mac: formatMac(mac),
    pci: { bars: bars(instance, model) },
    linear: linear !== null,
    rings: {
      memory: instance.memory,
      shared,
      txAt: ring(c.RING_KIND_NET_TX),
      rxAt: ring(c.RING_KIND_NET_RX),
      signalAt,
    },
    wasmOptions: { wasmUrl: options.wasmUrl, wasmModule: options.wasmModule },
  };
}
