// The forms in which an emulator hands over its guest's memory, as one pair of functions.

const HOLE_FIRST = 0xb0000000; // PCI windows: reads there give ones, elsewhere outside RAM zeros
const HOLE_END = 0x100000000;
const HOLE_READ_MAX = 65536;

/**
 * @typedef {object} MemoryCallbacks  `bytes` is valid during the call only
 * @property {(gpa: number, bytes: Uint8Array) => boolean} read  fills bytes; false: not RAM
 * @property {(gpa: number, bytes: Uint8Array) => boolean} write
 */
/**
 * @typedef {object} LinearMemory  the card shall live in the emulator's own memory
 * @property {WebAssembly.Memory} wasmMemory
 * @property {number} guestBase  where guest RAM starts in it
 * @property {number} guestSize
 * @property {number} [regionBase]  where the card may live; left out: as allocate says, else the
 *   memory is grown
 * @property {number} [regionBytes]
 * @property {(bytes: number) => number} [allocate]  the emulator's allocator; 0: no room
 * @property {(gpa: number, bytes: number) => void} [written]  the card wrote guest memory
 */
/**
 * @typedef {object} ShortAccess  between guest memory and `heap` from index `at` on, for accesses too
 *   short to be worth a view of their own; false: not done
 * @property {(gpa: number, heap: Uint8Array, at: number, bytes: number) => boolean} readShort
 * @property {(gpa: number, heap: Uint8Array, at: number, bytes: number) => boolean} writeShort
 */
/** @typedef {LinearMemory & MemoryCallbacks} EitherMemory  callbacks where the other cannot be */
/** @typedef {MemoryCallbacks | Uint8Array | (() => Uint8Array) | LinearMemory} GuestMemory */

/** @param {unknown} memory @returns {memory is LinearMemory} */
export function isLinear(memory) {
  return typeof memory === "object" && memory !== null && "wasmMemory" in memory;
}

/** @param {number} gpa @param {Uint8Array} bytes */
function fillOutside(gpa, bytes) {
  for (let i = 0; i < bytes.length; i++) {
    const at = gpa + i;
    bytes[i] = at >= HOLE_FIRST && at < HOLE_END ? 0xff : 0;
  }
  return false;
}

/**
 * @param {() => Uint8Array} view
 * @param {boolean} wholeHole  host-api.md §2.3, virtio's column: what lies wholly in the hole is no
 *   error, but reads ones and is written nowhere
 * @returns {MemoryCallbacks & ShortAccess}
 */
function overView(view, wholeHole) {
  const inHole = (/** @type {number} */ gpa, /** @type {number} */ bytes) =>
    wholeHole && gpa >= HOLE_FIRST && gpa + bytes <= HOLE_END;
  return {
    readShort(gpa, heap, at, bytes) {
      const ram = view();
      if (gpa + bytes > ram.length) return false;
      for (let i = 0; i < bytes; i++) heap[at + i] = ram[gpa + i];
      return true;
    },
    writeShort(gpa, heap, at, bytes) {
      const ram = view();
      if (gpa + bytes > ram.length) return false;
      for (let i = 0; i < bytes; i++) ram[gpa + i] = heap[at + i];
      return true;
    },
    read(gpa, bytes) {
      const ram = view();
      if (gpa + bytes.length <= ram.length) {
        bytes.set(ram.subarray(gpa, gpa + bytes.length));
        return true;
      }
      const inside = Math.max(0, ram.length - gpa);
      bytes.set(ram.subarray(gpa, gpa + inside));
      fillOutside(gpa + inside, bytes.subarray(inside));
      return inHole(gpa, bytes.length) && bytes.length <= HOLE_READ_MAX;
    },
    write(gpa, bytes) {
      const ram = view();
      const inside = Math.min(bytes.length, Math.max(0, ram.length - gpa));
      ram.set(inside === bytes.length ? bytes : bytes.subarray(0, inside), inside > 0 ? gpa : 0);
      return inside === bytes.length || inHole(gpa, bytes.length);
    },
  };
}

/** @param {MemoryCallbacks} memory @returns {MemoryCallbacks} */
function overCallbacks(memory) {
  return {
    read: (gpa, bytes) => memory.read(gpa, bytes) !== false || fillOutside(gpa, bytes),
    write: (gpa, bytes) => memory.write(gpa, bytes) !== false,
  };
}

/** No memory yet: an adapter will set it. @type {MemoryCallbacks & Partial<ShortAccess>} */
export const noMemory = { read: fillOutside, write: () => false };

/**
 * @param {unknown} memory
 * @param {string} model  of the card that will use it
 * @returns {MemoryCallbacks & Partial<ShortAccess>}
 */
export function guestMemory(memory, model) {
  const wholeHole = model === "virtio-net";
  if (memory instanceof Uint8Array) return overView(() => memory, wholeHole);
  if (typeof memory === "function") {
    const view = /** @type {() => Uint8Array} */ (memory);
    if (!(view() instanceof Uint8Array))
      throw new TypeError("the memory function of a Nic must return a Uint8Array");
    return overView(view, wholeHole);
  }
  const callbacks = /** @type {MemoryCallbacks | null} */ (memory);
  if (typeof callbacks?.read === "function" && typeof callbacks.write === "function")
    return overCallbacks(callbacks);
  throw new TypeError(
    "the memory of a Nic must be { read, write }, a Uint8Array, a function that returns one, or " +
      "{ wasmMemory, guestBase, guestSize }",
  );
}
