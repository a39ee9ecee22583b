// A page in a Chromium that nobody watches: playwright turns the network domain of the protocol on,
// and then the browser reports every WebSocket message with its payload, which costs more than all
// the rest. So here the protocol is spoken bare: expressions and keys, nothing else.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { CHROMIUM, FLAGS } from "../browser/support.js";

const ENTER =
  'new KeyboardEvent("keydown", { key: "Enter", code: "Enter", keyCode: 13, bubbles: true })';

/** One browser with one page, from open() to close(). */
export class Page {
  #browser;
  #ended; // a promise
  #folder;
  #socket;
  #answers = new Map();
  #serial = 0;

  /** @param {string} url */
  static async open(url) {
    const page = new Page();
    try {
      await page.#connect(await page.#start(), url);
    } catch (error) {
      await page.close();
      throw error;
    }
    return page;
  }

  /** Resolves with the port on which the browser listens. */
  #start() {
    this.#folder = mkdtempSync(join(tmpdir(), "aero-chromium-"));
    const extra = [
      "--headless=new",
      "--remote-debugging-port=0",
      `--user-data-dir=${this.#folder}`,
    ];
    this.#browser = spawn(CHROMIUM, [...FLAGS, ...extra, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#ended = new Promise((resolve) => this.#browser.once("exit", resolve));
    return new Promise((resolve, reject) => {
      let said = "";
      this.#browser.stderr.setEncoding("utf8").on("data", (text) => {
        said += text;
        const match = /DevTools listening on ws:\/\/[^:]+:(\d+)\//.exec(said);
        if (match) resolve(match[1]);
      });
      this.#browser.once("error", reject);
      this.#ended.then(() => reject(new Error(`chromium ended:\n${said}`)));
    });
  }

  async #connect(port, url) {
    const made = await fetch(`http://127.0.0.1:${port}/json/new?${encodeURIComponent(url)}`, {
      method: "PUT",
    });
    this.#socket = new WebSocket((await made.json()).webSocketDebuggerUrl);
    this.#socket.on("message", (data) => {
      const message = JSON.parse(data);
      this.#answers.get(message.id)?.(message);
      this.#answers.delete(message.id);
    });
    await new Promise((resolve, reject) => {
      this.#socket.once("open", resolve).once("error", reject);
    });
    await this.#send("Page.bringToFront"); // or keys go nowhere
    await this.#send("Emulation.setFocusEmulationEnabled", { enabled: true });
  }

  async #send(method, params = {}) {
    const id = ++this.#serial;
    const { error, result } = await new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** The value of an expression; of a promise, what it is resolved with. @param {string} expression */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`in the page: ${exceptionDetails.text}`);
    return result.value;
  }

  /** Resolves with the value of the expression once it is true. @param {string} expression */
  until(expression, timeoutMs = 180_000) {
    return this.evaluate(`new Promise((resolve, reject) => {
      const look = () => {
        const value = ${expression};
        if (!value) return;
        clearInterval(timer);
        resolve(value);
      };
      const timer = setInterval(look, 50);
      setTimeout(() => reject(new Error("too long")), ${timeoutMs});
    })`);
  }

  /** Types a line into the element. @param {string} selector @param {string} line */
  async type(selector, line) {
    const element = `document.querySelector(${JSON.stringify(selector)})`;
    await this.evaluate(`${element}.focus()`);
    for (const text of line)
      await this.#send("Input.dispatchKeyEvent", { type: "char", text, key: text });
    await this.evaluate(`${element}.dispatchEvent(${ENTER})`);
  }

  async close() {
    this.#socket?.close();
    if (this.#browser?.kill()) await this.#ended;
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
