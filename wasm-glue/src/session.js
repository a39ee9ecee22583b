// Keeps a tunnel open: bootstrap, reconnect with backoff, idle supervision (§9.4).

import { TunnelSocket } from "./socket.js";
import { bootstrap, tunnelEndpoint } from "./url.js";

const BACKOFF_FIRST_MS = 250;
const BACKOFF_LAST_MS = 30000;
const BACKOFF_DOUBLINGS = 7; // 250 ms doubled seven times is past the last
const QUEUE_ENOUGH_BYTES = 1 << 20; // encoded and unsent: leave the rest in the ring
const MAX_BUFFERED = 16 << 20;

/** "closed" is waiting to reconnect. @typedef {"connecting" | "open" | "closed" | "stopped"} State */
/**
 * @typedef {object} SessionOptions
 * @property {string} url
 * @property {string} [token]
 * @property {import("./url.js").TokenTransport} [tokenTransport]
 * @property {boolean | string} [bootstrap]  open a session first; a text: at this address
 * @property {number} [maxBufferedAmount]
 * @property {number} [keepaliveMaxMs]
 * @property {number} [errorIntervalMs]
 */
/**
 * @typedef {object} SessionEvents
 * @property {(state: State) => void} state
 * @property {(frame: Uint8Array, gsoBytes: number) => void} frame
 * @property {() => void} frames
 * @property {(error: Error) => void} error
 * @property {(error: Error) => void} fatal  the session has stopped for good
 */

/** Owns its sockets and timers from start() to stop(). The client is borrowed. */
export class Session {
  #client;
  #options;
  #WebSocket;
  #timers;
  #on;
  /** @type {TunnelSocket | null} */ #socket = null;
  /** @type {State} */ #state = "stopped";
  #attempt = 0;
  /** @type {any} */ #retryTimer = null;
  /** @type {any} */ #idleTimer = null;
  #lastErrorAt = -Infinity;
  #lastAliveAt = 0;
  #starts = 0;
  #stats = {
    rttMs: /** @type {number | null} */ (null),
    reconnects: 0,
    lastError: /** @type {string | null} */ (null),
    lastCloseCode: /** @type {number | null} */ (null),
  };

  /**
   * @param {object} parts
   * @param {import("./tunnel.js").TunnelClient} parts.client
   * @param {SessionOptions} parts.options
   * @param {typeof WebSocket} parts.WebSocket
   * @param {import("./socket.js").Timers} parts.timers
   * @param {SessionEvents} parts.on
   */
  constructor({ client, options, WebSocket, timers, on }) {
    this.#client = client;
    this.#options = options;
    this.#WebSocket = WebSocket;
    this.#timers = timers;
    this.#on = on;
  }

  get state() {
    return this.#state;
  }

  get congested() {
    return this.#client.queuedBytes > QUEUE_ENOUGH_BYTES || (this.#socket?.congested ?? false);
  }

  /** @param {Uint8Array} data @param {number} offset @param {number} length
   *  @param {number} gsoBytes */
  sendFrame(data, offset, length, gsoBytes) {
    if (this.#client.sendFrame(data, offset, length, gsoBytes)) return true;
    this.#socket?.takeEvents();
    return false;
  }

  flush() {
    this.#socket?.flush();
  }

  start() {
    if (this.#state !== "stopped") return;
    this.#attempt = 0;
    this.#connect();
  }

  stop() {
    this.#timers.clearTimeout(this.#retryTimer);
    this.#starts++; // a bootstrap on its way comes too late
    this.#setState("stopped");
    this.#socket?.close();
  }

  stats() {
    return {
      state: this.#state,
      ...this.#stats,
      bufferedAmount: this.#socket?.bufferedAmount ?? 0,
      queuedBytes: this.#client.queuedBytes,
    };
  }

  /** @param {State} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.state(state);
  }

  /** @param {Error} error */
  #fatal(error) {
    this.#stats.lastError = error.message;
    this.#setState("stopped");
    this.#on.fatal(error);
  }

  async #find() {
    const { url, bootstrap: wanted, token, tokenTransport } = this.#options;
    /** @type {{ url: string, maxFrameSize?: number, maxControlSize?: number }} */
    let found = { url };
    if (wanted) {
      try {
        found = await bootstrap(typeof wanted === "string" ? wanted : url);
      } catch (error) {
        // The direct address may work all the same (§9.4, 4).
        this.#error(error instanceof Error ? error : new Error(String(error)));
      }
    }
    return { endpoint: tunnelEndpoint(found.url, { token, tokenTransport }), limits: found };
  }

  async #connect() {
    const start = ++this.#starts;
    this.#setState("connecting");
    try {
      const { endpoint, limits } = await this.#find();
      if (start !== this.#starts) return;
      this.#client.reset(limits);
      this.#socket = new TunnelSocket({
        endpoint,
        client: this.#client,
        WebSocket: this.#WebSocket,
        timers: this.#timers,
        maxBufferedAmount: this.#options.maxBufferedAmount ?? MAX_BUFFERED,
        on: {
          open: () => this.#opened(),
          frame: this.#on.frame,
          frames: () => {
            this.#alive();
            this.#on.frames();
          },
          pong: (rttMs) => {
            if (rttMs !== undefined) this.#stats.rttMs = rttMs;
          },
          error: (error) => this.#error(error),
          close: (code) => this.#closed(code),
        },
      });
      this.#socket.connect();
    } catch (error) {
      this.#socket = null;
      this.#fatal(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #opened() {
    this.#attempt = 0;
    this.#alive();
    this.#setState("open");
  }

  /** Re-arms the idle timer: open, frames and pongs all come this way. */
  #alive() {
    const idleMs = 2 * (this.#options.keepaliveMaxMs ?? 15000);
    if (idleMs === 0) return;
    this.#lastAliveAt = this.#timers.now();
    this.#idleTimer ??= this.#timers.setTimeout(() => this.#checkIdle(idleMs), idleMs);
  }

  /** @param {number} idleMs */
  #checkIdle(idleMs) {
    const leftMs = this.#lastAliveAt + idleMs - this.#timers.now();
    this.#idleTimer = null;
    if (leftMs > 0)
      this.#idleTimer = this.#timers.setTimeout(() => this.#checkIdle(idleMs), leftMs);
    else {
      this.#error(new Error("nothing came through the tunnel for too long"));
      this.#socket?.close();
    }
  }

  /** @param {number | undefined} code */
  #closed(code) {
    this.#socket = null;
    this.#timers.clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    this.#stats.lastCloseCode = code ?? null;
    if (this.#state === "stopped") return;
    this.#setState("closed");
    const doublings = Math.min(this.#attempt++, BACKOFF_DOUBLINGS);
    const delayMs = Math.min(BACKOFF_FIRST_MS * 2 ** doublings, BACKOFF_LAST_MS);
    this.#retryTimer = this.#timers.setTimeout(
      () => {
        this.#stats.reconnects++;
        this.#connect();
      },
      delayMs * (0.8 + 0.4 * this.#timers.random()),
    );
  }

  /** At most one a interval reaches the user (§9.1). @param {Error} error */
  #error(error) {
    const intervalMs = this.#options.errorIntervalMs ?? 1000;
    this.#stats.lastError = error.message;
    if (this.#timers.now() - this.#lastErrorAt < intervalMs) return;
    this.#lastErrorAt = this.#timers.now();
    this.#on.error(error);
  }
}
