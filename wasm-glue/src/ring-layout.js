/**
 * The AIPC buffer around the rings: building one, finding a ring in one (spec/net-rings.md §2).
 * Read through ring.js, which is what the package exports.
 */

import { bufferSource, HEADER_BYTES, Ring } from "./ring-core.js";

export const RingKind = Object.freeze({ CMD: 0, EVT: 1, NET_TX: 2, NET_RX: 3, HID_IN: 4 });

const MAGIC = 0x43504941; // "AIPC"
const VERSION = 1;
const TOP_BYTES = 16;
const DESCRIPTOR_BYTES = 16;
const TOTAL_MAX = 0xffffffff; // total_bytes is a u32
const CAPACITY_AT = 12; // in a ring's header (§3.1)

/** Why a buffer was refused (§2.5). `code` is the name in enum ring_error without its prefix. */
export class RingError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "RingError";
    this.code = code;
  }
}

/**
 * Bytes of a buffer with these queues (§2.4).
 * @param {{kind: number, capacity: number}[]} queues  capacity: bytes, a multiple of 4
 */
export function ringBufferBytes(queues) {
  let total = TOP_BYTES + DESCRIPTOR_BYTES * queues.length;
  for (const { capacity } of queues) {
    if (!Number.isInteger(capacity) || capacity < 0 || capacity % 4 !== 0)
      throw new RangeError(`ring capacity ${capacity} is not a multiple of 4`);
    total += HEADER_BYTES + capacity;
  }
  if (total > TOTAL_MAX) throw new RangeError("rings exceed 4 GiB");
  return total;
}

/**
 * Makes a buffer with empty rings (§2.4).
 * @param {{kind: number, capacity: number}[]} queues
 * @param {{shared?: boolean}} [options]  shared: true where SharedArrayBuffer exists
 * @returns {SharedArrayBuffer | ArrayBuffer}
 */
export function buildRings(queues, { shared = typeof SharedArrayBuffer === "function" } = {}) {
  const total = ringBufferBytes(queues);
  const buffer = shared ? new SharedArrayBuffer(total) : new ArrayBuffer(total);
  const view = new DataView(buffer);
  const put = (at, value) => view.setUint32(at, value, true);
  let offset = TOP_BYTES + DESCRIPTOR_BYTES * queues.length;

  put(0, MAGIC);
  put(4, VERSION);
  put(8, total);
  put(12, queues.length);
  queues.forEach(({ kind, capacity }, index) => {
    const at = TOP_BYTES + DESCRIPTOR_BYTES * index;
    put(at, kind);
    put(at + 4, offset);
    put(at + 8, capacity);
    put(offset + CAPACITY_AT, capacity);
    offset += HEADER_BYTES + capacity;
  });
  return buffer;
}

function topCheck(view, length) {
  if (length < TOP_BYTES) throw new RingError("SHORT", `ring buffer too short: ${length} bytes`);
  const word = (at) => view.getUint32(at, true);
  if (word(0) !== MAGIC) throw new RingError("MAGIC", "ring buffer: bad magic");
  if (word(4) !== VERSION)
    throw new RingError("VERSION", `ring buffer: unsupported version ${word(4)}`);
  if (word(8) !== length)
    throw new RingError("TOTAL", `ring buffer: length mismatch, header says ${word(8)}`);
  const count = word(12);
  if (count > Math.floor((length - TOP_BYTES) / DESCRIPTOR_BYTES))
    throw new RingError("TABLE", `ring buffer: ${count} descriptors do not fit`);
  return count;
}

function descriptorCheck(view, length, index) {
  const at = TOP_BYTES + DESCRIPTOR_BYTES * index;
  const word = (offset) => view.getUint32(offset, true);
  const kind = word(at);
  const offset = word(at + 4);
  const capacity = word(at + 8);
  const fail = (code, what) => {
    throw new RingError(code, `ring descriptor ${index}: ${what}`);
  };

  if (word(at + 12) !== 0) fail("RESERVED", "reserved is not 0");
  if (offset % 4 !== 0 || capacity % 4 !== 0) fail("MISALIGNED", "misaligned");
  if (offset + HEADER_BYTES + capacity > length) fail("BOUNDS", "out of bounds");
  if (word(offset + CAPACITY_AT) !== capacity) fail("CAPACITY", "capacity mismatch");
  return { kind, offset, capacity };
}

