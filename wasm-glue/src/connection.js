// The tunnel as its user sees it; the pump behind it runs in a worker or on the card's thread.

import { tunnelPort } from "./nic.js";
import { Pump } from "./pump.js";
import { Ring } from "./ring-core.js";
import { clientOptions } from "./tunnel.js";
import { checkCredential, tunnelEndpoint } from "./url.js";
import { importNode, inNode, loadModule, reason } from "./wasm.js";

const BUSY_MS = 8;
const CARD_WAITS = 0; // words of Rings.signalAt
const PUMP_SLEEPS = 1;
const TUNNEL_PAUSED = 2;
const SIGNAL_WORDS = 3;

/**
 * @typedef {object} ConnectOptions
 * @property {string | URL} url  http, https, ws or wss; relative to the page
 * @property {"auto" | boolean} [worker]  where the pump runs; default "auto"
 * @property {typeof WebSocket | Function} [WebSocket]  a constructor, for the card's own thread
 * @property {string | URL} [webSocketModule]  a module that exports one, for the worker too
 * @property {string | URL} [workerUrl]  where pump.worker.js is
 * @property {(type: "state" | "error" | "stats", detail: any) => void} [onEvent]
 */
/** @typedef {Omit<import("./pump.js").PumpOptions, "url"> & ConnectOptions} TunnelOptions */

/** @param {string} type @param {unknown} detail @returns {Event} */
function customEvent(type, detail) {
  return Object.assign(new Event(type), { detail }); // Node 18 has no CustomEvent
}

/** What a worker can be sent of the options. @param {TunnelOptions} options */
function postable(options) {
  const {
    WebSocket: _a,
    webSocketModule: _b,
    workerUrl: _c,
    onEvent: _d,
    worker: _e,
    ...rest
  } = options;
  return { ...rest, url: String(options.url) };
}

/** @param {string | URL | undefined} url */
async function startWorker(url) {
  if (inNode()) {
    const { Worker: NodeWorker } = await importNode("worker_threads");
    const worker = new NodeWorker(url ?? new URL("./pump.worker.js", import.meta.url));
    return {
      worker,
      /** @param {(message: any) => void} fn @param {(error: any) => void} failed */
      listen: (fn, failed) => worker.on("message", fn).on("error", failed),
    };
  }
  // The literal new Worker(new URL()) is the form bundlers look for.
  const worker = url
    ? new Worker(url, { type: "module" })
    : new Worker(new URL("./pump.worker.js", import.meta.url), { type: "module" });
  return {
    worker,
    /** @param {(message: any) => void} fn @param {(error: any) => void} failed */
    listen: (fn, failed) => {
      worker.onmessage = ({ data }) => fn(data);
      worker.onerror = (event) => failed(new Error(event.message || "the worker did not start"));
    },
  };
}

/**
 * A tunnel of one card: it connects, reconnects, and ends with close().
 * Events: "state", "error" (an Error) and "stats"; each has its value as `detail`.
 */
export class Tunnel extends EventTarget {
  /** Resolved when the tunnel opens first; rejected when it never will. @type {Promise<void>} */
  opened;

  #options;
  #port;
  /** @type {import("./session.js").State} */ #state = "connecting";
  /** @type {any} */ #stats = { state: "connecting", drops: {}, rttMs: null, reconnects: 0 };
  /** @type {() => void} */ #resolve = () => {};
  /** @type {(error: Error) => void} */ #reject = () => {};
  #closed = false;
  #paused = false;
  /** Who waits for the pump to have stopped. @type {(() => void)[]} */ #pauses = [];
  #hasPump = true; // or will have; false: it failed
  /** @type {Pump | null} */ #pump = null;
  /** @type {any} */ #worker = null;
  #kicked = false;
  #signal = new Int32Array(SIGNAL_WORDS); // the words of Rings.signalAt, once a worker looks at them
  /** @type {any} */ #starting = null; // the worker before it is ready

