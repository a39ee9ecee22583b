// The dedicated worker of a tunnel: it sleeps on NET_TX and on the WebSocket's events at a time.
// Atomics.wait() would starve the WebSocket; so Atomics.waitAsync(), or where that is missing a
// message from the card's thread whenever it finds the word that says "I sleep".

import { Pump } from "./pump.js";
import { importNode, inNode, reason } from "./wasm.js";

const IDLE_MS = 250; // net-rings.md §3.5
const PENDING_MS = 20;
const BUSY_MS = 8;
const STATS_MS = 200;
const CARD_WAITS = 0; // words of Rings.signalAt
const PUMP_SLEEPS = 1;
const TUNNEL_PAUSED = 2;

/** @type {any} */
const port = inNode() ? (await importNode("worker_threads")).parentPort : globalThis;
/** @type {(message: unknown) => void} */
const post = (message) => port.postMessage(message);
/** @type {(fn: (message: any) => void) => void} */
const listen = (fn) => {
  if (inNode()) port.on("message", fn);
  else port.onmessage = (/** @type {MessageEvent} */ { data }) => fn(data);
};

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Lets other events have their turn, without the 4 ms browsers make of setTimeout(0). */
const breathe = (() => {
  const { port1, port2 } = new MessageChannel();
  /** @type {(() => void)[]} */
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  /** @type {any} */ (port1).unref?.();
  return () =>
    new Promise((/** @type {(value: void) => void} */ resolve) => {
      waiting.push(resolve);
      port2.postMessage(null);
    });
})();

/** @param {string | undefined} url */
async function webSocketOf(url) {
  const module = url ? await import(/* @vite-ignore */ /* webpackIgnore: true */ url) : globalThis;
  const found = module.WebSocket ?? module.default;
  if (typeof found !== "function") throw new Error("the worker has no WebSocket");
  return found;
}

/** @param {any} message */
async function start({ rings, options, wasm, webSocketModule }) {
  const signal = new Int32Array(rings.memory.buffer, rings.signalAt, 3);
  const pump = await Pump.create({
    rings,
    options,
    wasm,
    WebSocket: await webSocketOf(webSocketModule),
    isPaused: () => Atomics.load(signal, TUNNEL_PAUSED) === 1,
    on: {
      state: (state) => {
        post({ type: "stats", stats: pump.stats() });
        post({ type: "state", state });
      },
      error: (error) => post({ type: "error", message: error.message }),
      fatal: (error) => post({ type: "fatal", message: error.message }),
      arrived: () => {
        if (Atomics.exchange(signal, CARD_WAITS, 0) === 1) post({ type: "work" });
      },
    },
  });
  /** @type {() => void} */
  let wake = () => {};
  const canWait = typeof Atomics.waitAsync === "function";

  listen((message) => {
    if (message.type === "doorbell") wake();
    else if (message.type === "resume") pump.start();
    else if (message.type === "pause") {
      pump.stop();
      post({ type: "paused" });
    } else if (message.type === "stop") {
      pump.stop();
      post({ type: "stats", stats: pump.stats() });
      post({ type: "stopped" });
    }
  });
  setInterval(() => post({ type: "stats", stats: pump.stats() }), STATS_MS);

  /** Until NET_TX has data, or a while has passed. @param {number} ms */
  async function waitForFrames(ms) {
    if (canWait) return pump.tx.waitDataAsync(ms);
    const rung = new Promise((/** @type {(value: void) => void} */ resolve) => {
      wake = resolve;
    });
    Atomics.store(signal, PUMP_SLEEPS, 1);
    // The card may have pushed before it could see that word.
    if (!pump.tx.hasData) await Promise.race([rung, sleep(ms)]);
  }

  post({ type: "ready" }); // "resume" is the answer, unless the tunnel was paused meanwhile
  for (;;) {
    const outcome = pump.turn();
    if (outcome === "more") await breathe();
    else if (outcome === "busy") await sleep(BUSY_MS);
    else if (!pump.hasPending) await waitForFrames(IDLE_MS);
    else await Promise.race([waitForFrames(PENDING_MS), pump.rx.waitSpaceAsync(PENDING_MS)]);
  }
}

listen((message) => {
  if (message.type !== "start") return;
  start(message).catch((error) => post({ type: "failed", message: reason(error) }));
});