/**
 * Finds the `nth` ring of `kind` after checking the whole layout (§2.5). Throws a RingError.
 * @param {ArrayBuffer | SharedArrayBuffer | WebAssembly.Memory | (() => ArrayBufferLike)} buffer
 *        a function or a Memory when the buffer may be replaced by memory.grow()
 * @param {{kind: number, nth?: number, byteOffset?: number, byteLength?: number}} where
 *        byteOffset, byteLength: the AIPC buffer inside `buffer`
 * @returns {{offset: number, capacity: number}} of the ring header, in `buffer`
 */
export function findRing(buffer, { kind, nth = 0, byteOffset = 0, byteLength }) {
  const source = bufferSource(buffer);
  const bytes = source === null ? buffer : source();
  const length = byteLength ?? bytes.byteLength - byteOffset;
  if (byteOffset % 4 !== 0) throw new RingError("MISALIGNED", "ring buffer: misaligned");
  const view = new DataView(bytes, byteOffset, length); // throws where that is outside
  const count = topCheck(view, length);
  let left = nth;
  let found = null;

  for (let index = 0; index < count; index++) {
    const descriptor = descriptorCheck(view, length, index);
    if (descriptor.kind === kind && found === null && left-- === 0) found = descriptor;
  }
  if (found === null)
    throw new RingError("NOT_FOUND", `ring buffer: no ring ${nth} of kind ${kind}`);
  if (found.capacity === 0) throw new RingError("CAPACITY", "ring has capacity 0");
  return { offset: byteOffset + found.offset, capacity: found.capacity };
}

/**
 * Opens the `nth` ring of `kind` after checking the whole layout (§2.5). Throws a RingError.
 * @param {ArrayBuffer | SharedArrayBuffer | WebAssembly.Memory | (() => ArrayBufferLike)} buffer
 *        a function or a Memory when the buffer may be replaced by memory.grow()
 * @param {{kind: number, nth?: number, byteOffset?: number, byteLength?: number}} where
 *        byteOffset, byteLength: the AIPC buffer inside `buffer`
 * @returns {Ring}
 */
export function openRing(buffer, where) {
  const { offset, capacity } = findRing(buffer, where);
  return new Ring(buffer, offset, capacity);
}

/**
 * Checks a ring whose header is known to lie at `headerOffset`, without a table around it.
 * @param {ArrayBuffer | SharedArrayBuffer | WebAssembly.Memory | (() => ArrayBufferLike)} buffer
 */
function checkRingAt(buffer, headerOffset) {
  const source = bufferSource(buffer);
  const bytes = source === null ? buffer : source();
  if (headerOffset % 4 !== 0) throw new RingError("MISALIGNED", "ring header: misaligned");
  if (headerOffset + HEADER_BYTES > bytes.byteLength)
    throw new RingError("BOUNDS", "ring header: out of bounds");
  const capacity = new DataView(bytes, headerOffset).getUint32(CAPACITY_AT, true);
  if (capacity === 0) throw new RingError("CAPACITY", "ring has capacity 0");
  if (capacity % 4 !== 0) throw new RingError("MISALIGNED", "ring capacity: misaligned");
  if (headerOffset + HEADER_BYTES + capacity > bytes.byteLength)
    throw new RingError("BOUNDS", "ring: out of bounds");
  return { offset: headerOffset, capacity };
}

/**
 * Opens a ring whose header is known to lie at `headerOffset`. Throws a RingError.
 * @param {ArrayBuffer | SharedArrayBuffer | WebAssembly.Memory | (() => ArrayBufferLike)} buffer
 */
export function ringAt(buffer, headerOffset) {
  const { offset, capacity } = checkRingAt(buffer, headerOffset);
  return new Ring(buffer, offset, capacity);
}
