/**
 * NET_TX and NET_RX for JavaScript: frame rings in the AIPC layout (spec/net-rings.md; every § is
 * a section of it). The same rings as nic/include/nic/ring.h: one end may be C, the other this.
 *
 * A Ring is a checked view on a buffer somebody else owns, shared or not. Many producers, one
 * consumer, each with a Ring of its own. What lies in the buffer is never trusted: bounds come
 * from copies taken when the ring was opened, every retry is bounded (§3.6).
 */

export const HEADER_BYTES = 16; // of a ring, in front of its data region

/** Negative results of peek(), popInto() and reserve(); the values of enum ring_error. */
export const RingStatus = Object.freeze({ EMPTY: -11, FULL: -12, TOO_LARGE: -13, CORRUPT: -14 });

// Words of a ring header (§3.1).
const HEAD = 0;
const RESERVE = 1;
const COMMIT = 2;

const WRAP_MARKER = 0xffffffff;
const PUSH_TRIES = 1000; // §3.6: a producer's retries are bounded
const COMMIT_SPINS = 200;
const COMMIT_SLEEPS = 1000; // of 1 ms at most
const COMMIT_SPINS_ONLY = 1 << 20; // on a thread that may not sleep
const POPS_MAX = 64; // §4.1: oversized records one pop() passes over
const SLICE_MS = 4; // §3.5: polling with a deadline, and without one
const SLICE_FIRST_MS = 1;
const SLICE_LAST_MS = 8;

/** @param {ArrayBufferLike} buffer */
export function isShared(buffer) {
  return typeof SharedArrayBuffer === "function" && buffer instanceof SharedArrayBuffer;
}

/* What openRing() takes for a buffer, as a function, since memory.grow() replaces
 * `memory.buffer`; null where the buffer stays. */
export function bufferSource(buffer) {
  if (typeof buffer === "function") return buffer;
  if (buffer instanceof WebAssembly.Memory) return () => buffer.buffer;
  if (buffer instanceof ArrayBuffer || isShared(buffer)) return null;
  throw new TypeError("a ring needs an ArrayBuffer, SharedArrayBuffer or WebAssembly.Memory");
}

// Atomics.wait() throws on a browser's main thread; asked once, with nothing to wait for.
const mayBlock = (() => {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
})();

/** One end of one ring. Made by openRing(), or by ringAt() for a known place. */
export class Ring {
  #source; // null: the buffer stays
  #buffer;
  #words; // Int32Array over the ring header
  #data; // Uint8Array over the data region
  #lengths; // the same as Uint32Array
  #offset;
  #capacity; // the validated copy: never read again (§2.5)
  #mask; // capacity - 1, or -1 when that is no mask
  #headSeen = 0; // by the last push that found the ring full
  #nextHead = 0; // after peek()
  #nextTail = 0; // after reserve()
  #recordOffset = 0;
  #start = 0; // of the record place() found
  #next = 0;
  /** @type {{ at: number, next: number } | null} */
  #owed = null; // a commit that a stalled earlier producer keeps us from
  #stats = { pushed: 0, full: 0, tooLarge: 0, popped: 0, oversize: 0, corrupt: 0 };

  /** Validated arguments only: use openRing(). */
  constructor(buffer, headerOffset, capacity) {
    this.#source = bufferSource(buffer);
    this.#offset = headerOffset;
    this.#capacity = capacity;
    this.#mask = (capacity & (capacity - 1)) === 0 ? capacity - 1 : -1;
    this.#map(this.#source === null ? buffer : this.#source());
  }

