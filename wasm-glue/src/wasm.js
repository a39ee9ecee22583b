// Finds, compiles and instantiates the wasm modules, and reads what C exports about itself.

const PAGE_BYTES = 65536;
const STACK_BYTES = 65536;
const ALIGNMENT = 64;

/** @typedef {"plain" | "shared"} Variant  of a card, by the kind of memory the module imports */
/** @typedef {Variant | "tunnel"} Part */
/**
 * @typedef {object} WasmOptions
 * @property {string | URL | Partial<Record<Part, string | URL>>} [wasmUrl]  where the .wasm is
 * @property {WebAssembly.Module | Partial<Record<Part, WebAssembly.Module>>} [wasmModule]
 *   a module that is compiled already
 * @property {Model} [model]  whose module; default "e1000"
 */

// Literal, so that bundlers find and copy the files.
const urls = {
  e1000: {
    plain: () => new URL("../dist/e1000-plain.wasm", import.meta.url),
    shared: () => new URL("../dist/e1000-shared.wasm", import.meta.url),
  },
  "virtio-net": {
    plain: () => new URL("../dist/virtio-net-plain.wasm", import.meta.url),
    shared: () => new URL("../dist/virtio-net-shared.wasm", import.meta.url),
  },
};
const tunnelUrl = () => new URL("../dist/tunnel.wasm", import.meta.url);

/** @typedef {keyof typeof urls} Model  each has modules of its own */
export const MODELS = /** @type {Model[]} */ (Object.keys(urls));

/** @param {unknown} error */
export function reason(error) {
  return error instanceof Error ? error.message : String(error);
}

