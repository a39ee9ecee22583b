// The tunnel's state machine in C, as a class: bytes and a clock reading in, bytes and events out.

import { SUBPROTOCOL } from "./url.js";
import { Instance, loadModule } from "./wasm.js";

/**
 * @typedef {object} ClientOptions  spec/l2-tunnel.md §9.1
 * @property {number} [maxQueuedBytes]
 * @property {number} [maxFrameSize]
 * @property {number} [maxControlSize]
 * @property {number} [errorIntervalMs]
 * @property {number} [keepaliveMinMs]
 * @property {number} [keepaliveMaxMs]
 * @property {boolean} [extensions]  false: speak the base protocol only
 */
/** @typedef {Required<ClientOptions> & { superFrames?: boolean }} Settled */

/** @type {Required<ClientOptions>} */
export const CLIENT_DEFAULTS = Object.freeze({
  maxQueuedBytes: 8 << 20,
  maxFrameSize: 2048,
  maxControlSize: 256,
  errorIntervalMs: 1000,
  keepaliveMinMs: 5000,
  keepaliveMaxMs: 15000,
  extensions: true,
});

/** Throws a RangeError. @param {ClientOptions} options @returns {Required<ClientOptions>} */
export function clientOptions(options) {
  const { extensions = true } = options;
  /** @type {any} */
  const all = { extensions };
  for (const [name, fallback] of Object.entries(CLIENT_DEFAULTS)) {
    if (name === "extensions") continue;
    const value = /** @type {any} */ (options)[name] ?? fallback;
    if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff)
      throw new RangeError(`${name} must be a whole number from 0 up, not ${value}`);
    all[name] = value;
  }
  if (all.keepaliveMinMs > all.keepaliveMaxMs)
    throw new RangeError("keepaliveMinMs must not exceed keepaliveMaxMs");
  return all;
}

/**
 * @typedef {object} ClientEvents
 * @property {(frame: Uint8Array, gsoBytes: number) => void} frame  a view, good during the call;
 *   gsoBytes above 0: a super-frame of segments of so many bytes
 * @property {(rttMs: number | undefined) => void} pong
 * @property {(error: Error) => void} error
 * @property {(code: number) => void} close  the transport must be closed; 0: no code
 */

const NO_RTT = 0xffffffff;

/** Owns one client in an instance of its own. reset() makes it a new client. */
export class TunnelClient {
  /** @type {any} */ #exports;
  #instance;
  #options;
  #at = 0;
  #roomBytes = 0;
  #area = 0;
  #areaBytes;
  #heap = new Uint8Array(0);
  #random;
  /** @type {Record<string, number>} of the clients before this one */ #past = {};

  /** Use TunnelClient.create().
   *  @param {Instance} instance @param {Settled} options
   *  @param {() => number} random */
  constructor(instance, options, random) {
    const { exports, constants } = instance;
    this.#instance = instance;
    this.#exports = exports;
    this.#options = options;
    this.#random = random;
    this.#areaBytes = constants.ABI_MESSAGE_BYTES + 1;
    this.reset();
  }

  /**
   * @param {Settled} options
   * @param {import("./wasm.js").WasmOptions} [wasm]
   * @param {() => number} [random]
   */
  static async create(options, wasm, random = Math.random) {
    const module = await loadModule("tunnel", wasm);
    const maxBytes = 2 * options.maxQueuedBytes + (64 << 20);
    return new TunnelClient(await Instance.create(module, {}, { maxBytes }), options, random);
  }

  #arguments() {
    const o = this.#options;
    const c = this.#instance.constants;
    const seed = Math.floor(this.#random() * 2 ** 32) | 0;
    return [
      o.maxQueuedBytes,
      o.maxFrameSize,
      o.maxControlSize,
      o.keepaliveMinMs,
      o.keepaliveMaxMs,
      o.errorIntervalMs,
      seed,
      (o.extensions ? c.ABI_TUNNEL_EXTENDED : 0) | (o.superFrames ? c.ABI_TUNNEL_SUPER : 0),
    ];
  }

