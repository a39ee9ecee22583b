// Where the tunnel goes and what it offers there (spec/l2-tunnel.md §2.1, §9.2, §9.4), and the
// owner of the WebSocket under back-pressure (§9.1).
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, test } from "node:test";

import { TunnelSocket } from "../../wasm-glue/src/socket.js";
import { clientOptions, TunnelClient } from "../../wasm-glue/src/tunnel.js";
import { bootstrap, publicUrl, tunnelEndpoint } from "../../wasm-glue/src/url.js";

describe("§9.2: URL and credential placement", () => {
  for (const [base, credential, url] of [
    ["https://gw.example", {}, "wss://gw.example/l2"],
    ["http://gw.example/aero/", {}, "ws://gw.example/aero/l2"],
    ["wss://gw.example/eth?x=1", {}, "wss://gw.example/eth?x=1"],
    ["https://gw.example/?token=old&apiKey=old", { token: "new" }, "wss://gw.example/l2?token=new"],
    [
      "https://gw.example/?token=old&apiKey=old",
      { token: "new", tokenTransport: "subprotocol" },
      "wss://gw.example/l2",
    ],
    // not in the table
    ["ws://gw.example/l2/", {}, "ws://gw.example/l2"],
    ["ws://gw.example/eth/?x=1", {}, "ws://gw.example/eth?x=1"],
    ["ws://gw.example/xl2", {}, "ws://gw.example/xl2/l2"],
    ["ws://gw.example/l2#part", {}, "ws://gw.example/l2"],
    ["ws://gw.example/?token=kept&apiKey=kept", {}, "ws://gw.example/l2?token=kept&apiKey=kept"],
    ["ws://gw.example/l2?x=1", { token: "a b+c&d" }, "ws://gw.example/l2?x=1&token=a%20b%2Bc%26d"],
    ["ws://[::1]:8080", {}, "ws://[::1]:8080/l2"],
  ])
    test(`${base} ${JSON.stringify(credential)}`, () => {
      assert.equal(tunnelEndpoint(base, credential).url, url);
    });

  test("the offer has two entries for subprotocol and both", () => {
    const offer = (tokenTransport) =>
      tunnelEndpoint("ws://gw.example", { token: "s3cr3t", tokenTransport });
    assert.deepEqual(offer("query").protocols, ["aero-l2-tunnel-v1"]);
    const two = ["aero-l2-tunnel-v1", "aero-l2-token.s3cr3t"];
    assert.deepEqual(offer("subprotocol").protocols, two);
    assert.deepEqual(offer("both"), { url: "ws://gw.example/l2?token=s3cr3t", protocols: two });
  });

  test("§2.1: a token outside tchar cannot be a subprotocol", () => {
    for (const token of ["a b", "a,b", 'a"b', "a/b", "a=b", "ä"]) {
      for (const tokenTransport of ["subprotocol", "both"])
        assert.throws(
          () => tunnelEndpoint("ws://gw.example", { token, tokenTransport }),
          RangeError,
        );
      tunnelEndpoint("ws://gw.example", { token });
    }
    tunnelEndpoint("ws://gw.example", { token: "!#$%&'*+-.^_`|~aZ09", tokenTransport: "both" });
  });

  test("a relative URL is resolved against the page", () => {
    globalThis.location = { href: "https://page.example/app/index.html?q" };
    try {
      assert.equal(tunnelEndpoint("/l2").url, "wss://page.example/l2");
      assert.equal(tunnelEndpoint("net").url, "wss://page.example/app/net/l2");
    } finally {
      delete globalThis.location;
    }
  });

  test("§11: messages never carry the token", () => {
    assert.equal(
      publicUrl("wss://user:pw@gw.example:81/l2?token=s3cr3t"),
      "wss://gw.example:81/l2",
    );
  });
});

