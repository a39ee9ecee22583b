// The pump of one tunnel: rings, forwarder, client and session joined on one thread. Who owns it
// says when to turn: a worker that waits on NET_TX, or the card's own thread after each poll.

import { Forwarder } from "./forwarder.js";
import { Ring } from "./ring-core.js";
import { Session } from "./session.js";
import { systemTimers } from "./socket.js";
import { clientOptions, TunnelClient } from "./tunnel.js";

const ROUNDS = 16; // ticks in a row before other events get their turn

/**
 * @typedef {import("./session.js").SessionOptions & import("./tunnel.js").ClientOptions &
 *   import("./forwarder.js").ForwarderOptions} PumpOptions
 */
/**
 * @typedef {object} PumpEvents
 * @property {(state: import("./session.js").State) => void} state
 * @property {(error: Error) => void} error
 * @property {(error: Error) => void} fatal
 * @property {() => void} arrived  NET_RX grew
 */

export class Pump {
  #forwarder;
  #session;
  #client;
  #arrived;
  #announcedFrames = 0;

  /**
   * @param {object} parts
   * @param {import("./ring-core.js").Ring} parts.tx
   * @param {import("./ring-core.js").Ring} parts.rx
   * @param {boolean} [parts.superFrames]  as Rings.superFrames
   * @param {TunnelClient} parts.client
   * @param {PumpOptions} parts.options
   * @param {typeof WebSocket} parts.WebSocket
   * @param {import("./socket.js").Timers} parts.timers
   * @param {PumpEvents} parts.on
   * @param {() => boolean} [parts.isPaused]  another thread has asked for stop()
   */
  constructor({ tx, rx, superFrames, client, options, WebSocket, timers, on, isPaused }) {
    this.tx = tx;
    this.rx = rx;
    this.#client = client;
    this.#arrived = on.arrived;
    this.#forwarder = new Forwarder(tx, rx, { ...options, superFrames, isPaused });
    const session = new Session({
      client,
      options,
      WebSocket,
      timers,
      on: {
        ...on,
        state: (state) => {
          // While no tunnel is open the guest's frames are discarded (§9.4, 7).
          this.#forwarder.setTunnel(state === "open" ? session : null);
          on.state(state);
        },
        frame: (frame, gsoBytes) => this.#forwarder.receive(frame, gsoBytes),
        frames: () => this.#announce(),
      },
    });
    this.#session = session;
  }

  /**
   * @param {object} parts
   * @param {import("./card.js").Rings} parts.rings
   * @param {PumpOptions} parts.options
   * @param {import("./wasm.js").WasmOptions} parts.wasm
   * @param {typeof WebSocket} parts.WebSocket
   * @param {PumpEvents} parts.on
   * @param {import("./socket.js").Timers} [parts.timers]
   * @param {() => boolean} [parts.isPaused]
   */
  static async create({ rings, options, wasm, timers = systemTimers, ...rest }) {
    const { superFrames } = rings;
    const settled = clientOptions(options);
    if (superFrames) settled.maxFrameSize = options.maxFrameSize ?? 0; // 0: as long as they get
    const client = await TunnelClient.create({ ...settled, superFrames }, wasm, timers.random);
    const tx = new Ring(rings.memory, rings.txAt, rings.capacity);
    const rx = new Ring(rings.memory, rings.rxAt, rings.capacity);
    return new Pump({ tx, rx, superFrames, client, options, timers, ...rest });
  }

  start() {
    this.#forwarder.start();
    this.#session.start();
  }

  /** The tunnel ends, what waits in NET_TX is dropped; NET_RX is the card's to empty. */
  stop() {
    this.#session.stop();
    this.#forwarder.stop();
  }

  get hasPending() {
    return this.#forwarder.hasPending;
  }

  /** Moves what is there, and sends it. @returns {import("./forwarder.js").Outcome} */
  turn() {
    /** @type {import("./forwarder.js").Outcome} */
    let outcome = "more";
    for (let round = 0; round < ROUNDS && outcome === "more"; round++) {
      outcome = this.#forwarder.tick();
      this.#session.flush();
    }
    this.#announce();
    return outcome;
  }

  #announce() {
    const { rxFrames } = this.#forwarder;
    if (rxFrames === this.#announcedFrames) return;
    this.#announcedFrames = rxFrames;
    this.#arrived();
  }

  /** A snapshot that can be posted. */
  stats() {
    const forwarder = this.#forwarder.stats();
    const drops = Object.fromEntries(
      Object.entries(forwarder).filter(([name]) => name.includes("Dropped")),
    );
    return { ...forwarder, drops, ...this.#session.stats(), client: this.#client.stats() };
  }
}
