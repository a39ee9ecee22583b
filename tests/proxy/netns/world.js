// The proxy, real servers and Linux guests, all in the network namespace that `space` made.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PeerWorld } from "../../support/tunnel-peer.js";
import { inspect, whyNot as whyNoExpert } from "./expert.js";

export const MB = 1_000_000;
/** What `space` puts on the loopback. */
export const site = {
  address: "203.0.113.10",
  address6: "2001:db8:1::10",
  noRoute: "203.0.113.66",
  hole: "203.0.113.67",
};

const CAPTURE_FRAMES = 2000; // of each guest
const GUEST = fileURLToPath(new URL("guest.js", import.meta.url));

export const isLong = process.env.AERO_NETNS_LONG === "1";

const here = Object.values(networkInterfaces())
  .flat()
  .map((each) => each.address);
const notHere = here.includes(site.address) ? false : "run it by netns/space";
/** Why no namespace is here, or false. */
export const whyNotHere = process.env.AERO_NO_SPACE ?? notHere;
export const hasIpv6 = here.includes(site.address6);
const anywhere = hasIpv6 ? "::" : "0.0.0.0";

/** node:test's test(), skipped with its reason where there are no namespaces. */
export const netnsTest = (name, body) => test(name, { skip: whyNotHere }, body);

/** Waits until `look` gives something true; an event would do, but nothing sends one. */
export async function until(what, look, limitMs = 60_000) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A stream of `bytes` that differs at every place, and its digest. */
export function stream(bytes) {
  const data = Buffer.alloc(bytes);
  let word = 0x2545f491;
  for (let at = 0; at + 4 <= bytes; at += 4) {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    data.writeInt32LE(word, at);
  }
  return { data, sha256: sha256(data) };
}

export const sha256 = (data) => createHash("sha256").update(data).digest("hex");

export class World extends PeerWorld {
  captures = [];
  #folder = mkdtempSync(join(tmpdir(), "aero-netns-"));
  #servers = [];

  #capturing(options) {
    const file = join(this.#folder, `${this.captures.length}.pcap`);
    this.captures.push(file);
    return ["--capture", file, "--capture-frames", String(CAPTURE_FRAMES), ...options];
  }

  guest(command, options = []) {
    return super.guest(command, this.#capturing(options));
  }

  hold(command, options = []) {
    return super.hold(command, this.#capturing(options));
  }

  /** guest.js as a command. @param {(string | number)[]} words */
  program(words) {
    return [process.execPath, GUEST, ...words.map(String)];
  }

  /** guest.js in a new guest, until it has said its last. @param {string[]} words */
  async run(words, options = []) {
    const result = await this.guest(this.program(words), options);
    const line = result.output.split("\n").findLast((text) => text.startsWith("{"));
    if (!line) throw new Error(`guest.js ${words.join(" ")}: ${result.output}`);
    return JSON.parse(line);
  }

  /** guest.js in a new guest that is talked to. @param {string[]} words */
  talk(words, options = []) {
    return this.hold(this.program(words), options);
  }

  /** A TCP server at the site. @param {(socket: import("node:net").Socket) => void} handler */
  async serve(handler, options = {}) {
    const server = createServer({ allowHalfOpen: true, ...options }, (socket) => {
      socket.on("error", () => {}); // resets are part of these tests
      handler(socket);
    });
    server.listen(0, anywhere);
    await once(server, "listening");
    this.#servers.push(server);
    return server.address().port;
  }

  async metric(name) {
    return (await this.proxy.metrics()).get(name);
  }

  /** The proxy's memory now, and at its most. */
  memory() {
    const status = readFileSync(`/proc/${this.proxy.pid}/status`, "utf8");
    const bytes = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1]) * 1024;
    return { now: bytes("VmRSS"), most: bytes("VmHWM") };
  }

  async close() {
    for (const server of this.#servers) server.close();
    await super.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** @param {Record<string, string>} settings  more of the proxy */
export const openWorld = (settings = {}) =>
  World.open({ AERO_L2_ALLOW_PRIVATE_IPS: "1", ...settings }, anywhere);

/**
 * The world of one test file: opened before its tests and closed after them; at the end its
 * captures are shown to tshark.
 * @param {Record<string, string>} settings  more of the proxy
 */
export function useWorld(settings = {}) {
  const holder = { /** @type {World} */ world: null };
  before(async () => {
    if (!whyNotHere) holder.world = await openWorld(settings);
  });
  after(() => holder.world?.close());
  return holder;
}

/** Nothing is wrong with what the proxy sent in this world so far. */
export function assertNoFaults(world) {
  if (whyNoExpert) return;
  const { frames, faults } = inspect(world.captures);
  assert.deepEqual(faults, []);
  assert.ok(frames > 0, "the captures hold no frame of the proxy");
}

/** To be called behind a file's last test. */
export function expertTest(holder) {
  const skip = whyNotHere || whyNoExpert || false;
  test("tshark finds no bad checksum and nothing malformed from the proxy", { skip }, () =>
    assertNoFaults(holder.world),
  );
}
