// The module entry of spec/host-api.md §6.1 and what the bridge classes share: the compiled module,
// the emulator's memory, and who lives where in it.

import { namesOf } from "./card.js";
import { Instance, loadModule, MODELS, needWebAssembly } from "./wasm.js";

const PAGE_BYTES = 65536;
const PAGES_MAX = 65536;
const RESERVED_BYTES = 0x08000000; // §2.1: at the bottom, for runtimes
const GUEST_SIZE_DEFAULT = 512 << 20;
export const GUEST_SIZE_MAX = 0xe0000000;
/** §6.1: right below guest_base, for the loader's test of the wiring. */
const WIRING_BYTES = 64;

/**
 * @typedef {string | URL | Response | BufferSource | WebAssembly.Module} ModuleSource
 */
/**
 * @typedef {object} InitOptions
 * @property {ModuleSource | Promise<ModuleSource>} [module_or_path]  of one card; others are the
 *   package's own
 * @property {ModuleSource | Promise<ModuleSource>} [module]  another name of it
 * @property {WebAssembly.Memory} [memory]  of the emulator
 * @property {import("./wasm.js").Model[]} [models]  the cards to make ready, all if left out
 * @property {number} [regionBase]  where cards may live in the memory, from there upwards; left
 *   out: below guest_base, downwards. Threads that share a memory and all make cards must agree
 */
/**
 * @typedef {object} Loaded  the module of a card
 * @property {WebAssembly.Module} module
 * @property {Instance} sample  an instance in a memory of its own, to ask for sizes
 */
/**
 * @typedef {object} World
 * @property {Map<string, Loaded | Error>} cards  by model, or why there is none
 * @property {WebAssembly.Memory} memory
 * @property {number | undefined} regionBase
 */

/** @type {World | null} */
let world = null;

/** What init() has set up. */
function ready() {
  if (!world) throw new Error("await init() of aero-nic/aero first");
  return world;
}

/** The same for one card. @param {string} model @returns {World & Loaded} */
export function entered(model) {
  const found = ready().cards.get(model);
  if (!found) throw new Error(`init() of aero-nic/aero was not asked for ${model}`);
  if (found instanceof Error) throw found;
  return { ...ready(), ...found };
}

/** The host functions of a card in linear memory; its user polls, so nothing needs to be told. */
export const linearHost = {
  dma_read: () => 0,
  dma_write: () => 0,
  dma_written: () => {},
  irq: () => {},
  message: () => {},
  tx_full: () => 0,
  now_ms: () => performance.now(),
};

/** @param {WebAssembly.Memory} memory */
function isShared({ buffer }) {
  return typeof SharedArrayBuffer === "function" && buffer instanceof SharedArrayBuffer;
}

/** @param {unknown} value @returns {value is InitOptions} */
function isOptions(value) {
  return (
    typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
  );
}

/** @param {ModuleSource} source @param {import("./wasm.js").Variant} variant */
async function compile(source, variant) {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source === "string" || source instanceof URL)
    return loadModule(variant, { wasmUrl: source });
  const bytes = source instanceof Response ? await source.arrayBuffer() : source;
  return WebAssembly.compile(/** @type {BufferSource} */ (bytes));
}

/**
 * Makes the module ready: `init({ module_or_path, memory })`, `init(input, memory)` or
 * `init(input)`. Called again it replaces what it set up; objects made before stay as they are.
 * @param {InitOptions | ModuleSource | Promise<ModuleSource>} [input]
 * @param {WebAssembly.Memory} [memory]  left out: a new one of the size of the reserved area
 */
export async function init(input, memory) {
  needWebAssembly();
  const options = isOptions(input) ? input : { module_or_path: input };
  const own = () =>
    new WebAssembly.Memory({ initial: RESERVED_BYTES / PAGE_BYTES, maximum: PAGES_MAX });
  const used = options.memory ?? memory ?? own();
  if (!(used instanceof WebAssembly.Memory))
    throw new TypeError("the memory given to init() must be a WebAssembly.Memory");
  const shared = isShared(used);
  const source = await (options.module_or_path ?? options.module);
  const variant = shared ? "shared" : "plain";
  /** @type {World["cards"]} */
  const cards = new Map();
  const add = async (/** @type {WebAssembly.Module} */ module) => {
    // Sees at once whether it is our module, and the one for this kind of memory.
    const sample = await Instance.create(module, linearHost, { shared });
    for (const name of namesOf(sample, sample.exports.nic_model_name))
      cards.set(name, { module, sample });
  };
  if (source !== undefined) await add(await compile(source, variant));
  const others = (options.models ?? MODELS).filter((model) => !cards.has(model));
  await Promise.all(
    others.map((model) =>
      loadModule(variant, { model })
        .then(add)
        .catch((error) => cards.set(model, error)),
    ),
  );
  const found = [...cards.values()];
  if (found.every((card) => card instanceof Error)) throw found[0];
  world = { cards, memory: used, regionBase: options.regionBase };
  return { memory: used, mem_load_u32, mem_store_u32, guest_ram_layout };
}

/** @param {number} offset  in the linear memory */
function word(offset) {
  return new DataView(ready().memory.buffer, offset >>> 0, 4);
}

/** @param {number} offset */
export function mem_load_u32(offset) {
  return word(offset).getUint32(0, true);
}

/** @param {number} offset @param {number} value */
export function mem_store_u32(offset, value) {
  word(offset).setUint32(0, value >>> 0, true);
}

/** §2.1: where guest RAM of the desired size lies. @param {number} [desired]  bytes */
export function guest_ram_layout(desired = GUEST_SIZE_DEFAULT) {
  const pages = Math.ceil(Math.max(0, Number(desired) || 0) / PAGE_BYTES);
  return {
    guest_base: RESERVED_BYTES,
    guest_size: Math.min(pages * PAGE_BYTES, GUEST_SIZE_MAX),
    runtime_reserved: RESERVED_BYTES,
  };
}

/** Regions in use by live objects. @type {WeakMap<WebAssembly.Memory, Set<Region>>} */
const regions = new WeakMap();

/** A stretch of the emulator's memory, from its making to release(). */
export class Region {
  #taken;

  /**
   * Finds a free place of `bytes` that touches neither guest RAM nor the words of §6.1.
   * @param {Pick<World, "memory" | "regionBase">} world
   * @param {number} bytes
   * @param {{ base: number, bytes: number }} guest
   */
  constructor({ memory, regionBase }, bytes, guest) {
    this.bytes = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    this.#taken = regions.get(memory) ?? new Set();
    regions.set(memory, this.#taken);
    const clearBase = guest.base - WIRING_BYTES;
    this.base = regionBase ?? Math.floor(clearBase / PAGE_BYTES) * PAGE_BYTES - this.bytes;
    // Each step passes one region at least, so there are no more steps than regions.
    for (let other = this.#overlapping(); other; other = this.#overlapping())
      this.base = regionBase === undefined ? other.base - this.bytes : other.base + other.bytes;
    const end = this.base + this.bytes;
    if (this.base < guest.base + guest.bytes && end > clearBase)
      throw new Error(`regionBase ${regionBase} puts the card into guest memory`);
    // Address 0 is nobody's: it would look like NULL.
    if (this.base < 16 || end > memory.buffer.byteLength || this.base % 16 !== 0)
      throw new Error(`there is no room of ${this.bytes} bytes for a card below guest_base`);
    this.#taken.add(this);
  }

  #overlapping() {
    for (const other of this.#taken)
      if (this.base < other.base + other.bytes && other.base < this.base + this.bytes) return other;
    return null;
  }

  release() {
    this.#taken.delete(this);
  }
}
