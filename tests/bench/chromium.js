// A page in a Chromium that nobody watches: playwright turns the network domain of the protocol on,
// and then the browser reports every WebSocket message with its payload, which costs more than all
// the rest. So here the protocol is spoken bare: expressions and keys, nothing else.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-port=0",
];
const ENTER =
  'new KeyboardEvent("keydown", { key: "Enter", code: "Enter", keyCode: 13, bubbles: true })';

/** One browser with one page, from open() to close(). */
export class Page {
  #browser;
  #folder;
  #socket;
  #answers = new Map();
  #serial = 0;

  /** @param {string} url */
  static async open(url) {
    const page = new Page();
    page.#folder = mkdtempSync(join(tmpdir(), "aero-chromium-"));
    page.#browser = spawn(
      process.env.AERO_CHROMIUM || "/usr/bin/chromium",
      [...FLAGS, `--user-data-dir=${page.#folder}`, "about:blank"],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const port = await new Promise((resolve, reject) => {
      let said = "";
      page.#browser.stderr.setEncoding("utf8").on("data", (text) => {
        said += text;
        const match = /DevTools listening on ws:\/\/[^:]+:(\d+)\//.exec(said);
        if (match) resolve(match[1]);
      });
      page.#browser.once("exit", () => reject(new Error(`chromium ended:\n${said}`)));
    });
    const made = await fetch(`http://127.0.0.1:${port}/json/new?${encodeURIComponent(url)}`, {
      method: "PUT",
    });
    page.#socket = new WebSocket((await made.json()).webSocketDebuggerUrl);
    page.#socket.on("message", (data) => {
      const message = JSON.parse(data);
      page.#answers.get(message.id)?.(message);
      page.#answers.delete(message.id);
    });
    await new Promise((resolve, reject) => {
      page.#socket.once("open", resolve).once("error", reject);
    });
    await page.#send("Page.bringToFront"); // or keys go nowhere
    await page.#send("Emulation.setFocusEmulationEnabled", { enabled: true });
    return page;
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
    const ended = new Promise((resolve) => this.#browser.once("exit", resolve));
    this.#browser.kill();
    await ended;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
