// One WebSocket and the tunnel client that speaks over it: spec/l2-tunnel.md §2, §9.1, §9.3.

import { publicUrl } from "./url.js";

const NORMAL = 1000;
const RETRY_MS = 10; // §9.1: while the transport is over its limit

/**
 * @typedef {object} Timers  injected, so that tests own the clock
 * @property {() => number} now  monotonic, milliseconds
 * @property {(fn: () => void, ms: number) => any} setTimeout
 * @property {(handle: any) => void} clearTimeout
 * @property {() => number} random
 */

/** @type {Timers} */
export const systemTimers = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (handle) => clearTimeout(handle),
  random: () => Math.random(),
};

/**
 * @typedef {object} SocketEvents
 * @property {() => void} open
 * @property {(frame: Uint8Array, gsoBytes: number) => void} frame  a view, good during the call
 * @property {() => void} frames  after the last frame of a message
 * @property {(rttMs: number | undefined) => void} pong
 * @property {(error: Error) => void} error
 * @property {(code: number | undefined) => void} close  once; the object is spent
 */

/** @param {unknown} data @returns {Uint8Array | null} */
function binary(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data))
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return null; // text: dropped silently (§6)
}

/** Owns its WebSocket from connect() until its close event; the client is borrowed. */
export class TunnelSocket {
  #endpoint;
  #client;
  #WebSocket;
  #timers;
  #maxBufferedAmount;
  #on;
  /** @type {WebSocket | null} */ #ws = null;
  #open = false;
  /** @type {any} */ #tickTimer = null;
  /** @type {any} */ #retryTimer = null;
  #failure = "";

  /**
   * @param {object} parts
   * @param {import("./url.js").Endpoint} parts.endpoint
   * @param {import("./tunnel.js").TunnelClient} parts.client  fresh
   * @param {typeof WebSocket} parts.WebSocket
   * @param {Timers} parts.timers
   * @param {number} parts.maxBufferedAmount
   * @param {SocketEvents} parts.on
   */
  constructor({ endpoint, client, WebSocket, timers, maxBufferedAmount, on }) {
    this.#endpoint = endpoint;
    this.#client = client;
    this.#WebSocket = WebSocket;
    this.#timers = timers;
    this.#maxBufferedAmount = maxBufferedAmount;
    this.#on = on;
  }

  /** Throws when the constructor does: a bad URL. */
  connect() {
    const { url, protocols } = this.#endpoint;
    // The third argument is for the ws package: compressed, messages would be read after send()
    // returned, and Ethernet frames gain nothing. Browsers ignore it.
    const options = { perMessageDeflate: false };
    this.#client.connecting(this.#timers.now());
    // @ts-expect-error the standard constructor has two parameters
    const ws = new this.#WebSocket(url, protocols, options);
    this.#ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onopen = () => this.#opened(ws.protocol);
    ws.onmessage = ({ data }) => this.#received(data);
    ws.onerror = (event) => {
      // Node says why, browsers never do.
      this.#failure = /** @type {any} */ (event).message ?? "";
    };
    ws.onclose = ({ code }) => this.#closed(code);
  }

  get bufferedAmount() {
    return this.#ws?.bufferedAmount ?? 0;
  }

  /** The transport takes no more for now. */
  get congested() {
    return this.bufferedAmount > this.#maxBufferedAmount;
  }

  /** Sends what the client has queued, as far as the transport takes it. */
  flush() {
    const ws = this.#ws;
    if (!this.#open || !ws) return;
    try {
      for (let message = this.#client.outbound(); message; message = this.#client.outbound()) {
        if (ws.bufferedAmount > this.#maxBufferedAmount) {
          this.#retryTimer ??= this.#timers.setTimeout(() => {
            this.#retryTimer = null;
            this.flush();
          }, RETRY_MS);
          return;
        }
        ws.send(/** @type {Uint8Array<ArrayBuffer>} */ (message));
        this.#client.outboundDone();
      }
    } catch (error) {
      this.#on.error(error instanceof Error ? error : new Error(String(error)));
      this.close();
    }
  }

  /** Events of the client that came outside a message, as after a refused frame. */
  takeEvents() {
    this.#client.takeEvents({ ...this.#on, close: (code) => this.close(code) });
  }

  /** Ends the connection now; the close event follows within the call. @param {number} [code] */
  close(code) {
    const ws = this.#ws;
    if (!ws) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.onerror = () => {}; // Node throws an error nobody listens to
    try {
      ws.close(code || NORMAL);
    } catch {
      ws.close(); // browsers let a page use 1000 and 3000 to 4999 only
    }
    this.#closed(code);
  }

  /** @param {string} protocol */
  #opened(protocol) {
    this.#open = true;
    this.#client.opened(protocol, this.#timers.now());
    this.takeEvents();
    if (!this.#ws) return; // 1002: it never was open
    this.#tick();
    this.#on.open();
    this.flush();
  }

  /** @param {unknown} data */
  #received(data) {
    const message = binary(data);
    if (!message || !this.#open) return;
    this.#client.feed(message, this.#timers.now());
    this.takeEvents();
    this.#on.frames();
    this.flush(); // a PONG goes at once
  }

  #tick() {
    const now = this.#timers.now();
    const next = this.#client.tick(now);
    this.#tickTimer = null;
    this.takeEvents();
    this.flush();
    if (this.#ws && Number.isFinite(next))
      this.#tickTimer = this.#timers.setTimeout(() => this.#tick(), Math.max(1, next - now));
  }

  /** @param {number | undefined} code */
  #closed(code) {
    const wasOpen = this.#open;
    this.#ws = null;
    this.#open = false;
    this.#timers.clearTimeout(this.#tickTimer);
    this.#timers.clearTimeout(this.#retryTimer);
    this.#client.closed();
    if (!wasOpen && code !== NORMAL) {
      const why = this.#failure ? `: ${this.#failure}` : "";
      this.#on.error(new Error(`cannot connect to ${publicUrl(this.#endpoint.url)}${why}`));
    }
    this.#on.close(code);
  }
}
