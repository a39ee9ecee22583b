// Puts a card into a wasm instance: checks the options, lays out its memory, opens it.

import { isLinear } from "./memory.js";
import { mirrorRings } from "./mirror.js";
import { isShared } from "./ring-core.js";
import { Instance, loadModule, MODELS, needWebAssembly } from "./wasm.js";

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
 * @property {boolean} superFrames  each record begins with a gso_size (l2-extensions.md §6)
 * @property {number} capacity  of either
 * @property {number} txAt  where the header of NET_TX is
 * @property {number} rxAt
 * @property {number} signalAt  words: 0 = the card wants a message when frames arrive, 1 = the pump
 *   wants one when frames leave, 2 = the tunnel is paused
 */

/**
 * @typedef {object} Card
 * @property {Instance} instance
 * @property {number} at  the card's address in it
 * @property {import("./wasm.js").Model} model
 * @property {string} mac
 * @property {{ bars: { index: number, kind: "memory" | "io", bytes: number }[] }} pci
 * @property {boolean} linear  it was made in the emulator's memory
 * @property {Record<string, Function>} env
 * @property {Partial<Record<import("./wasm.js").Variant, WebAssembly.Module>>} modules
 * @property {What} what
 * @property {Rings} rings  a tunnel's end of them
 * @property {import("./wasm.js").WasmOptions} wasmOptions
 */

/**
 * @typedef {object} What
 * @property {number} model  its number in the module
 * @property {ArrayLike<number>} mac
 * @property {number[]} options  a word for each of the model's options
 * @property {number} ringBytes
 * @property {boolean} superFrames
 * @property {boolean} messages  its host delivers MSI-X
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
function region(bytes, linear) {
  const { wasmMemory, guestBase, guestSize, regionBase, regionBytes = bytes, allocate } = linear;
  const pages = Math.ceil((bytes + ALIGNMENT_BYTES) / PAGE_BYTES);
  if (regionBase !== undefined) {
    if (regionBase % 16 !== 0) throw new RangeError("regionBase must be a multiple of 16");
    if (regionBytes < bytes) throw new RangeError(`regionBytes must be at least ${bytes}`);
    const end = regionBase + bytes;
    // Address 0 is nobody's: it would look like NULL.
    if (!(regionBase >= 16) || end > wasmMemory.buffer.byteLength)
      throw new RangeError(
        `there is no room of ${bytes} bytes for the card at regionBase ${regionBase}`,
      );
    if (regionBase < guestBase + guestSize && end > guestBase)
      throw new RangeError(`regionBase ${regionBase} puts the card into guest memory`);
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

/** The names an export gives for 0, 1, ... @param {Instance} instance
 *  @param {(index: number) => number} nameAt */
export function namesOf(instance, nameAt) {
  const names = [];
  for (let at = nameAt(0); at !== 0; at = nameAt(names.length)) names.push(instance.text(at));
  return names;
}

/** @param {Instance} instance @param {string} wanted */
export function modelNumber(instance, wanted) {
  const names = namesOf(instance, instance.exports.nic_model_name);
  if (names.includes(wanted)) return names.indexOf(wanted);
  throw new TypeError(`this wasm module has no ${wanted}, only ${names.join(", ")}`);
}

/**
 * What nic_open() takes for the options of a model, which the module lists.
 * @param {Instance} instance @param {number} model @param {Record<string, any>} given
 */
export function optionWords(instance, model, given) {
  const { exports: x, constants: c } = instance;
  const names = namesOf(instance, (index) => x.nic_option_name(model, index));
  return names.map((name, index) => {
    const value = given[name] ?? null;
    if (value === null) return c.ABI_OPTION_UNSET;
    const choicesAt = x.nic_option_choices(model, index);
    const choices = choicesAt === 0 ? [] : instance.text(choicesAt).split(" ");
    const min = x.nic_option_min(model, index);
    const max = x.nic_option_max(model, index);
    if (choicesAt === 0 && Number.isInteger(value) && value >= min && value <= max) return value;
    const word = typeof value === "number" || typeof value === "string" ? `${value}` : "";
    if (choices.includes(word)) return choices.indexOf(word);
    const right =
      choicesAt === 0 ? `a whole number from ${min} to ${max}` : `one of ${choices.join(", ")}`;
    throw new TypeError(`bad ${name} ${word || typeof value}: give ${right}`);
  });
}