/** Imports a Node module by a name bundlers do not follow. @param {string} name */
export function importNode(name) {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`);
}

export function inNode() {
  const { process } = /** @type {any} */ (globalThis);
  return typeof process?.versions?.node === "string";
}

/** @param {URL | string} url */
async function fetchBytes(url) {
  const href = String(url);
  if (inNode() && !/^https?:/.test(href)) {
    const { readFile } = await importNode("fs/promises");
    return readFile(href.startsWith("file:") ? new URL(href) : href);
  }
  const response = await fetch(href);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.arrayBuffer();
}

export function needWebAssembly() {
  if (typeof WebAssembly !== "object")
    throw new Error("aero-nic needs WebAssembly, which is not available here");
}

/** @type {Map<string, Promise<WebAssembly.Module>>} */
const compiled = new Map();

/**
 * The compiled module of a card's variant or of the tunnel; each address is fetched and compiled
 * once. An option that names one module or address means the card's.
 * @param {Part} part
 * @param {WasmOptions} [options]
 * @returns {Promise<WebAssembly.Module>}
 */
export async function loadModule(part, { wasmModule: given, wasmUrl, model = "e1000" } = {}) {
  needWebAssembly();
  const isTunnel = part === "tunnel";
  if (given instanceof WebAssembly.Module) {
    if (!isTunnel) return given;
  } else if (given?.[part]) return given[part];
  const isOne = typeof wasmUrl === "string" || wasmUrl instanceof URL;
  const named = isOne ? !isTunnel && wasmUrl : wasmUrl?.[part];
  const url = String(named || (isTunnel ? tunnelUrl() : urls[model][part]()));
  let module = compiled.get(url);
  if (!module) {
    module = fetchBytes(url)
      .then((bytes) => WebAssembly.compile(bytes))
      .catch((error) => {
        compiled.delete(url); // the next call may have more luck
        throw new Error(`aero-nic cannot load ${url}: ${reason(error)}`, { cause: error });
      });
    compiled.set(url, module);
  }
  return module;
}

/** What the module's dylink.0 section says. @param {WebAssembly.Module} module */
function needs(module) {
  const [section] = WebAssembly.Module.customSections(module, "dylink.0");
  if (!section) throw new Error("this is not a wasm module of aero-nic");
  const bytes = new Uint8Array(section);
  let at = 2; // subsection 1 comes first: its id and size
  const leb = () => {
    let value = 0;
    let shift = 0;
    for (;;) {
      const byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
      shift += 7;
    }
  };
  const memoryBytes = leb();
  leb(); // alignment of the data: never above ours
  return { memoryBytes, tableSlots: leb() };
}

/** @param {number} bytes @param {number} [unit] */
function roundUp(bytes, unit = ALIGNMENT) {
  return Math.ceil(bytes / unit) * unit;
}

/**
 * One instance of a module: it owns a stretch of a memory, from its base on: data, stack, then
 * objects handed out by alloc(), which are never given back.
 */
export class Instance {
  /** @type {any} */ exports;
  /** @type {WebAssembly.Memory} */ memory;
  /** @type {Record<string, number>} */ constants = {};
  #at;
  #end;
  #ownsMemory;
  #heap = new Uint8Array(0);

  /**
   * @param {WebAssembly.Instance} instance
   * @param {{ memory: WebAssembly.Memory, at: number, end: number, ownsMemory: boolean }} place
   */
  constructor(instance, { memory, at, end, ownsMemory }) {
    this.exports = instance.exports;
    this.memory = memory;
    this.#at = at;
    this.#end = end;
    this.#ownsMemory = ownsMemory;
    this.exports.__wasm_apply_data_relocs?.();
    this.exports.__wasm_call_ctors?.();
    this.#readConstants();
  }

  /**
   * @param {WebAssembly.Module} module
   * @param {Record<string, Function>} env  the functions the module imports
   * @param {object} [place]
   * @param {boolean} [place.shared]  own memory: shared or not
   * @param {number} [place.maxBytes]  own memory: most that alloc() will hand out
   * @param {WebAssembly.Memory} [place.memory]  somebody else's memory ...
   * @param {number} [place.base]  ... and the region in it that is ours,
   * @param {number} [place.bytes]  of at least Instance.overhead(module) + what alloc() hands out
   */
  static async create(module, env, place = {}) {
    const { imports, ours } = Instance.#layOut(module, env, place);
    return new Instance(await WebAssembly.instantiate(module, imports), ours);
  }

  /** The same at once; a browser's main thread may refuse that for a module of this size.
   *  @param {Parameters<typeof Instance.create>} args */
  static createNow(...[module, env, place = {}]) {
    const { imports, ours } = Instance.#layOut(module, env, place);
    return new Instance(new WebAssembly.Instance(module, imports), ours);
  }

  /** @param {Parameters<typeof Instance.create>} args */
  static #layOut(...[module, env, place = {}]) {
    const { shared = false, maxBytes = 0, base = 1024, bytes = 0 } = place;
    const { memoryBytes, tableSlots } = needs(module);
    const stackEnd = base + roundUp(memoryBytes) + STACK_BYTES;
    const initial = Math.ceil(stackEnd / PAGE_BYTES);
    const maximum = initial + Math.ceil(maxBytes / PAGE_BYTES) + 1;
    const memory = place.memory ?? new WebAssembly.Memory({ initial, maximum, shared });
    // A dirty region would keep its old data: the module's statics are copied in only once.
    if (place.memory) new Uint8Array(memory.buffer, base, bytes).fill(0);
    const i32 = (/** @type {number} */ value, mutable = false) =>
      new WebAssembly.Global({ value: "i32", mutable }, value);
    const imports = {
      env: {
        ...env,
        memory,
        __memory_base: i32(base),
        __table_base: i32(1), // slot 0 stays empty: a NULL function pointer
        __stack_pointer: i32(stackEnd, true),
        __indirect_function_table: new WebAssembly.Table({
          initial: tableSlots + 1,
          element: "anyfunc",
        }),
      },
    };
    const end = place.memory ? base + bytes : initial * PAGE_BYTES;
    return { imports, ours: { memory, at: stackEnd, end, ownsMemory: !place.memory } };
  }

  /** Bytes of a region that alloc() cannot hand out. @param {WebAssembly.Module} module */
  static overhead(module) {
    return roundUp(needs(module).memoryBytes) + STACK_BYTES;
  }

  #readConstants() {
    const { exports } = this;
    const entryBytes = exports.abi_constant_bytes();
    const count = exports.abi_constants_count();
    for (let i = 0; i < count; i++) {
      const at = exports.abi_constants() + i * entryBytes;
      this.constants[this.text(at)] = this.words(at + entryBytes - 4, 1)[0] | 0;
    }
  }

  /** Room for an object, zeroed, aligned to 64. @param {number} bytes */
  alloc(bytes) {
    const at = roundUp(this.#at);
    const missing = at + bytes - this.#end;
    if (missing > 0) {
      if (!this.#ownsMemory) throw new RangeError("the memory region is too small for this Nic");
      this.#end +=
        this.memory.grow(Math.ceil(missing / PAGE_BYTES)) >= 0 ? roundUp(missing, PAGE_BYTES) : 0;
    }
    this.#at = at + bytes;
    return at;
  }

  /** A view made now, to be used now: memory.grow() detaches every older one.
   *  @param {number} at @param {number} bytes */
  bytes(at, bytes) {
    return new Uint8Array(this.memory.buffer, at, bytes);
  }

  /** The whole memory, as of now. */
  heap() {
    if (this.#heap.buffer !== this.memory.buffer) this.#heap = new Uint8Array(this.memory.buffer);
    return this.#heap;
  }

  /** @param {number} at @param {number} count */
  words(at, count) {
    return new Uint32Array(this.memory.buffer, at, count);
  }

  /** A NUL-terminated name. @param {number} at */
  text(at) {
    const bytes = this.bytes(at, Math.min(64, this.memory.buffer.byteLength - at));
    let text = "";
    for (let i = 0; i < bytes.length && bytes[i] !== 0; i++) text += String.fromCharCode(bytes[i]);
    return text;
  }

  /**
   * Statistics as a plain object, names in camelCase.
   * @param {(index: number) => number} nameAt  address of a name, 0 behind the last one
   * @param {() => number} valuesAt
   */
  stats(nameAt, valuesAt) {
    /** @type {string[]} */
    const names = [];
    for (let at = nameAt(0); at !== 0; at = nameAt(names.length)) {
      names.push(this.text(at).replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()));
    }
    const words = this.words(valuesAt(), 2 * names.length);
    return Object.fromEntries(
      names.map((name, i) => [name, words[2 * i] + words[2 * i + 1] * 2 ** 32]),
    );
  }
}
