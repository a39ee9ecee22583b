// A card in the memory of an emulator has its rings there, too; but a tunnel's worker reaches only
// shared memory. So the tunnel's end of NET_TX and NET_RX stays where it was, and the card's end is
// a ring of the same capacity that is kept in step with it, byte by byte: what one side committed
// is copied in one or two pieces, whatever the number of frames.
//
// Layout and order: spec/net-rings.md §3. Each ring has one producer and one consumer here; and an
// owner who may empty it at its far end (§5).

const HEAD = 0;
const RESERVE = 1;
const COMMIT = 2;
const CAPACITY = 3;
const HEADER_WORDS = 4;
const HEADER_BYTES = 16;
const TWO_32 = 2 ** 32;

/** @typedef {{ memory: { buffer: ArrayBufferLike }, at: number }} Place  of a ring's header */

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
  #head; // the producer's, as we left it

  /**
   * @param {Side} from  where frames are put in
   * @param {Side} to  where they are taken out
   * @param {number} capacity
   */
  constructor(from, to, capacity) {
    this.#from = from;
    this.#to = to;
    this.#capacity = capacity;
    this.#head = load(from, HEAD);
  }

  /**
   * Between two calls both heads are the same unless the owner has drained the producer's side: then
   * what was copied is void, and the consumer goes on where the producer does. Not while the
   * consumer is at a record.
   */
  follow() {
    const head = load(this.#from, HEAD);
    this.#head = head;
    if (head === load(this.#to, HEAD)) return;
    for (const word of [HEAD, RESERVE, COMMIT]) Atomics.store(this.#to.words, word, head | 0);
  }

  /** Shows the consumer what the producer has committed. */
  forward() {
    const end = load(this.#from, COMMIT);
    let cursor = load(this.#to, COMMIT);
    if (cursor === end) return;
    const source = this.#from.data;
    const target = this.#to.data;
    // More than a ring holds: somebody wrote what he should not. The consumer's checks see to it.
    const corrupt = (end - cursor) >>> 0 > this.#capacity;
    while (cursor !== end && !corrupt) {
      const index = cursor % this.#capacity;
      const until = end > cursor ? end : TWO_32;
      const bytes = Math.min(this.#capacity - index, until - cursor);
      target.set(source.subarray(index, index + bytes), index);
      cursor = (cursor + bytes) >>> 0;
    }
    Atomics.store(this.#to.words, RESERVE, end | 0); // nobody waits for it
    publish(this.#to, COMMIT, end);
  }

  /** Gives the producer the room that the consumer has freed. @returns {boolean}  there was any */
  back() {
    const head = load(this.#to, HEAD);
    const before = this.#head;
    if (head === before) return false;
    const { words } = this.#from;
    // Drained since: nothing is given back, or the drain would be undone. follow() sees to the rest.
    if (Atomics.compareExchange(words, HEAD, before | 0, head | 0) !== (before | 0)) return false;
    Atomics.notify(words, HEAD);
    this.#head = head;
    return true;
  }
}

/**
 * Gives a new, empty ring the cursors of the one it will be in step with.
 * @param {Place} near @param {Place} far
 * @param {number} tail  whose value its tail takes: COMMIT, or HEAD: a forward() brings the rest
 * @returns {[Side, Side, number]}  both, and their capacity
 */
function pair(near, far, tail) {
  const source = new Int32Array(far.memory.buffer, far.at, HEADER_WORDS);
  const target = new Int32Array(near.memory.buffer, near.at, HEADER_WORDS);
  const capacity = target[CAPACITY] >>> 0; // not the other: it may be anybody's
  target[HEAD] = Atomics.load(source, HEAD);
  target[RESERVE] = target[COMMIT] = Atomics.load(source, tail);
  return [new Side(near, capacity), new Side(far, capacity), capacity];
}

/**
 * @param {{ memory: WebAssembly.Memory, txAt: number, rxAt: number }} card  its rings, just built
 * @param {Place} txFar  NET_TX of the tunnel, of the same capacity
 * @param {Place} rxFar
 */
export function mirrorRings({ memory, txAt, rxAt }, txFar, rxFar) {
  const [txNear, txOther, txCapacity] = pair({ memory, at: txAt }, txFar, COMMIT);
  const [rxNear, rxOther, rxCapacity] = pair({ memory, at: rxAt }, rxFar, HEAD);
  const tx = new MirroredRing(txNear, txOther, txCapacity);
  const rx = new MirroredRing(rxOther, rxNear, rxCapacity);
  return {
    /** Before the card looks at its rings, never while it does: what the tunnel's end has brought. */
    fetch() {
      rx.follow();
      rx.forward();
      tx.back();
    },
    /** After it: what the card has done. */
    deliver() {
      tx.forward();
      rx.back();
    },
    /** @returns {boolean}  NET_TX has got more room */
    reclaim: () => tx.back(),
  };
}
