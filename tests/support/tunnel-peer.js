// A Linux kernel as the guest of the real proxy: programs of tests/bench, run and read.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ProxyProcess } from "./proxy.js";

const SITE = "203.0.113.10"; // TEST-NET-3: belongs to nobody
const SITE_PORT = 80;
const EXIT_SKIP = 77;

const build = process.env.AERO_BUILD_DIR ?? fileURLToPath(new URL("../../build", import.meta.url));
const program = (name) => `${build}/tests/${name}`;

/** What a bad line did, as tunnel_peer tells it. */
function parseLegs(output) {
  const legs = [...output.matchAll(/^to the (proxy|guest): (.+)$/gm)].map(([, name, counts]) => [
    name,
    Object.fromEntries([...counts.matchAll(/(\w+) (\d+)/g)].map(([, key, n]) => [key, Number(n)])),
  ]);
  return legs.length > 0 ? { legs: Object.fromEntries(legs) } : {};
}

/** Runs to the end. @returns {Promise<{ status: number, output: string }>} */
function run(file, args) {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output }));
  });
}

function parse(result) {
  const line = result.output.split("\n").find((text) => text.startsWith("{"));
  const said = line
    ? JSON.parse(line)
    : { ok: false, status: result.status, output: result.output };
  return { ...said, ...parseLegs(result.output) };
}

/** The load server, the proxy, and as many guests as are asked for. */
export class PeerWorld {
  #server;
  #held = new Set();
  #port;

  /**
   * @param {Record<string, string>} environment  more settings of the proxy
   * @param {string} address  where the load server listens
   */
  static async open(environment = {}, address = "127.0.0.1") {
    const world = new this();
    world.#server = spawn(program("tcp_load"), ["serve", address], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    world.#port = await new Promise((resolve, reject) => {
      world.#server.once("error", reject);
      world.#server.stdout.once("data", (text) => resolve(Number(/port (\d+)/.exec(text)[1])));
    });
    world.proxy = await ProxyProcess.start({
      AERO_L2_OPEN: "1",
      AERO_L2_INSECURE_ALLOW_NO_AUTH: "1",
      AERO_L2_TCP_FORWARD: `${SITE}:${SITE_PORT}=127.0.0.1:${world.#port}`,
      ...environment,
    });
    return world;
  }

  #peerArguments(command, options) {
    const { host } = new URL(this.proxy.http("/"));
    return ["--proxy", host, ...options, "--", ...command];
  }

  /** Any program inside a new guest. @param {string[]} command */
  guest(command, options = []) {
    return run(program("tunnel_peer"), this.#peerArguments(command, options));
  }

  /** The load server's port. */
  get port() {
    return this.#port;
  }

  /**
   * A guest that stays: its program is told to go on, or to end, through its input.
   * @param {string[]} command
   */
  hold(command, options = []) {
    const child = spawn(program("tunnel_peer"), this.#peerArguments(command, options), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    this.#held.add(child);
    ended.then(() => this.#held.delete(child));
    return {
      /** Its bridge stands still: the tunnel is open, nobody answers. */
      freeze: () => child.kill("SIGSTOP"),
      thaw: () => child.kill("SIGCONT"),
      /** Resolves with the next thing it says. @returns {Promise<string>} */
      hear: () =>
        new Promise((resolve, reject) => {
          child.stdout.once("data", (text) => resolve(String(text)));
          ended.then((status) => reject(new Error(`the guest ended (${status})`)));
        }),
      say: (text) => child.stdin.write(text),
      release: () => {
        child.stdin.end();
        return ended;
      },
    };
  }

  /** What opens many flows and keeps them. @param {number} flows */
  idleCommand(flows) {
    return [program("tcp_load"), "idle", SITE, String(SITE_PORT), String(flows)];
  }

  /** The same as transfer(), but behind slirp4netns's packet socket. */
  async transferBySlirp({ kind, bytes, socket, options = [] }) {
    const load = [program("tcp_load"), kind, "10.0.2.2", String(this.#port), String(bytes)];
    const args = ["--slirp", socket, ...options, "--", ...load];
    return parse(await run(program("tunnel_peer"), args));
  }

  /** The same in a namespace that some other program connects. @param {number} pid  whose */
  async transferIn({ pid, kind, bytes, flows = 1, limitS = 15 }) {
    const load = [program("tcp_load"), kind, "10.0.2.2", String(this.#port), String(bytes)];
    const inside = ["nsenter", `--net=/proc/${pid}/ns/net`, ...load, String(flows)];
    return parse(await run("timeout", [String(limitS), ...inside]));
  }

  /**
   * A checked transfer by a guest: "down", "up" or "half".
   * @param {object} what
   * @param {string} what.kind
   * @param {number} what.bytes  of each flow
   * @param {number} [what.flows]
   * @param {string[]} [what.options]  of tunnel_peer
   * @param {boolean} [what.sha256]  true: both ends hash, too
   * @param {string} [what.host]
   * @param {number} [what.port]
   */
  async transfer({ options = [], ...what }) {
    return parse(await this.guest(this.load(what), options));
  }

  /** The same as a command, to be run in a guest. @returns {string[]} */
  load({ kind, bytes, flows = 1, sha256 = false, host = SITE, port = SITE_PORT }) {
    const numbers = [port, bytes, flows].map(String);
    return [program("tcp_load"), kind, host, ...numbers, sha256 ? "sha256" : "plain"];
  }

  /** The same without proxy, over loopback: the limit. */
  async raw({ kind, bytes, flows = 1 }) {
    const args = [kind, "127.0.0.1", String(this.#port), String(bytes), String(flows)];
    return parse(await run(program("tcp_load"), args));
  }

  /** False when the system lets nobody make a tap in a namespace. */
  async isPossible() {
    return (await this.guest(["true"])).status !== EXIT_SKIP;
  }

  async close() {
    for (const guest of this.#held) {
      guest.stdin.destroy(); // its program ends by that
      guest.kill("SIGKILL");
    }
    await this.proxy?.stop();
    this.#server.stdin.end();
  }
}
