/*
 * guest.js - the page's handle on the guest, which lives in a worker of its own.
 *
 * Owns the worker from start() to stop(). Power cycling is a new worker: nothing of the old guest
 * can be left over.
 *
 * Events (detail is the worker's message): "phase", "progress", "serial", "stats", "tunnel",
 * "rebooted", "error".
 */
const HEARTBEAT_MS = 6000;

export class Guest extends EventTarget {
  #worker = null;
  #options;
  #watchdog = 0;

  /** @param {{ proxy: string, token: string, model: string, memoryMib: number }} options */
  constructor(options) {
    super();
    this.#options = options;
  }

  start() {
    this.stop();
    const worker = new Worker(new URL("./guest-worker.js", import.meta.url), {
      type: "module",
      name: "guest",
    });
    this.#worker = worker;
    worker.addEventListener("message", ({ data }) => {
      if (data.say === "stats") this.#alive();
      this.#say(data.say, data);
    });
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      // A script that fails to load gives an event without a message.
      const message = event.message || "the guest's worker script could not be loaded";
      this.#say("error", { stage: "worker", message });
    });
    worker.addEventListener("messageerror", () => {
      this.#say("error", { stage: "worker", message: "a message could not be read" });
    });
    // A worker sees no import map: the page resolves the packages for it.
    const modules = Object.fromEntries(
      ["v86", "aero-nic", "aero-nic/v86"].map((name) => [name, import.meta.resolve(name)]),
    );
    this.#post({ do: "start", modules, ...this.#options });
  }

  /** Ends the guest, its card and its tunnel. */
  stop() {
    clearTimeout(this.#watchdog);
    this.#worker?.terminate();
    this.#worker = null;
  }

  /** Types `text` on the guest's console. */
  type(text) {
    this.#post({ do: "type", text });
  }

  /** Pulls the card's cable, or plugs it in. */
  setLink(up) {
    this.#post({ do: "link", up });
  }

  /** Begins a new tunnel in place of what there is, or leaves the card without one. */
  setTunnel(wanted) {
    this.#post({ do: "tunnel", wanted });
  }

  #post(message) {
    this.#worker?.postMessage(message);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** The worker speaks four times a second; silence means that it is stuck. */
  #alive() {
    clearTimeout(this.#watchdog);
    if (!this.#worker) return;
    this.#watchdog = setTimeout(() => this.#say("silent", {}), HEARTBEAT_MS);
  }
}
