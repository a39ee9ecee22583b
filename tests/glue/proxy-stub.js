// The other end of a tunnel on a loopback port: just enough of aero-l2-tunnel-v1 to test the
// client's side (spec/l2-tunnel.md §3, spec/l2-extensions.md §1, §2).
import { once } from "node:events";
import { WebSocketServer } from "ws";

export const Type = Object.freeze({
  FRAME: 0x00,
  PING: 0x01,
  PONG: 0x02,
  HELLO: 0x10,
  BATCH: 0x11,
  SUPER: 0x12,
  ERROR: 0x7f,
});

const SUBPROTOCOL = "aero-l2-tunnel-v1";

export function message(type, payload = Buffer.alloc(0)) {
  return Buffer.concat([Buffer.of(0xa2, 0x03, type, 0), payload]);
}

export function batch(frames) {
  const parts = frames.flatMap((frame) => [
    Buffer.of(frame.length >> 8, frame.length & 0xff),
    frame,
  ]);
  return message(Type.BATCH, Buffer.concat(parts));
}

/** l2-extensions.md §6. @param {number} gsoBytes @param {Buffer} frame */
export function superMessage(gsoBytes, frame) {
  return message(Type.SUPER, Buffer.concat([Buffer.of(gsoBytes >> 8, gsoBytes & 0xff), frame]));
}

function framesOf(wire) {
  if (wire[2] === Type.FRAME) return [wire.subarray(4)];
  const frames = [];
  for (let at = 4; at < wire.length; ) {
    const bytes = wire.readUInt16BE(at);
    frames.push(wire.subarray(at + 2, at + 2 + bytes));
    at += 2 + bytes;
  }
  return frames;
}

// version 1, BATCH, frames <= 2048, messages <= 65536
const HELLO = Buffer.from("010000010104000008000204" + "00010000", "hex");
// the same, BATCH and SUPER, frames <= 65550, messages <= 262144
const SUPER_HELLO = Buffer.from("0100000501040001000e0204" + "00040000", "hex");

export class ProxyStub {
  /** @type {import("ws").WebSocket[]} */ sockets = [];
  requests = [];
  messages = 0;
  /** For a test that keeps what onMessage() gets. @type {Buffer[]} */ wires = [];
  onFrame = (_frame, _socket) => {};
  onMessage = (_wire, _socket) => {};

  /**
   * @param {object} [options]
   * @param {boolean} [options.batches]  answer HELLO
   * @param {boolean} [options.supers]  answer HELLO with SUPER
   * @param {boolean} [options.select]  select the subprotocol
   * @param {number} [options.port]
   */
  static async start({ batches = true, supers = false, select = true, port = 0 } = {}) {
    const stub = new ProxyStub();
    stub.server = new WebSocketServer({
      port,
      host: "127.0.0.1",
      handleProtocols: (offered) => select && offered.has(SUBPROTOCOL) && SUBPROTOCOL,
    });
    stub.server.on("connection", (socket, request) =>
      stub.#accept(socket, request, batches && (supers ? SUPER_HELLO : HELLO)),
    );
    await once(stub.server, "listening");
    stub.port = stub.server.address().port;
    stub.url = `ws://127.0.0.1:${stub.port}`;
    return stub;
  }

  #accept(socket, request, hello) {
    this.sockets.push(socket);
    this.requests.push(request);
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const wire = /** @type {Buffer} */ (data);
      this.messages++;
      this.onMessage(wire, socket);
      if (wire[2] === Type.HELLO && hello) socket.send(message(Type.HELLO, hello));
      if (wire[2] === Type.PING) socket.send(message(Type.PONG, wire.subarray(4)));
      if (wire[2] === Type.FRAME || wire[2] === Type.BATCH)
        for (const frame of framesOf(wire)) this.onFrame(frame, socket);
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The next connection. */
  async connected() {
    await once(this.server, "connection");
    return this.socket;
  }

  async stop() {
    for (const socket of this.sockets) socket.terminate();
    this.server.close();
    await once(this.server, "close");
  }
}