  #map(buffer) {
    const start = this.#offset + HEADER_BYTES;
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer, this.#offset, 4);
    this.#data = new Uint8Array(buffer, start, this.#capacity);
    this.#lengths = new Uint32Array(buffer, start, this.#capacity / 4);
  }

  // memory.grow() detaches every older view of an unshared memory.
  #refresh() {
    if (this.#source === null) return;
    const buffer = this.#source();
    if (buffer !== this.#buffer) this.#map(buffer);
  }

  #load(word) {
    return Atomics.load(/** @type {Int32Array} */ (this.#words), word) >>> 0;
  }

  #store(word, value) {
    Atomics.store(this.#words, word, value | 0);
    Atomics.notify(this.#words, word); // all: one wake-up could go to the wrong one (§3.5)
  }

  #index(cursor) {
    return this.#mask >= 0 ? (cursor & this.#mask) >>> 0 : cursor % this.#capacity;
  }

  // R(len) of §3.2; numbers do not overflow here.
  static #recordBytes(length) {
    return 4 * Math.ceil((length + 4) / 4);
  }

  // §3.6: cursors within the ring and 4-aligned. Returns the bytes in use, or -1.
  #used(head, tail) {
    const used = (tail - head) >>> 0;
    return used <= this.#capacity && ((head | tail) & 3) === 0 ? used : -1;
  }

  // Looks for `need` bytes behind `tail`. False: no room. What fits ends inside the region, also
  // where a cursor wraps at 2^32 in a ring that is no power of two: see place_find() in ring.c.
  #place(tail, used, need) {
    const rem = this.#capacity - this.#index(tail);
    const pad = rem < need ? rem : 0;
    const start = (tail + pad) >>> 0;

    if (pad + need > this.#capacity - used) return false;
    this.#start = start;
    this.#next = (start + need) >>> 0;
    return true;
  }

  // Marker and length at the place found; returns where the payload goes.
  #fill(tail, length) {
    if (tail !== this.#start) this.#lengths[this.#index(tail) >>> 2] = WRAP_MARKER;
    const at = this.#index(this.#start);
    this.#lengths[at >>> 2] = length;
    return at + 4;
  }

  // Waits, within bounds, until everything before `at` is committed.
  #commitTurn(at) {
    const sleeps = mayBlock && isShared(this.#buffer);
    const spins = sleeps ? COMMIT_SPINS : COMMIT_SPINS_ONLY;
    for (let i = 0; i < spins; i++) if (this.#load(COMMIT) === at) return true;
    for (let i = 0; sleeps && i < COMMIT_SLEEPS; i++) {
      const seen = this.#load(COMMIT);
      if (seen === at) return true;
      Atomics.wait(this.#words, COMMIT, seen | 0, 1);
    }
    return this.#load(COMMIT) === at;
  }

  /**
   * A push that met a stalled producer leaves its record in place and owes the commit; the next
   * push pays it, or this does. A producer calls it, and waitSpace(), after its last record.
   * @returns {boolean} false: the producer before us still stalls
   */
  settle() {
    this.#refresh();
    if (this.#owed === null) return true;
    const ahead = (this.#load(COMMIT) - this.#owed.at) >>> 0;
    if (ahead > this.#capacity) return false;
    if (ahead === 0) this.#store(COMMIT, this.#owed.next);
    else this.#stats.corrupt++; // somebody committed over our head
    this.#owed = null;
    return true;
  }

  #full(head) {
    this.#headSeen = head;
    this.#stats.full++;
    return RingStatus.FULL;
  }

  // §3.3. Returns 0 or a RingStatus.
  #push(bytes, prefixBytes, prefix) {
    const length = bytes.byteLength + prefixBytes;
    const need = Ring.#recordBytes(length);

    this.#refresh();
    if (need > this.#capacity) {
      this.#stats.tooLarge++;
      return RingStatus.TOO_LARGE;
    }
    if (!this.settle()) return this.#full(this.#load(HEAD));
    for (let tries = 0; tries < PUSH_TRIES; tries++) {
      const head = this.#load(HEAD);
      const tail = this.#load(RESERVE);
      const used = this.#used(head, tail);
      if (used < 0) continue; // raced with the consumer between the two loads, or corrupt
      if (!this.#place(tail, used, need)) return this.#full(head);
      const next = this.#next;
      if (Atomics.compareExchange(this.#words, RESERVE, tail | 0, next | 0) !== (tail | 0))
        continue;
      let at = this.#fill(tail, length);
      for (let i = 0; i < prefixBytes; i++) this.#data[at++] = prefix >> (8 * i);
      this.#data.set(bytes, at);
      if (this.#commitTurn(tail)) this.#store(COMMIT, next);
      else this.#owed = { at: tail, next };
      this.#stats.pushed++;
      return 0;
    }
    this.#stats.corrupt++;
    return this.#full(this.#load(HEAD));
  }

  get capacity() {
    return this.#capacity;
  }

  /** Counters of this view: pushed, full, tooLarge; popped, oversize; corrupt. */
  get stats() {
    return { ...this.#stats };
  }

  /** Whether a record of `length` bytes can ever be pushed. */
  fits(length) {
    return Ring.#recordBytes(length) <= this.#capacity;
  }

  /**
   * Copies a record in; several producers may do so at a time.
   * @param {Uint8Array} bytes
   * @returns {boolean} false: full, try again after the consumer moved
   * @throws {RangeError} it can never fit
   */
  push(bytes) {
    const status = this.#push(bytes, 0, 0);
    if (status === RingStatus.TOO_LARGE)
      throw new RangeError(`record of ${bytes.byteLength} bytes never fits the ring`);
    return status === 0;
  }

  /** The same, false for a record that can never fit too; the record may begin with a number of
   *  prefixBytes, little-endian. */
  tryPush(bytes, prefixBytes = 0, prefix = 0) {
    return this.#push(bytes, prefixBytes, prefix) === 0;
  }

  /**
   * The place for exactly `length` bytes, for a *single* producer (§3.3): an offset into `data`,
   * or a negative RingStatus. Nothing is visible before commit(); never committing leaves no trace.
   */
  reserve(length) {
    const need = Ring.#recordBytes(length);

    this.#refresh();
    if (need > this.#capacity) {
      this.#stats.tooLarge++;
      return RingStatus.TOO_LARGE;
    }
    const head = this.#load(HEAD);
    const tail = this.#load(COMMIT);
    const used = this.#used(head, tail);
    if (used < 0) this.#stats.corrupt++;
    if (used < 0 || !this.#place(tail, used, need)) return this.#full(head);
    this.#nextTail = this.#next;
    return this.#fill(tail, length);
  }

  /** Publishes what reserve() gave. */
  commit() {
    Atomics.store(this.#words, RESERVE, this.#nextTail | 0);
    this.#store(COMMIT, this.#nextTail);
    this.#stats.pushed++;
  }

  /** The data region. Good until the buffer grows: take it anew for each use. */
  get data() {
    this.#refresh();
    return this.#data;
  }

  // §3.6: the whole backlog goes, so that the next record finds sane cursors.
  #dropBacklog(tail) {
    this.#stats.corrupt++;
    this.#store(HEAD, tail);
    return RingStatus.CORRUPT;
  }

  // The record at `head`, skipping markers. `tail` was read once, so the loop ends (§3.4).
  #look(head, tail, maxBytes) {
    let cursor = head;
    while (cursor !== tail) {
      const used = this.#used(cursor, tail);
      if (used < 0) return this.#dropBacklog(tail);
      const at = this.#index(cursor);
      const rem = this.#capacity - at; // >= 4: both are multiples of 4
      const length = this.#lengths[at >>> 2];
      if (length === WRAP_MARKER) {
        if (used < rem) return this.#dropBacklog(tail);
        cursor = (cursor + rem) >>> 0;
        this.#nextHead = cursor;
        continue;
      }
      const need = Ring.#recordBytes(length);
      if (need > rem || need > used) return this.#dropBacklog(tail);
      this.#nextHead = (cursor + need) >>> 0;
      if (length > maxBytes) {
        this.#stats.oversize++;
        return RingStatus.TOO_LARGE;
      }
      this.#recordOffset = at + 4;
      return length;
    }
    return RingStatus.EMPTY;
  }

  /**
   * Looks at the oldest record without copying it: its length, at `recordOffset` of `data` until
   * release(); or EMPTY, TOO_LARGE (over maxBytes: dropped), CORRUPT (backlog dropped).
   */
  peek(maxBytes) {
    this.#refresh();
    const tail = this.#load(COMMIT);
    const head = this.#load(HEAD);
    this.#nextHead = head;
    const length = this.#look(head, tail, maxBytes);
    // A marker passed over, or a record dropped: what follows starts behind it.
    if (length < 0 && length !== RingStatus.CORRUPT && this.#nextHead !== head)
      this.#store(HEAD, this.#nextHead);
    return length;
  }

  get recordOffset() {
    return this.#recordOffset;
  }

  /** Frees the record of the last peek(). */
  release() {
    this.#stats.popped++;
    this.#store(HEAD, this.#nextHead);
  }

  /**
   * Copies the oldest record into `target`.
   * @returns {number} its length, or EMPTY, TOO_LARGE (dropped), CORRUPT (backlog dropped)
   */
  popInto(target, maxBytes = target.byteLength) {
    const length = this.peek(maxBytes);
    if (length < 0) return length;
    const at = this.#recordOffset;
    target.set(this.#data.subarray(at, at + length));
    this.release();
    return length;
  }

  /**
   * The oldest record as a copy, or undefined when there is none. Records over maxBytes are
   * dropped and counted, at most 64 in one call (§4.1); corruption drops the backlog (§3.6).
   */
  pop(maxBytes) {
    for (let tries = 0; tries < POPS_MAX; tries++) {
      const length = this.peek(maxBytes);
      if (length === RingStatus.TOO_LARGE) continue;
      if (length < 0) return undefined;
      // slice() of a view on shared memory is a view on memory of its own.
      const record = this.#data.slice(this.#recordOffset, this.#recordOffset + length);
      this.release();
      return record;
    }
    return undefined;
  }

  /**
   * Hands up to `limit` records to `take`, in place, and frees them together: cheaper than one
   * pop() each. `take` gets (data, offset, length) and must not keep `data`; when it returns false
   * that record stays and the walk ends. Oversized records are dropped and count as one.
   * @param {number} limit
   * @param {number} maxBytes
   * @param {(data: Uint8Array, offset: number, length: number) => boolean | void} take
   * @returns {number} records freed
   */
  consume(limit, maxBytes, take) {
    this.#refresh();
    const tail = this.#load(COMMIT);
    const first = this.#load(HEAD);
    let head = first;
    let freed = 0;

    try {
      while (freed < limit) {
        this.#nextHead = head;
        const length = this.#look(head, tail, maxBytes);
        if (length === RingStatus.CORRUPT) {
          head = first; // stored already
          return freed;
        }
        if (length === RingStatus.EMPTY) {
          head = this.#nextHead;
          break;
        }
        const next = this.#nextHead;
        if (length !== RingStatus.TOO_LARGE) {
          if (take(this.#data, this.#recordOffset, length) === false) break;
          this.#stats.popped++;
        }
        head = next;
        freed++;
      }
    } finally {
      if (head !== first) this.#store(HEAD, head); // also when take() throws
    }
    return freed;
  }

  /** Whether the consumer would find something. */
  get hasData() {
    this.#refresh();
    return this.#load(COMMIT) !== this.#load(HEAD);
  }

  /** Whether head moved since the last push that found the ring full. */
  get hasSpace() {
    this.#refresh();
    return this.#load(HEAD) !== this.#headSeen;
  }

  /** Drops everything readable. */
  drain() {
    this.#refresh();
    this.#store(HEAD, this.#load(COMMIT));
  }

  /**
   * Blocks until there is something to read, at most `ms`. Returns whether there is; may be early.
   * Only on shared memory and where a thread may block, never on a browser's main thread.
   */
  waitData(ms) {
    this.#refresh();
    return this.hasData || this.#block(COMMIT, this.#load(HEAD), ms, () => this.hasData);
  }

  /** The same for a producer that found the ring full. */
  waitSpace(ms) {
    if (this.#owed !== null) {
      const tail = this.#load(COMMIT); // what keeps us is a producer, not the consumer
      return this.settle() || this.#block(COMMIT, tail, ms, () => this.settle());
    }
    this.#refresh();
    return this.hasSpace || this.#block(HEAD, this.#headSeen, ms, () => this.hasSpace);
  }

  // Sleeps while `word` has the value that made the caller wait: no wake-up can slip between.
  #block(word, value, ms, ready) {
    Atomics.wait(this.#words, word, value | 0, ms);
    return ready();
  }

  /** Resolves when there is something to read, or after `ms`; to whether there is. */
  waitDataAsync(ms = Infinity) {
    this.#refresh();
    return this.#waitAsync(
      COMMIT,
      () => this.#load(HEAD),
      ms,
      () => this.hasData,
    );
  }

  /** The same for a producer that found the ring full. */
  waitSpaceAsync(ms = Infinity) {
    this.#refresh();
    if (this.#owed !== null) {
      return this.#waitAsync(
        COMMIT,
        () => this.#load(COMMIT),
        ms,
        () => this.settle(),
      );
    }
    return this.#waitAsync(
      HEAD,
      () => this.#headSeen,
      ms,
      () => this.hasSpace,
    );
  }

  async #waitAsync(word, value, ms, ready) {
    if (ready()) return true;
    if (isShared(this.#buffer) && typeof Atomics.waitAsync === "function") {
      const wait = Atomics.waitAsync(this.#words, word, value() | 0, ms);
      if (wait.async) await wait.value;
      return ready();
    }
    const end = performance.now() + ms;
    let slice = ms === Infinity ? SLICE_FIRST_MS : SLICE_MS;
    while (!ready()) {
      const left = end - performance.now();
      if (left <= 0) return false;
      await new Promise((resolve) => setTimeout(resolve, Math.min(slice, left)));
      if (ms === Infinity) slice = Math.min(2 * slice, SLICE_LAST_MS);
    }
    return true;
  }
}
