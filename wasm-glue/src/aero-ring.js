// The rings of ring.js under the names of spec/host-api.md §6.

import { addCamelCase } from "./aero-names.js";
import { findRing, ringAt } from "./ring-layout.js";

/** @type {WeakMap<object, import("./aero-card.js").RingPlace>} */
const places = new WeakMap();

/** Where an opened ring lies. @param {SharedRingBuffer} ring */
export function placeOf(ring) {
  const place = places.get(ring);
  if (!place) throw new Error("the rings of a network must be two SharedRingBuffer objects");
  return place;
}

/** One end of one ring, from its opening to free(). */
export class SharedRingBuffer {
  /** @type {import("./ring-core.js").Ring | null} */ #ring;

  /**
   * @param {SharedArrayBuffer} sab  an AIPC buffer
   * @param {number} offset_bytes  of the ring's header in it
   */
  constructor(sab, offset_bytes) {
    this.#ring = ringAt(sab, offset_bytes);
    places.set(this, { buffer: sab, offset: offset_bytes, capacity: this.#ring.capacity });
  }

  capacity_bytes() {
    return this.#open().capacity;
  }

  /** @param {Uint8Array} bytes @returns {boolean}  false: full, or too large */
  try_push(bytes) {
    return this.#open().tryPush(bytes);
  }

  /** @returns {Uint8Array | undefined}  a copy; a corrupt backlog is dropped */
  try_pop() {
    return this.#open().pop();
  }

  /** Blocks until there is something to read: workers only. */
  wait_for_data() {
    while (!this.#open().waitData(Infinity));
  }

  /** Blocks while the ring is full. Throws when the record can never fit. @param {Uint8Array} bytes */
  push_blocking(bytes) {
    const ring = this.#open();
    while (!ring.push(bytes)) ring.waitSpace(Infinity);
    while (!ring.settle()) ring.waitSpace(Infinity);
  }

  /** Blocks until there is a record. @returns {Uint8Array} */
  pop_blocking() {
    for (;;) {
      const record = this.try_pop();
      if (record) return record;
      this.wait_for_data();
    }
  }

  /** Lets go of the buffer. Every later call throws. */
  free() {
    this.#open();
    this.#ring = null;
    places.delete(this);
  }

  #open() {
    if (!this.#ring) throw new Error("this SharedRingBuffer was freed");
    return this.#ring;
  }
}

addCamelCase(SharedRingBuffer);

/**
 * Opens the `nth` ring of `kind` after checking the whole layout. Throws a sentence for each fault.
 * @param {SharedArrayBuffer} sab
 * @param {number} kind
 * @param {number} nth
 */
export function open_ring_by_kind(sab, kind, nth) {
  return new SharedRingBuffer(sab, findRing(sab, { kind, nth }).offset);
}
