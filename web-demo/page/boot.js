/*
 * boot.js - what the reader sees until the guest speaks: a bar, and the steps with their times.
 */
import { bytes } from "./format.js";

const PHASES = {
  emulator: "Emulator",
  card: "Network card",
  image: "Kernel and initrd",
  boot: "Kernel boots",
};

export class BootProgress {
  #box = document.getElementById("boot");
  #title = document.getElementById("boot-title");
  #bar = document.getElementById("boot-bar");
  #detail = document.getElementById("boot-detail");
  #list = document.getElementById("boot-phases");
  #begun = new Map(); // phase -> performance.now()
  #items = new Map();
  #current = null;
  #ticker = 0;

  begin() {
    this.#stop();
    this.#begun.clear();
    this.#current = null;
    this.#box.hidden = false;
    this.#box.classList.remove("failed");
    this.#title.textContent = "Starting";
    this.#detail.textContent = "";
    this.#bar.hidden = false;
    this.#bar.removeAttribute("value");
    this.#items = new Map(
      Object.entries(PHASES).map(([phase, label]) => {
        const item = document.createElement("li");
        item.textContent = label;
        return [phase, item];
      }),
    );
    this.#list.replaceChildren(...this.#items.values());
    this.#ticker = setInterval(() => this.#tick(), 250);
  }

  phase(phase) {
    this.#close();
    this.#current = phase;
    this.#begun.set(phase, performance.now());
    this.#title.textContent = PHASES[phase] ?? phase;
    const item = this.#items.get(phase);
    if (item) item.className = "now";
    if (phase === "boot") {
      this.#bar.removeAttribute("value");
      this.#detail.textContent = "";
    }
  }

  progress({ loaded, total }) {
    if (this.#current === "boot") return;
    this.#bar.max = Math.max(1, total);
    this.#bar.value = loaded;
    this.#detail.textContent = `${bytes(loaded)} of ${bytes(total)}`;
  }

  /** The guest has spoken. */
  done() {
    this.#close();
    this.#stop();
    this.#box.hidden = true;
  }

  failed() {
    this.#stop();
    const item = this.#items.get(this.#current);
    if (item) item.className = "failed";
    this.#title.textContent = "The guest could not be started";
    this.#detail.textContent = "The message above says why.";
    this.#bar.hidden = true;
    this.#box.hidden = false;
    this.#box.classList.add("failed");
  }

  #close() {
    const item = this.#items.get(this.#current);
    if (!item) return;
    item.className = "done";
    item.textContent = `${PHASES[this.#current]}, ${this.#seconds()} s`;
  }

  #seconds() {
    return ((performance.now() - this.#begun.get(this.#current)) / 1000).toFixed(1);
  }

  #tick() {
    if (this.#current === "boot") this.#detail.textContent = `${this.#seconds()} s, usually 10`;
  }

  #stop() {
    clearInterval(this.#ticker);
    this.#ticker = 0;
  }
}
