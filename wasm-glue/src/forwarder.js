// Frames between the rings and a tunnel: spec/l2-tunnel.md §9.5.

/** What a tick ended with. @typedef {"empty" | "more" | "busy"} Outcome */
/**
 * @typedef {object} FrameSink  the tunnel while it is open
 * @property {boolean} congested  stop draining for a while
 * @property {(data: Uint8Array, offset: number, length: number, gsoBytes: number) => boolean}
 *   sendFrame
 */
/**
 * @typedef {object} ForwarderOptions
 * @property {number} [maxFramesPerTick]
 * @property {number} [maxPendingRxBytes]  0: drop at once when NET_RX is full
 * @property {number} [maxFrameSize]
 */
/**
 * @typedef {ForwarderOptions & { superFrames?: boolean, extensions?: boolean,
 *   isPaused?: () => boolean }} RingOptions  as Rings.superFrames, ClientOptions.extensions
 */

const PENDING_BYTES = 8 << 20;
const FRAMES_PER_TICK = 128;
const FRAME_BYTES = 2048; // net-rings.md §4: what a ring carries
const SUPER_BYTES = 65550; // l2-extensions.md §4: and one for super-frames
const PREFIX_BYTES = 2; // whose records begin with the gso_size, little-endian

/** Owns the queue of frames NET_RX has no room for; the rings and the tunnel are borrowed. */
export class Forwarder {
  #tx;
  #rx;
  #maxFrames;
  #maxPendingBytes;
  #maxFrameBytes; // of an ordinary frame
  #maxRecordBytes;
  #prefixBytes;
  #misfits = 0; // ordinary frames above the limit among super-frames, and no frames at all
  /** @type {FrameSink | null} */ #tunnel = null;
  #running = true;
  #isPaused; // by another thread, which cannot call stop() at once
  /** @type {[frame: Uint8Array, gsoBytes: number][]} */ #pending = [];
  #pendingFirst = 0;
  #pendingBytes = 0;
  #counters = {
    txFrames: 0,
    txBytes: 0,
    txRingEmpty: 0,
    txDroppedNoTunnel: 0,
    txDroppedSendError: 0,
    rxFrames: 0,
    rxBytes: 0,
    rxRingFull: 0,
    rxDroppedNetRxFull: 0,
    rxDroppedPendingOverflow: 0,
    rxDroppedRingTooSmall: 0,
    rxDroppedWhileStopped: 0,
  };

  /**
   * @param {import("./ring-core.js").Ring} tx  NET_TX, of which this is the only consumer
   * @param {import("./ring-core.js").Ring} rx  NET_RX
   * @param {RingOptions} [options]
   */
  constructor(tx, rx, options = {}) {
    this.#tx = tx;
    this.#rx = rx;
    this.#maxFrames = options.maxFramesPerTick ?? FRAMES_PER_TICK;
    this.#maxPendingBytes = options.maxPendingRxBytes ?? PENDING_BYTES;
    const { superFrames, extensions = true, isPaused = () => false } = options;
    this.#isPaused = isPaused;
    this.#maxFrameBytes =
      options.maxFrameSize ?? (superFrames && extensions ? SUPER_BYTES : FRAME_BYTES);
    this.#prefixBytes = superFrames ? PREFIX_BYTES : 0;
    // What the tunnel may not carry whole it cuts.
    this.#maxRecordBytes = superFrames ? PREFIX_BYTES + SUPER_BYTES : this.#maxFrameBytes;
  }

  /** @param {FrameSink | null} tunnel  null: frames of the guest are dropped and counted */
  setTunnel(tunnel) {
    this.#tunnel = tunnel;
  }

  start() {
    this.#running = true;
  }

  /** For a snapshot of the machine. NET_RX is its consumer's to empty. */
  stop() {
    this.#running = false;
    this.#clearPending();
    this.#tx.drain();
  }

  get #isStopped() {
    return !this.#running || this.#isPaused();
  }

  get hasPending() {
    return this.#pendingFirst < this.#pending.length;
  }

  /** Frames written to NET_RX so far. */
  get rxFrames() {
    return this.#counters.rxFrames;
  }

  /** Pending frames in, then waiting frames out. @returns {Outcome} */
  tick() {
    if (!this.#isStopped) this.#pushPending();
    return this.#drain();
  }

  /** A frame from the tunnel, in its order. It is copied.
   *  @param {Uint8Array} frame @param {number} [gsoBytes] */
  receive(frame, gsoBytes = 0) {
    const counters = this.#counters;
    if (this.#isStopped) counters.rxDroppedWhileStopped++;
    else if (!this.#rx.fits(frame.length + this.#prefixBytes)) counters.rxDroppedRingTooSmall++;
    else if (this.hasPending || !this.#push(frame, gsoBytes)) this.#keep(frame, gsoBytes);
  }

  /** @param {Uint8Array} frame @param {number} gsoBytes */
  #push(frame, gsoBytes) {
    const counters = this.#counters;
    if (!this.#rx.tryPush(frame, this.#prefixBytes, gsoBytes)) {
      counters.rxRingFull++;
      return false;
    }
    counters.rxFrames++;
    counters.rxBytes += frame.length;
    return true;
  }

  /** @param {Uint8Array} frame @param {number} gsoBytes */
  #keep(frame, gsoBytes) {
    if (this.#maxPendingBytes === 0) this.#counters.rxDroppedNetRxFull++;
    else if (frame.length > this.#maxPendingBytes - this.#pendingBytes)
      this.#counters.rxDroppedPendingOverflow++;
    else {
      this.#pending.push([frame.slice(), gsoBytes]);
      this.#pendingBytes += frame.length;
    }
  }

  #pushPending() {
    while (this.hasPending) {
      const [frame, gsoBytes] = this.#pending[this.#pendingFirst];
      if (!this.#push(frame, gsoBytes)) return;
      this.#pendingBytes -= frame.length;
      this.#pendingFirst++;
    }
    this.#clearPending();
  }

  #clearPending() {
    this.#pending = [];
    this.#pendingFirst = 0;
    this.#pendingBytes = 0;
  }

  /** @returns {Outcome} */
  #drain() {
    const counters = this.#counters;
    const tunnel = this.#tunnel;
    if (!this.#running) {
      this.#tx.drain();
      return "empty";
    }
    let refused = false;
    const prefixBytes = this.#prefixBytes;
    const take = (
      /** @type {Uint8Array} */ data,
      /** @type {number} */ start,
      /** @type {number} */ bytes,
    ) => {
      const offset = start + prefixBytes;
      const length = bytes - prefixBytes;
      // The refused frame is gone as well: it was counted, and what follows waits (§9.5).
      if (refused || tunnel?.congested) return false;
      const gsoBytes = prefixBytes > 0 && length >= 0 ? data[start] | (data[start + 1] << 8) : 0;
      if (length < 0 || (gsoBytes === 0 && length > this.#maxFrameBytes)) this.#misfits++;
      else if (!tunnel) counters.txDroppedNoTunnel++;
      else if (tunnel.sendFrame(data, offset, length, gsoBytes)) {
        counters.txFrames++;
        counters.txBytes += length;
      } else {
        counters.txDroppedSendError++;
        refused = true;
      }
      return true;
    };
    const freed = this.#tx.consume(this.#maxFrames, this.#maxRecordBytes, take);
    if (refused || tunnel?.congested) return "busy";
    if (freed === this.#maxFrames || this.#tx.hasData) return "more";
    counters.txRingEmpty++;
    return "empty";
  }

  /** The counters of §9.5. */
  stats() {
    return {
      ...this.#counters,
      txDroppedTunnelBackpressure: this.#counters.txDroppedSendError,
      txDroppedOversize: this.#tx.stats.oversize + this.#misfits,
      rxPendingFrames: this.#pending.length - this.#pendingFirst,
      rxPendingBytes: this.#pendingBytes,
    };
  }
}
