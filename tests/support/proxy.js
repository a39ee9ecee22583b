// Starts the real proxy as a process of its own, on a free loopback port.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const READY_TIMEOUT_MS = 30_000; // a loaded machine, a sanitizer
const GRACE_MS = 5000;

/** The binary: AERO_L2_PROXY, or the one of the build folder. */
export function proxyBinary() {
  if (process.env.AERO_L2_PROXY) return process.env.AERO_L2_PROXY;
  const build =
    process.env.AERO_BUILD_DIR ?? fileURLToPath(new URL("../../build", import.meta.url));
  return `${build}/proxy-min/aero-l2-proxy`;
}

/** No variable of the caller's but these reaches the proxy. */
function cleanEnvironment() {
  const kept = ["PATH", "HOME", "LANG", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS"];
  return Object.fromEntries(
    kept.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  );
}

/** One proxy process, from start() to stop(). */
export class ProxyProcess {
  /** ws://…/l2 */
  url = "";
  output = "";
  #child;

  /** @param {Record<string, string>} environment  AERO_… settings */
  static async start(environment = {}, binary = proxyBinary()) {
    if (!existsSync(binary)) throw new Error(`no proxy at ${binary}: build it first`);
    const proxy = new ProxyProcess();
    await proxy.#start(environment, binary);
    return proxy;
  }

  async #start(environment, binary) {
    const child = spawn(binary, ["--bind", "127.0.0.1:0", "--ready-stdout"], {
      env: { ...cleanEnvironment(), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? code));
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.output += text;
      });
    }
    let timer;
    const ready = new Promise((resolve, reject) => {
      child.stdout.on("data", () => {
        const match = /^AERO_L2_PROXY_READY (\S+)$/m.exec(this.output);
        if (match) resolve(match[1]);
      });
      this.ended.then((how) => reject(new Error(`the proxy ended (${how}):\n${this.output}`)));
      timer = setTimeout(
        () => reject(new Error(`no ready line within ${READY_TIMEOUT_MS} ms:\n${this.output}`)),
        READY_TIMEOUT_MS,
      );
    });
    try {
      this.url = await ready;
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid() {
    return this.#child.pid;
  }

  /** http://… of its other endpoints. @param {string} path */
  http(path) {
    return new URL(path, this.url.replace(/^ws/, "http")).href;
  }

  /** All samples of /metrics by name (labels included). @returns {Promise<Map<string, number>>} */
  async metrics() {
    const response = await fetch(this.http("/metrics"));
    if (!response.ok) throw new Error(`/metrics answered ${response.status}`);
    const lines = (await response.text())
      .split("\n")
      .filter((line) => line && !line.startsWith("#"));
    return new Map(
      lines.map((line) => [
        line.slice(0, line.lastIndexOf(" ")),
        Number(line.slice(line.lastIndexOf(" ") + 1)),
      ]),
    );
  }

  /** Ends it as a service manager would. @returns {Promise<number | string>} how it ended */
  async stop() {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), GRACE_MS);
    const how = await this.ended;
    clearTimeout(timer);
    return how;
  }
}