/** @param {Instance} instance @param {number} card */
function bars({ exports, constants: c }, card) {
  /** @type {Card["pci"]["bars"]} */
  const found = [];
  for (let index = 0; index < c.CARD_BARS; index++) {
    const kind = exports.nic_bar_kind(card, index);
    if (kind === c.CARD_BAR_NONE) continue;
    const bytes = exports.nic_bar_bytes(card, index);
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
  return Instance.overhead(module) + objects + SNAPSHOT_MAX_BYTES + 6 * SIGNAL_BYTES;
}

/**
 * Lays a card out and powers it on.
 * @param {Instance} instance
 * @param {What & { linear: import("./memory.js").LinearMemory | null }} what
 * @param {(rings: { txAt: number, rxAt: number }) => void} [beforeOpen]  the rings are built and empty
 * @returns {Home}
 */
function openCard(instance, { linear, ...what }, beforeOpen) {
  const { model, mac, options, ringBytes } = what;
  const { exports: x, constants: c } = instance;
  const ringsBytes = x.rings_bytes(ringBytes, ringBytes);
  const at = instance.alloc(x.nic_card_bytes(model));
  const ringsAt = instance.alloc(ringsBytes);
  const macAt = instance.alloc(MAC_BYTES);
  const optionsAt = instance.alloc(4 * options.length);
  const ring = (/** @type {number} */ kind) =>
    ringsAt + check("rings_find", x.rings_find(ringsAt, ringsBytes, kind));

  check("rings_build", x.rings_build(ringsAt, ringsBytes, ringBytes, ringBytes));
  instance.bytes(macAt, MAC_BYTES).set(mac);
  instance.words(optionsAt, options.length).set(options);
  const home = {
    instance,
    at,
    txAt: ring(c.RING_KIND_NET_TX),
    rxAt: ring(c.RING_KIND_NET_RX),
  };
  beforeOpen?.(home);
  const direct = linear?.written ? c.ABI_HOST_LINEAR_WRITTEN : c.ABI_HOST_LINEAR;
  const access = linear ? direct : c.ABI_HOST_CALLBACKS;
  const host = access | (what.messages ? c.ABI_HOST_MESSAGES : 0);
  const ram = [linear?.guestBase ?? 0, linear?.guestSize ?? 0];
  const rings = [ringsAt, ringsBytes];
  check(
    "nic_open",
    x.nic_open(at, model, macAt, optionsAt, ...rings, host, ...ram, what.superFrames),
  );
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
  const name = options.model ?? "e1000";
  if (!MODELS.includes(name))
    throw new TypeError(`unknown model ${String(name)}: give one of ${MODELS.join(", ")}`);
  const messages = Boolean(options.onMessage);
  if (messages && name !== "virtio-net")
    throw new TypeError("onMessage is for virtio-net: an e1000 has no MSI-X");
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
  const model = modelNumber(instance, name);
  const words = optionWords(instance, model, options);
  // A record longer than half a ring may never find a place in it (net-rings.md §3.7).
  const superFrames = ringBytes > 4 * instance.constants.ABI_SUPER_FRAME_BYTES;
  const what = { model, mac, options: words, ringBytes, superFrames, messages };
  if (instance.exports.rings_bytes(ringBytes, ringBytes) === 0)
    throw new RangeError("ringBytes must be a multiple of 4 above 0");
  if (linear) {
    const place = region(regionNeed(module, instance, model, ringBytes), linear);
    instance = await Instance.create(module, env, { memory: linear.wasmMemory, ...place });
  }
  const { at, txAt, rxAt } = openCard(instance, { ...what, linear });
  return {
    instance,
    at,
    model: name,
    mac: formatMac(mac),
    pci: { bars: bars(instance, at) },
    linear: linear !== null,
    env,
    modules,
    what,
    rings: {
      memory: instance.memory,
      shared,
      superFrames,
      capacity: ringBytes,
      txAt,
      rxAt,
      signalAt: instance.alloc(SIGNAL_BYTES),
    },
    wasmOptions: { wasmUrl: options.wasmUrl, wasmModule: options.wasmModule, model: name },
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
  /** @type {any} */
  let mirror;
  const home = openCard(second, { ...what, linear }, ({ txAt, rxAt }) => {
    const far = (/** @type {number} */ at) => ({ memory: rings.memory, at });
    mirror = mirrorRings({ memory, txAt, rxAt }, far(rings.txAt), far(rings.rxAt));
  });
  return { ...home, mirror: /** @type {ReturnType<typeof mirrorRings>} */ (mirror) };
}