  /**
   * A fresh client: one is never used for a second connection (§9.3).
   * @param {{ maxFrameSize?: number, maxControlSize?: number }} [limits]  other ones from now on
   */
  reset({ maxFrameSize, maxControlSize } = {}) {
    if (this.#at !== 0) this.#past = this.stats();
    const now = this.#options;
    // A gateway's limit of the base protocol: a peer that takes more says so in its HELLO.
    if (now.superFrames && Number(maxFrameSize) >= CLIENT_DEFAULTS.maxFrameSize) maxFrameSize = 0;
    this.#options = {
      ...now,
      maxFrameSize: maxFrameSize || now.maxFrameSize,
      maxControlSize: maxControlSize ?? now.maxControlSize,
    };
    const given = this.#arguments();
    const bytes = this.#exports.tunnel_bytes(...given);
    if (bytes === 0) throw new RangeError("the tunnel client refuses its size limits");
    if (bytes > this.#roomBytes) {
      this.#at = this.#instance.alloc(bytes);
      this.#roomBytes = bytes;
      this.#area = this.#exports.tunnel_area(this.#at);
      this.#heap = new Uint8Array(this.#instance.memory.buffer); // until the next alloc()
    }
    if (this.#exports.tunnel_init(this.#at, ...given) !== 0)
      throw new RangeError("the tunnel client refuses its options");
  }

  /** @param {number} nowMs */
  connecting(nowMs) {
    this.#exports.tunnel_connecting(this.#at, nowMs);
  }

  /** @param {string} protocol  the one the server selected @param {number} nowMs */
  opened(protocol, nowMs) {
    this.#exports.tunnel_opened(this.#at, Number(protocol === SUBPROTOCOL), nowMs);
  }

  closed() {
    this.#exports.tunnel_closed(this.#at);
  }

  /**
   * Queues a frame; it is copied. A super-frame (gsoBytes above 0) goes as it is to a peer that takes
   * it, cut to any other.
   * @param {Uint8Array} data @param {number} [offset] @param {number} [length]
   * @param {number} [gsoBytes]
   * @returns {boolean}  false: refused, look at the events
   */
  sendFrame(data, offset = 0, length = data.length - offset, gsoBytes = 0) {
    const x = this.#exports;
    const at =
      gsoBytes > 0
        ? x.tunnel_super_begin(this.#at, length, gsoBytes)
        : x.tunnel_send_begin(this.#at, length);
    if (at === 0) return false;
    this.#heap.set(data.subarray(offset, offset + length), at);
    if (gsoBytes > 0) return x.tunnel_super_end(this.#at) > 0;
    x.tunnel_send_end(this.#at);
    return true;
  }

  get queuedBytes() {
    return this.#exports.tunnel_queued_bytes(this.#at);
  }

  /** The next message to send, or null: a view, good until outboundDone(). */
  outbound() {
    const at = this.#exports.tunnel_outbound(this.#at);
    if (at === 0) return null;
    return this.#heap.subarray(at, at + this.#exports.tunnel_outbound_bytes(this.#at));
  }

  outboundDone() {
    this.#exports.tunnel_outbound_done(this.#at);
  }

  /** One received message; its events are to be taken before the next.
   *  @param {Uint8Array} message @param {number} nowMs */
  feed(message, nowMs) {
    // One byte over the limit says as much as the whole of a longer message.
    const bytes = Math.min(message.length, this.#areaBytes);
    this.#heap.set(bytes < message.length ? message.subarray(0, bytes) : message, this.#area);
    this.#exports.tunnel_feed(this.#at, bytes, nowMs);
  }

  /** @param {number} nowMs @returns {number}  when the next tick is wanted, or Infinity */
  tick(nowMs) {
    return this.#exports.tunnel_tick(this.#at, nowMs);
  }

  /** Hands over the events that wait, CLOSE last. @param {ClientEvents} events */
  takeEvents(events) {
    const c = this.#instance.constants;
    for (;;) {
      const at = this.#exports.tunnel_event(this.#at);
      const [type, frame, frameBytes, rttMs, reason, code, detail, closeCode, gsoBytes] =
        this.#instance.words(at, 9);
      if (type === c.L2T_EVENT_NONE) return;
      if (type === c.L2T_EVENT_FRAME)
        events.frame(this.#heap.subarray(frame, frame + frameBytes), gsoBytes);
      else if (type === c.L2T_EVENT_PONG) events.pong(rttMs === NO_RTT ? undefined : rttMs);
      else if (type === c.L2T_EVENT_ERROR) events.error(this.#error(reason, code | 0, detail));
      else if (type === c.L2T_EVENT_CLOSE) events.close(closeCode);
    }
  }

  /** Never the peer's own words (§5). @param {number} reason @param {number} code
   *  @param {number} detail */
  #error(reason, code, detail) {
    const c = this.#instance.constants;
    if (reason === c.L2T_REASON_PEER_ERROR && code < 0)
      return new Error(`l2 tunnel error (unstructured payload, ${detail} bytes)`);
    if (reason === c.L2T_REASON_PEER_ERROR) {
      const text = this.#exports.tunnel_code_text(code);
      return new Error(
        `l2 tunnel error (${code})${text === 0 ? "" : `: ${this.#instance.text(text)}`}`,
      );
    }
    const wording = {
      [c.L2T_REASON_UNDECODABLE]: "the proxy sent a message that cannot be decoded",
      [c.L2T_REASON_FRAME_TOO_LARGE]: "a frame is too large for the tunnel",
      [c.L2T_REASON_QUEUE_OVERFLOW]: "the tunnel's send queue overflowed",
      [c.L2T_REASON_DEAD_PEER]: "the proxy does not answer any more",
      [c.L2T_REASON_SUBPROTOCOL]: `the server did not select ${SUBPROTOCOL}`,
    }[reason];
    return new Error(wording ?? `tunnel error ${reason}`);
  }

  /** Counters of all clients so far. @returns {Record<string, number>} */
  stats() {
    const now = this.#instance.stats(
      (index) => this.#exports.tunnel_stat_name(index),
      () => this.#exports.tunnel_stats(this.#at),
    );
    for (const name of Object.keys(now)) now[name] += this.#past[name] ?? 0;
    return now;
  }
}
