// Puts a card into a wasm instance: checks the options, lays out its memory, opens it.

import { isLinear } from "./memory.js";
import { mirrorRings } from "./mirror.js";
import { Instance, loadModule, needWebAssembly } from "./wasm.js";

const MAC_BYTES = 6;
const DEFAULT_MAC = "52:54:00:12:34:56";
const DEFAULT_RING_BYTES = 4 << 20; // a burst of a whole TCP window must not overrun a busy pump
const SIGNAL_BYTES = 64;
/** e1000.md §10.2: a gathered packet and two queues of 256 frames at most. */
export const SNAPSHOT_MAX_BYTES = 2 << 20;
const CARD_ROOM_BYTES = 4 << 20; // more than any card needs beside its rings
const PAGE_BYTES = 65536;
const ALIGNMENT_BYTES = 64;

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
 * @property {boolean} linear  it was made in the emulator's memory
 * @property {Record<string, Function>} env
 * @property {Partial<Record<import("./wasm.js").Variant, WebAssembly.Module>>} modules
 * @property {{ model: number, mac: Uint8Array, ringBytes: number }} what
 * @property {Rings} rings  a tunnel's end of them
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
function region(bytes, { wasmMemory, regionBase, regionBytes = bytes, allocate }) {
  const pages = Math.ceil((bytes + ALIGNMENT_BYTES) / PAGE_BYTES);
  if (regionBase !== undefined) {
    if (regionBase % 16 !== 0) throw new RangeError("regionBase must be a multiple of 16");
    if (regionBytes < bytes) throw new RangeError(`regionBytes must be at least ${bytes}`);
    return { base: regionBase, bytes };
  }
  if (!allocate) return { base: wasmMemory.grow(pages) * PAGE_BYTES, bytes: pages * PAGE_BYTES };
  const at = allocate(pages * PAGE_BYTES) >>> 0;
  if (at === 0) throw new RangeError("no room for the card");
  return { base: Math.ceil(at / ALIGNMENT_BYTES) * ALIGNMENT_BYTES, bytes };
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
 * A card and its rings in one instance.
 * @typedef {object} Home
 * @property {Instance} instance
 * @property {number} at  the card's address in it
 * @property {number} txAt  of the header of NET_TX
 * @property {number} rxAt
 */

/** Bytes of a region for a card that lives in somebody else's memory.
 *  @param {WebAssembly.Module} module @param {Instance} any @param {number} model
 *  @param {number} ringBytes */
function regionNeed(module, { exports }, model, ringBytes) {
  const objects = exports.nic_card_bytes(model) + exports.rings_bytes(ringBytes, ringBytes);
  return Instance.overhead(module) + objects + SNAPSHOT_MAX_BYTES + 4 * SIGNAL_BYTES;
}

/**
 * Lays a card out and powers it on.
 * @param {Instance} instance
 * @param {object} what
 * @param {number} what.model
 * @param {ArrayLike<number>} what.mac
 * @param {number} what.ringBytes
 * @param {import("./memory.js").LinearMemory | null} what.linear
 * @param {(rings: { txAt: number, rxAt: number }) => void} [beforeOpen]  the rings are built and empty
 * @returns {Home}
 */
function openCard(instance, { model, mac, ringBytes, linear }, beforeOpen) {
  const { exports: x, constants: c } = instance;
  const ringsBytes = x.rings_bytes(ringBytes, ringBytes);
  const at = instance.alloc(x.nic_card_bytes(model));
  const ringsAt = instance.alloc(ringsBytes);
  const macAt = instance.alloc(MAC_BYTES);
  const ring = (/** @type {number} */ kind) =>
    ringsAt + check("rings_find", x.rings_find(ringsAt, ringsBytes, kind));

  check("rings_build", x.rings_build(ringsAt, ringsBytes, ringBytes, ringBytes));
  instance.bytes(macAt, MAC_BYTES).set(mac);
  const home = {
    instance,
    at,
    txAt: ring(c.RING_KIND_NET_TX),
    rxAt: ring(c.RING_KIND_NET_RX),
  };
  beforeOpen?.(home);
  const host = linear ? c.ABI_HOST_LINEAR : c.ABI_HOST_CALLBACKS;
  const ram = [linear?.guestBase ?? 0, linear?.guestSize ?? 0];
  check("nic_open", x.nic_open(at, model, macAt, ringsAt, ringsBytes, host, ...ram));
  return home;
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
  /** @type {Card["modules"]} */
  const modules = { [shared ? "shared" : "plain"]: module };
  // An emulator that shows up later may want the card in its own memory; if not, nothing is lost.
  if (shared && !options.memory)
    modules.plain = await loadModule("plain", options).catch(() => undefined);

  let instance = await Instance.create(module, env, {
    shared,
    maxBytes: linear ? 0 : 2 * ringBytes + CARD_ROOM_BYTES,
  });
  const model = modelNumber(instance, modelName);
  if (instance.exports.rings_bytes(ringBytes, ringBytes) === 0)
    throw new RangeError("ringBytes must be a multiple of 4 above 0");
  if (linear) {
    const place = region(regionNeed(module, instance, model, ringBytes), linear);
    instance = await Instance.create(module, env, { memory: linear.wasmMemory, ...place });
  }
  const { at, txAt, rxAt } = openCard(instance, { model, mac, ringBytes, linear });
  return {
    instance,
    at,
    model: modelName,
    mac: formatMac(mac),
    pci: { bars: bars(instance, model) },
    linear: linear !== null,
    env,
    modules,
    what: { model, mac, ringBytes },
    rings: {
      memory: instance.memory,
      shared,
      txAt,
      rxAt,
      signalAt: instance.alloc(SIGNAL_BYTES),
    },
    wasmOptions: { wasmUrl: options.wasmUrl, wasmModule: options.wasmModule },
  };
}

/**
 * Makes a second home for a card, in an emulator's memory, with rings in step with those of the
 * first. The caller moves the state. Throws when it cannot be, with nothing changed.
 * @param {Card} card
 * @param {import("./memory.js").LinearMemory} linear
 */
export function makeHomeIn({ instance: first, env, modules, what, rings }, linear) {
  checkLinear(linear);
  const { wasmMemory: memory } = linear;
  const module = modules[isShared(memory.buffer) ? "shared" : "plain"];
  if (!module) throw new Error("no wasm module for this memory");
  const { ringBytes, model } = what;
  const place = region(regionNeed(module, first, model, ringBytes), linear);
  const second = Instance.createNow(module, env, { memory, ...place });
  /** @type {ReturnType<typeof mirrorRings> | undefined} */
  let mirror;
  const home = openCard(second, { ...what, linear }, (card) => {
    mirror = mirrorRings(memory, card, rings, ringBytes);
  });
  return { ...home, .../** @type {ReturnType<typeof mirrorRings>} */ (mirror) };
}
