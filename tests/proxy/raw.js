// A WebSocket client that can do everything wrong: raw sockets, hand-made requests and frames.
import { once } from "node:events";
import { connect } from "node:net";

export const OPEN = { AERO_L2_OPEN: "1", AERO_L2_INSECURE_ALLOW_NO_AUTH: "1" };
export const SUBPROTOCOL = "aero-l2-tunnel-v1";
export const KEY = "dGhlIHNhbXBsZSBub25jZQ=="; // RFC 6455 §1.3
const WAIT_MS = 20_000;

/** @template T @param {Promise<T>} promise @param {string} what @returns {Promise<T>} */
export function within(promise, what, ms = WAIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A TCP connection to the proxy. */
export async function dial(proxy) {
  const { hostname, port } = new URL(proxy.url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  socket.on("error", () => {}); // a reset is one of the endings looked for
  await within(once(socket, "connect"), "connection");
  return socket;
}

/** Everything the proxy sends until it closes. */
export async function readAll(socket) {
  const chunks = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await within(once(socket, "close"), "close");
  return Buffer.concat(chunks);
}

function parseHead(text) {
  const [line, ...lines] = text.split("\r\n");
  const headers = new Map(
    lines.map((each) => {
      const colon = each.indexOf(":");
      return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(line.split(" ")[1]), headers };
}

/** Sends a request as written and returns the whole answer. */
export async function exchange(proxy, text) {
  const socket = await dial(proxy);
  const all = readAll(socket);
  socket.end(text);
  const answer = (await all).toString("latin1");
  const cut = answer.indexOf("\r\n\r\n");
  return { ...parseHead(answer.slice(0, cut)), body: answer.slice(cut + 4) };
}

/** An upgrade request; `change` replaces headers by name, null drops one, an array repeats it. */
export function upgradeRequest(change = {}, target = "/l2", method = "GET") {
  const headers = {
    Host: "proxy.example",
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
    ...change,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value])
      .filter((each) => each !== null)
      .map((each) => `${name}: ${each}\r\n`),
  );
  return `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** One masked frame. */
export function frame(
  opcode,
  payload = Buffer.alloc(0),
  { fin = true, rsv = 0, masked = true, lengthBytes } = {},
) {
  const bytes = Buffer.from(payload);
  const extra = lengthBytes ?? (bytes.length < 126 ? 0 : bytes.length < 65536 ? 2 : 8);
  const head = Buffer.alloc(2 + extra);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (extra === 0 ? bytes.length : extra === 2 ? 126 : 127);
  if (extra === 2) head.writeUInt16BE(bytes.length, 2);
  if (extra === 8) head.writeBigUInt64BE(BigInt(bytes.length), 2);
  if (!masked) return Buffer.concat([head, bytes]);
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  return Buffer.concat([head, mask, bytes.map((byte, i) => byte ^ mask[i & 3])]);
}

export const binary = (hex, options) =>
  frame(2, Buffer.from(hex.replaceAll(" ", ""), "hex"), options);

/** A tunnel whose frames are written and read byte by byte. */
export class RawTunnel {
  #buffer = Buffer.alloc(0);
  #frames = [];
  #wake = () => {};
  ended = false;

  static async open(proxy, change = {}, target = "/l2", extra = Buffer.alloc(0)) {
    const tunnel = new RawTunnel();
    tunnel.socket = await dial(proxy);
    tunnel.socket.write(Buffer.concat([Buffer.from(upgradeRequest(change, target)), extra]));
    await within(
      new Promise((resolve, reject) => {
        const onData = (chunk) => {
          tunnel.#buffer = Buffer.concat([tunnel.#buffer, chunk]);
          const cut = tunnel.#buffer.indexOf("\r\n\r\n");
          if (cut < 0) return;
          tunnel.socket.off("data", onData);
          tunnel.head = parseHead(tunnel.#buffer.subarray(0, cut).toString("latin1"));
          tunnel.#buffer = tunnel.#buffer.subarray(cut + 4);
          if (tunnel.head.status === 101) resolve();
          else reject(new Error(`HTTP ${tunnel.head.status}`));
        };
        tunnel.socket.on("data", onData);
        tunnel.socket.once("close", () => reject(new Error("closed before an answer")));
      }),
      "answer to the upgrade",
    );
    tunnel.socket.on("data", (chunk) => {
      tunnel.#buffer = Buffer.concat([tunnel.#buffer, chunk]);
      tunnel.#parse();
    });
    const end = () => {
      tunnel.ended = true;
      tunnel.#wake();
    };
    tunnel.socket.once("end", end);
    tunnel.socket.once("close", end);
    tunnel.#parse();
    return tunnel;
  }

  #parse() {
    for (;;) {
      const buffer = this.#buffer;
      if (buffer.length < 2) break;
      let bytes = buffer[1] & 0x7f;
      let at = 2;
      if (bytes === 126) {
        if (buffer.length < 4) break;
        bytes = buffer.readUInt16BE(2);
        if (bytes < 126) throw new Error("length not minimal");
        at = 4;
      } else if (bytes === 127) {
        if (buffer.length < 10) break;
        bytes = Number(buffer.readBigUInt64BE(2));
        if (bytes < 65536) throw new Error("length not minimal");
        at = 10;
      }
      if (buffer[1] & 0x80) throw new Error("the server masked a frame");
      if (buffer.length < at + bytes) break;
      this.#frames.push({
        fin: (buffer[0] & 0x80) !== 0,
        opcode: buffer[0] & 0x0f,
        payload: Buffer.from(buffer.subarray(at, at + bytes)),
      });
      this.#buffer = buffer.subarray(at + bytes);
    }
    this.#wake();
  }

  send(...frames) {
    this.socket.write(Buffer.concat(frames));
  }

  /** The next frame, or null once the proxy has ended its half. */
  async next(ms = WAIT_MS) {
    while (this.#frames.length === 0) {
      if (this.ended) return null;
      await within(
        new Promise((resolve) => {
          this.#wake = resolve;
        }),
        "frame",
        ms,
      );
    }
    return this.#frames.shift();
  }

  /** Hex of the next binary message. */
  async message() {
    const next = await this.next();
    if (next?.opcode !== 2) throw new Error(`expected a message, got ${JSON.stringify(next)}`);
    return next.payload.toString("hex");
  }

  /** Skips what comes before the close frame; returns its code and reason. */
  async closed() {
    const before = [];
    for (;;) {
      const next = await this.next();
      if (next === null) return { code: null, reason: "", before };
      if (next.opcode !== 8) {
        before.push(next.payload.toString("hex"));
        continue;
      }
      const { payload } = next;
      return {
        code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005,
        reason: payload.subarray(2).toString("utf8"),
        before,
      };
    }
  }

  /** Waits for the proxy to drop the connection. */
  async dropped() {
    if (!this.socket.destroyed && !this.ended)
      await within(
        new Promise((resolve) => {
          this.#wake = resolve;
          if (this.ended) resolve();
        }),
        "end of the connection",
      );
  }

  destroy() {
    this.socket.destroy();
  }
}

export const errorMessage = (code, text) => {
  const bytes = Buffer.from(text);
  const head = Buffer.from([0xa2, 3, 0x7f, 0, code >> 8, code & 255, 0, bytes.length]);
  return Buffer.concat([head, bytes]).toString("hex");
};