  /**
   * Use connectTunnel().
   * @param {import("./nic.js").Nic} nic
   * @param {TunnelOptions} options
   */
  constructor(nic, options) {
    super();
    if (!options?.url) throw new TypeError("connectTunnel() needs the url of a proxy");
    checkCredential(options);
    clientOptions(options);
    this.#options = options;
    this.#port = nic[tunnelPort];
    this.opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.opened.catch(() => {}); // whoever does not ask need not handle it
    const inWorker = this.#wantsWorker();
    this.#port.plug({ moved: () => this.#moved(), full: () => this.#full() });
    this.#start(inWorker).catch((error) => this.#failed(error));
  }

  /** "closed": it waits to reconnect. */
  get state() {
    return this.#state;
  }

  /** Counters of spec/l2-tunnel.md §9.5 and more; cheap: with a worker the last snapshot. */
  stats() {
    if (this.#pump) this.#stats = this.#pump.stats();
    return { ...this.#stats, state: this.#state };
  }

  /**
   * For a snapshot of a machine that stands still: ends the connection and empties both rings, also
   * while the tunnel is still starting. What comes from now on does not reach the card.
   * @returns {Promise<void>}  resolved when that is done
   */
  async pause() {
    if (this.#closed) return;
    this.#setPaused(true);
    this.#empty();
    if (!this.#pump && this.#hasPump)
      await new Promise((/** @type {(value: void) => void} */ resolve) => {
        this.#pauses.push(resolve);
        this.#worker?.postMessage({ type: "pause" });
      });
    else await null; // this may be the middle of a poll, or of a turn of the pump
    if (this.#closed || !this.#paused) return;
    this.#empty();
    this.#setState("stopped");
  }

  /** Connects again. */
  resume() {
    if (this.#closed) return;
    this.#setPaused(false);
    if (this.#pump) this.#pump.start();
    else this.#worker?.postMessage({ type: "resume" });
  }

  /** Ends the tunnel for good; the card may get another one. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#port.plug(null);
    this.#settlePauses();
    this.#pump?.stop();
    if (this.#worker) {
      const worker = this.#worker;
      worker.postMessage({ type: "stop" }); // its answer ends it
    }
    this.#setState("stopped");
    this.#reject(new Error("the tunnel was closed"));
  }

  /** @param {boolean} paused */
  #setPaused(paused) {
    this.#paused = paused;
    Atomics.store(this.#signal, TUNNEL_PAUSED, paused ? 1 : 0); // sooner than any message
  }

  /** What this thread may empty: NET_RX, whose consumer it is, and NET_TX where it has none else. */
  #empty() {
    const { memory, txAt, capacity } = this.#port.rings;
    this.#pump?.stop();
    if (!this.#hasPump) new Ring(memory, txAt, capacity).drain();
    this.#port.drain();
  }

  #settlePauses() {
    for (const resolve of this.#pauses.splice(0)) resolve();
  }

  #wantsWorker() {
    const { worker = "auto", WebSocket: given, webSocketModule } = this.#options;
    const { shared } = this.#port.rings;
    if (worker === true && given)
      throw new TypeError("a WebSocket constructor cannot go to a worker: give webSocketModule");
    if (worker === true && !shared)
      throw new Error("worker: true needs a Nic in shared memory: see the isolated option");
    if (worker !== "auto") return worker;
    const hasWebSocket = webSocketModule || typeof WebSocket === "function";
    return Boolean(shared && !given && hasWebSocket && (inNode() || typeof Worker === "function"));
  }

  /** @param {boolean} inWorker */
  async #start(inWorker) {
    tunnelEndpoint(this.#options.url, this.#options); // a bad URL ends it here
    if (inWorker && (await this.#startWorker())) return;
    if (!this.#closed) await this.#startHere();
  }

  async #webSocket() {
    const { WebSocket: given, webSocketModule } = this.#options;
    if (given) return given;
    const url = webSocketModule && String(webSocketModule);
    const module = url
      ? await import(/* @vite-ignore */ /* webpackIgnore: true */ url)
      : globalThis;
    const found = module.WebSocket ?? module.default;
    if (typeof found !== "function")
      throw new Error("there is no WebSocket here: give the option WebSocket or webSocketModule");
    return found;
  }

  async #startHere() {
    const pump = await Pump.create({
      rings: this.#port.rings,
      options: postable(this.#options),
      wasm: this.#port.wasmOptions,
      WebSocket: /** @type {any} */ (await this.#webSocket()),
      on: {
        state: (state) => this.#setState(state),
        error: (error) => this.#emit("error", error),
        fatal: (error) => this.#fatal(error),
        arrived: () => this.#port.announce(),
      },
    });
    if (this.#closed) return;
    this.#pump = pump;
    if (!this.#paused) pump.start();
    this.#settlePauses();
    this.#kick();
  }

  /** False: there is no worker to be had, and the user left the choice to us. */
  async #startWorker() {
    const { webSocketModule, workerUrl, worker: wanted = "auto" } = this.#options;
    const module = await loadModule("tunnel", this.#port.wasmOptions);
    const { rings } = this.#port;
    this.#signal = new Int32Array(rings.memory.buffer, rings.signalAt, SIGNAL_WORDS);
    this.#setPaused(this.#paused);
    try {
      const { worker, listen } = await startWorker(workerUrl);
      await new Promise((resolve, reject) => {
        listen(
          (message) => {
            if (message.type === "ready") resolve(undefined);
            else if (message.type === "failed") reject(new Error(message.message));
            else this.#heard(message);
          },
          (error) => {
            reject(error);
            if (this.#worker) this.#failed(error);
          },
        );
        worker.postMessage({
          type: "start",
          rings,
          wasm: { wasmModule: { tunnel: module } },
          options: postable(this.#options),
          webSocketModule: webSocketModule && String(webSocketModule),
        });
        Atomics.store(this.#signal, CARD_WAITS, 1);
        this.#starting = worker;
      });
      this.#worker = worker;
      if (this.#closed) worker.terminate();
      for (const _ of this.#pauses) worker.postMessage({ type: "pause" });
      if (!this.#paused) worker.postMessage({ type: "resume" });
      return true;
    } catch (error) {
      this.#starting?.terminate();
      if (wanted === true) throw new Error(`the tunnel's worker failed: ${reason(error)}`);
      return false;
    }
  }

  /** @param {any} message */
  #heard(message) {
    switch (message.type) {
      case "work":
        // First the word, then the look: what comes after the look brings a new message.
        Atomics.store(this.#signal, CARD_WAITS, 1);
        this.#port.announce();
        break;
      case "stats":
        this.#stats = message.stats;
        this.#emit("stats", this.stats());
        break;
      case "state":
        if (!this.#closed) this.#setState(message.state);
        break;
      case "error":
        this.#emit("error", new Error(message.message));
        break;
      case "fatal":
        this.#fatal(new Error(message.message));
        break;
      case "paused":
        this.#pauses.shift()?.();
        break;
      case "stopped":
        this.#starting.terminate();
        break;
    }
  }

  /** A poll of the card moved frames. */
  #moved() {
    if (this.#worker) {
      if (Atomics.exchange(this.#signal, PUMP_SLEEPS, 0) === 1)
        this.#worker.postMessage({ type: "doorbell" });
    } else this.#kick();
  }

  /** NET_TX is full: on this thread it can be drained at once. */
  #full() {
    if (!this.#pump) return false;
    return this.#pump.turn() !== "busy";
  }

  /** One turn of the pump, after what runs now. */
  #kick() {
    if (this.#kicked || !this.#pump) return;
    this.#kicked = true;
    queueMicrotask(() => {
      this.#kicked = false;
      if (this.#closed || !this.#pump) return;
      const outcome = this.#pump.turn();
      if (outcome !== "empty") setTimeout(() => this.#kick(), outcome === "busy" ? BUSY_MS : 0);
    });
  }

  /** @param {import("./session.js").State} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "open") this.#resolve();
    this.#emit("state", state);
    this.#emit("stats", this.stats());
  }

  /** There is no pump, or no longer. @param {Error} error */
  #failed(error) {
    this.#hasPump = false;
    this.#worker = null;
    this.#starting?.terminate(); // in a browser it may live on
    this.#settlePauses();
    this.#fatal(error);
  }

  /** @param {Error} error */
  #fatal(error) {
    this.#reject(error);
    this.#stats.lastError = error.message;
    this.#setState("stopped");
    this.#emit("error", error);
  }

  /** @param {"state" | "error" | "stats"} type @param {unknown} detail */
  #emit(type, detail) {
    this.#options.onEvent?.(type, detail);
    this.dispatchEvent(customEvent(type, detail));
  }
}
