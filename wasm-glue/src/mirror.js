// A card in the memory of an emulator has its rings there, too; but a tunnel's worker reaches only
// shared memory. So the tunnel's end of NET_TX and NET_RX stays where it was, and the card's end is
// a ring of the same capacity that is kept in step with it, byte by byte: what one side committed
// is copied in one or two pieces, whatever the number of frames.
//
// Layout and order: spec/net-rings.md §3. Each ring has one producer and one consumer here.

const HEAD = 0;
const RESERVE = 1;
const COMMIT = 2;
const HEADER_WORDS = 4;
const HEADER_BYTES = 16;
const TWO_32 = 2 ** 32;

/** @typedef {{ memory: WebAssembly.Memory, at: number }} Place  of a ring's header */

/** One ring in one memory, whose buffer may be replaced when the memory grows. */
class Side {
  /** @type {ArrayBufferLike | null} */ #buffer = null;
  /** @type {any} */ #words; // Int32Array
  /** @type {any} */ #data; // Uint8Array
  #place;
  #capacity;

  /** @param {Place} place @param {number} capacity */
  constructor(place, capacity) {
    this.#place = place;
    this.#capacity = capacity;
  }

  get words() {
    const { memory, at } = this.#place;
    if (this.#buffer !== memory.buffer) {
      this.#buffer = memory.buffer;
      this.#words = new Int32Array(memory.buffer, at, HEADER_WORDS);
      this.#data = new Uint8Array(memory.buffer, at + HEADER_BYTES, this.#capacity);
    }
    return this.#words;
  }

  get data() {
    return this.words && this.#data;
  }
}

/** @param {Side} side @param {number} word */
function load(side, word) {
  return Atomics.load(/** @type {Int32Array} */ (side.words), word) >>> 0;
}

/** Stores and wakes who waits for it. @param {Side} side @param {number} word @param {number} to */
function publish({ words }, word, to) {
  Atomics.store(words, word, to | 0);
  Atomics.notify(words, word);
}

/** One ring of which there are two copies. */
class MirroredRing {
  #from; // the producer's side
  #to; // the consumer's
  #capacity;

  /**
   * @param {Side} from  where frames are put in
   * @param {Side} to  where they are taken out
   * @param {number} capacity
   */
  constructor(from, to, capacity) {
    this.#from = from;
    this.#to = to;
    this.#capacity = capacity;
  }

  /** Shows the consumer what the producer has committed. */
  forward() {
    const end = load(this.#from, COMMIT);
    let cursor = load(this.#to, COMMIT);
    // More than a ring holds: one of the two was overwritten. The consumer's checks see to it.
    if (cursor === end || (end - cursor) >>> 0 > this.#capacity) return;
    const source = this.#from.data;
    const target = this.#to.data;
    while (cursor !== end) {
      const index = cursor % this.#capacity;
      const until = end > cursor ? end : TWO_32;
      const bytes = Math.min(this.#capacity - index, until - cursor);
      target.set(source.subarray(index, index + bytes), index);
      cursor = (cursor + bytes) >>> 0;
    }
    publish(this.#to, RESERVE, end);
    publish(this.#to, COMMIT, end);
  }

  /** Gives the producer the room that the consumer has freed. @returns {boolean}  there was any */
  back() {
    const head = load(this.#to, HEAD);
    const freed = head !== load(this.#from, HEAD);
    if (freed) publish(this.#from, HEAD, head);
    return freed;
  }
}

/**
 * Gives a new, empty ring the cursors of the one it will be in step with.
 * @param {WebAssembly.Memory} memory @param {number} at
 * @param {WebAssembly.Memory} like @param {number} likeAt
 * @param {number} tail  whose value its tail takes: COMMIT, or HEAD: a forward() brings the rest
 */
function align(memory, at, like, likeAt, tail) {
  const source = new Int32Array(like.buffer, likeAt, HEADER_WORDS);
  const target = new Int32Array(memory.buffer, at, HEADER_WORDS);
  target[HEAD] = source[HEAD];
  target[RESERVE] = target[COMMIT] = source[tail];
}

/**
 * @param {WebAssembly.Memory} memory  of the card
 * @param {{ txAt: number, rxAt: number }} card  its rings, just built
 * @param {import("./card.js").Rings} rings  of the tunnel
 * @param {number} capacity
 */
export function mirrorRings(memory, card, rings, capacity) {
  align(memory, card.txAt, rings.memory, rings.txAt, COMMIT);
  align(memory, card.rxAt, rings.memory, rings.rxAt, HEAD);
  const side = (/** @type {WebAssembly.Memory} */ where, /** @type {number} */ at) =>
    new Side({ memory: where, at }, capacity);
  return {
    tx: new MirroredRing(side(memory, card.txAt), side(rings.memory, rings.txAt), capacity),
    rx: new MirroredRing(side(rings.memory, rings.rxAt), side(memory, card.rxAt), capacity),
  };
}