describe("§9.4: session bootstrap", () => {
  async function gateway(answer) {
    const seen = [];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (part) => {
        body += part;
      });
      request.on("end", () => {
        seen.push(`${request.method} ${request.url} ${request.headers["content-type"]} ${body}`);
        answer(response);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const origin = `http://127.0.0.1:${server.address().port}`;
    return { origin, seen, stop: () => server.close() };
  }
  const json = (value) => (response) => response.end(JSON.stringify(value));

  for (const [path, asked, named, found] of [
    ["", "/session", undefined, "/l2"],
    ["/aero/", "/aero/session", undefined, "/aero/l2"],
    ["/aero/l2", "/aero/session", undefined, "/aero/l2"],
    ["/aero/eth?token=x", "/aero/session", undefined, "/aero/l2"],
    ["/aero", "/aero/session", "/aero/l2", "/aero/l2"],
    ["/aero", "/aero/session", "/tunnel/l2", "/aero/tunnel/l2"],
    ["/aero", "/aero/session", "wss://other.example/l2", "wss://other.example/l2"],
  ])
    test(`${path || "/"} names ${named}`, async () => {
      const g = await gateway(json({ endpoints: { l2: named } }));
      const { url } = await bootstrap(g.origin.replace("http", "ws") + path);
      assert.equal(url, found.startsWith("/") ? g.origin + found : found);
      assert.deepEqual(g.seen, [`POST ${asked} application/json {}`]);
      g.stop();
    });

  test("positive whole limits are taken, others are not", async () => {
    const limits = { l2: { maxFramePayloadBytes: 9000, maxControlPayloadBytes: -1 } };
    const g = await gateway(json({ limits }));
    const { maxFrameSize, maxControlSize } = await bootstrap(g.origin);
    assert.deepEqual([maxFrameSize, maxControlSize], [9000, undefined]);
    g.stop();
  });

  for (const [what, answer, reason] of [
    ["not 2xx", (response) => response.writeHead(401).end(), /HTTP 401/],
    ["no JSON", (response) => response.end("<html>"), /JSON/],
    ["more than 1 MiB", (response) => response.end(" ".repeat((1 << 20) + 1)), /too long/],
  ])
    test(`it fails on ${what}`, async () => {
      const g = await gateway(answer);
      await assert.rejects(bootstrap(g.origin), reason);
      g.stop();
    });
});

describe("the owner of the WebSocket", () => {
  class FakeWebSocket {
    static last;
    sent = [];
    bufferedAmount = 0;
    protocol = "aero-l2-tunnel-v1";
    closes = [];
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      FakeWebSocket.last = this;
    }
    send(view) {
      this.sent.push(Buffer.from(view).toString("hex"));
    }
    close(code) {
      this.closes.push(code);
    }
  }

  async function open(change = {}, beforeOpen = (_client) => {}) {
    const later = [];
    const events = [];
    const timers = {
      now: () => 1000,
      setTimeout: (fn, ms) => later.push({ fn, ms }),
      clearTimeout: () => {},
      random: () => 0.5,
    };
    const note = (name) => (value) => events.push([name, value]);
    const client = await TunnelClient.create(clientOptions({ extensions: false }));
    const socket = new TunnelSocket({
      endpoint: tunnelEndpoint("ws://gw.example"),
      client,
      WebSocket: FakeWebSocket,
      timers,
      maxBufferedAmount: 1000,
      on: {
        open: note("open"),
        frame: (frame) => events.push(["frame", Buffer.from(frame).toString("hex")]),
        frames: note("frames"),
        pong: note("pong"),
        error: (error) => events.push(["error", error.message]),
        close: note("close"),
      },
    });
    socket.connect();
    const ws = Object.assign(FakeWebSocket.last, change);
    beforeOpen(client);
    ws.onopen();
    return { socket, ws, client, later, events };
  }

  const frame = Uint8Array.of(1, 2, 3);
  const wire = "a2030000010203";

  test("§9.1: strictly above maxBufferedAmount it stops, and retries every 10 ms", async () => {
    const { socket, ws, client, later } = await open();
    client.sendFrame(frame);
    ws.bufferedAmount = 1000; // not above it
    socket.flush();
    assert.deepEqual(ws.sent, [wire]);
    ws.bufferedAmount = 1001;
    client.sendFrame(frame);
    socket.flush();
    socket.flush();
    assert.equal(ws.sent.length, 1);
    assert.equal(socket.congested, true);
    const retries = later.filter(({ ms }) => ms === 10);
    assert.equal(retries.length, 1);
    ws.bufferedAmount = 0;
    retries[0].fn();
    assert.deepEqual(ws.sent, [wire, wire]);
  });

  test("§9.3: frames queued before open are sent on open", async () => {
    let accepted = false;
    const { ws } = await open({}, (client) => {
      accepted = client.sendFrame(frame);
    });
    assert.equal(accepted, true);
    assert.deepEqual(ws.sent, [wire]);
  });

  test("§9.3: a transport that fails to send is an error and a close", async () => {
    const { socket, ws, client, events } = await open();
    ws.send = () => {
      throw new Error("gone");
    };
    client.sendFrame(frame);
    socket.flush();
    assert.deepEqual(
      events.slice(1).map(([name]) => name),
      ["error", "close"],
    );
    assert.equal(client.sendFrame(frame), false);
  });

  test("§6: text is dropped silently, binary of every kind is decoded", async () => {
    const { ws, events } = await open();
    const bytes = Uint8Array.from(Buffer.from(wire, "hex"));
    ws.onmessage({ data: "text" });
    assert.deepEqual(events, [["open", undefined]]);
    ws.onmessage({ data: bytes.buffer });
    ws.onmessage({ data: Buffer.from(bytes) });
    assert.deepEqual(
      events.filter(([name]) => name === "frame"),
      [
        ["frame", "010203"],
        ["frame", "010203"],
      ],
    );
  });

  test("§2: another subprotocol closes with 1002 and never opens", async () => {
    for (const protocol of ["", "aero-l2-tunnel-v2", "AERO-L2-TUNNEL-V1"]) {
      const { ws, events } = await open({ protocol });
      assert.deepEqual(ws.closes, [1002]);
      assert.ok(!events.some(([name]) => name === "open"));
      assert.deepEqual(events[0], ["error", "the server did not select aero-l2-tunnel-v1"]);
      assert.equal(events.filter(([name]) => name === "close").length, 1);
    }
  });

  test("a message above every limit is an error, not a crash", async () => {
    const { ws, events } = await open();
    const huge = new Uint8Array(600000);
    huge.set(Buffer.from("a2030000", "hex"));
    ws.onmessage({ data: huge.buffer });
    assert.deepEqual(events[1], ["error", "the proxy sent a message that cannot be decoded"]);
    ws.onmessage({ data: Uint8Array.from(Buffer.from(wire, "hex")).buffer });
    assert.ok(events.some(([name]) => name === "frame"));
  });
});
