// The tunnel's session: spec/l2-tunnel.md §3-§8 and spec/l2-proxy.md §4, over real sockets.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ProxyProcess } from "../support/proxy.js";
import { binary, errorMessage, frame, OPEN, RawTunnel } from "./raw.js";

const ARP_REQUEST =
  "a2030000 ffffffffffff 525400123456 0806 0001080006040001 525400123456 0a00020f 000000000000 0a000202";
const ARP_REPLY =
  "a2030000525400123456020000000001080600010800060400020200000000010a0002025254001234560a00020f";
const PING = "a203010001020304";
const PONG = "a203020001020304";

/** Runs `story` against a fresh proxy. */
async function withProxy(environment, story) {
  const proxy = await ProxyProcess.start({ ...OPEN, ...environment });
  try {
    await story(proxy);
  } finally {
    assert.equal(await proxy.stop(), 0, proxy.output);
    assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
  }
}

describe("one proxy with default limits", () => {
  let proxy;
  before(async () => {
    proxy = await ProxyProcess.start({ ...OPEN });
  });
  after(async () => {
    assert.equal(await proxy.stop(), 0, proxy.output);
    assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
  });

  /** Opens a tunnel, lets `story` use it, destroys it. */
  async function withTunnel(story) {
    const tunnel = await RawTunnel.open(proxy);
    try {
      await story(tunnel);
    } finally {
      tunnel.destroy();
    }
  }

  test("§3.1: a frame reaches the LAN and its answer comes back", () =>
    withTunnel(async (tunnel) => {
      tunnel.send(binary(ARP_REQUEST));
      assert.equal(await tunnel.message(), ARP_REPLY);
    }));

  test("frames that come with the request head are not lost", async () => {
    const tunnel = await RawTunnel.open(
      proxy,
      {},
      "/l2",
      Buffer.concat([binary(PING), binary(ARP_REQUEST)]),
    );
    assert.equal(await tunnel.message(), PONG);
    assert.equal(await tunnel.message(), ARP_REPLY);
    tunnel.destroy();
  });

  test("frames arrive however TCP cuts them: byte by byte", () =>
    withTunnel(async (tunnel) => {
      tunnel.socket.setNoDelay(true);
      for (const byte of Buffer.concat([binary(PING), binary(ARP_REQUEST)])) {
        tunnel.send(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      assert.equal(await tunnel.message(), PONG);
      assert.equal(await tunnel.message(), ARP_REPLY);
    }));

  test("§8: PONG repeats the payload of PING, empty ones too", () =>
    withTunnel(async (tunnel) => {
      tunnel.send(binary("a2030100"), binary(PING), binary(`a2030100${"5a".repeat(256)}`));
      assert.equal(await tunnel.message(), "a2030200");
      assert.equal(await tunnel.message(), PONG);
      assert.equal(await tunnel.message(), `a2030200${"5a".repeat(256)}`);
    }));

  test("§6: unknown types, ERROR, text and non-zero flags leave the tunnel open", () =>
    withTunnel(async (tunnel) => {
      tunnel.send(
        binary("a2033300ffff"),
        binary("a2037f000001000161"),
        binary("a2030000"),
        frame(1, Buffer.from("hällo")),
        binary("a2030155 01020304"),
      );
      assert.equal(await tunnel.message(), PONG);
    }));

  test("RFC 6455 §5.4: fragments with control frames between them are one message", () =>
    withTunnel(async (tunnel) => {
      const bytes = Buffer.from(PING, "hex");
      tunnel.send(
        frame(2, bytes.subarray(0, 3), { fin: false }),
        frame(9, Buffer.from("hi")),
        frame(0, Buffer.alloc(0), { fin: false }),
        frame(0, bytes.subarray(3)),
      );
      assert.deepEqual(await tunnel.next(), { fin: true, opcode: 10, payload: Buffer.from("hi") });
      assert.equal(await tunnel.message(), PONG);
    }));

  const violations = [
    ["a203", "message too short: 2 < 4"],
    ["00030000", "invalid magic: 0x00"],
    ["a2020000", "unsupported version: 0x02"],
    [`a2030100${"00".repeat(257)}`, "payload too large: 257 > 256"],
    ["", "message too short: 0 < 4"],
  ];
  for (const [hex, text] of violations)
    test(`§6: the first violation ends it: ${text}`, () =>
      withTunnel(async (tunnel) => {
        tunnel.send(binary(PING), binary(hex), binary(PING));
        assert.deepEqual(await tunnel.closed(), {
          code: 1008,
          reason: text,
          before: [PONG, errorMessage(1, text)],
        });
      }));

  const byte = Buffer.from("x");
  const failures = [
    [1002, "an unmasked frame", frame(2, byte, { masked: false })],
    [1002, "a reserved bit", frame(2, byte, { rsv: 4 })],
    [1002, "a reserved opcode", frame(3, byte)],
    [1002, "a reserved control opcode", frame(11, byte)],
    [1002, "a fragmented control frame", frame(9, byte, { fin: false })],
    [1002, "a control frame of 126 bytes", frame(9, Buffer.alloc(126))],
    [1002, "a continuation of nothing", frame(0, byte)],
    [
      1002,
      "a message inside a message",
      Buffer.concat([frame(2, byte, { fin: false }), frame(2, byte)]),
    ],
    [1002, "a length that is not minimal", frame(2, byte, { lengthBytes: 2 })],
    [1002, "a close frame of one byte", frame(8, byte)],
    [1002, "close code 1005", frame(8, Buffer.from([3, 237]))],
    [1002, "close code 999", frame(8, Buffer.from([3, 231]))],
    [1007, "a close reason that is not UTF-8", frame(8, Buffer.from([3, 232, 0xff]))],
    [1007, "text that is not UTF-8", frame(1, Buffer.from([0xc0, 0x80]))],
    [1009, "2053 bytes", frame(2, Buffer.alloc(2053))],
    [1009, "only the header of a huge frame", Buffer.from("82ff7fffffffffffffff", "hex")],
    [
      1009,
      "fragments that add up to 2053 bytes",
      Buffer.concat([frame(2, Buffer.alloc(2000), { fin: false }), frame(0, Buffer.alloc(53))]),
    ],
  ];
  for (const [code, what, bytes] of failures)
    test(`RFC 6455: ${what} is answered by ${code}, once, and the connection ends`, () =>
      withTunnel(async (tunnel) => {
        tunnel.send(binary(PING), bytes, binary(PING));
        const closed = await tunnel.closed();
        assert.equal(closed.code, code);
        assert.deepEqual(closed.before, [PONG]);
        assert.equal(await tunnel.next(), null);
      }));

  test("the largest message passes: 2052 bytes", () =>
    withTunnel(async (tunnel) => {
      tunnel.send(binary(`a2030000${"00".repeat(2048)}`), binary(PING));
      assert.equal(await tunnel.message(), PONG);
    }));

  for (const [payload, code] of [
    [Buffer.from([3, 232]), 1000],
    [Buffer.concat([Buffer.from([3, 233]), Buffer.from("leaving")]), 1001],
    [Buffer.from([0x0f, 0xa0]), 4000],
    [Buffer.alloc(0), 1005],
  ])
    test(`RFC 6455 §5.5.1: a client's close ${code} is echoed and the connection ends`, () =>
      withTunnel(async (tunnel) => {
        tunnel.send(frame(8, payload));
        assert.equal((await tunnel.closed()).code, code);
        assert.equal(await tunnel.next(), null);
      }));

  test("a client that vanishes frees its tunnel", async () => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.socket.resetAndDestroy?.() ?? tunnel.socket.destroy();
    for (;;) {
      const metrics = await proxy.metrics();
      if (metrics.get("l2_sessions_active") === 0) break;
    }
  });
});

test("§p4: the byte quota counts both directions and text; ERROR 6, 1008", () =>
  withProxy({ AERO_L2_MAX_BYTES_PER_CONNECTION: "40" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.send(binary(PING), frame(1, Buffer.alloc(16, "a")), binary(PING)); // 8+8, 16, 8: full
    assert.deepEqual(await tunnel.closed(), {
      code: 1008,
      reason: "byte quota exceeded",
      before: [PONG, PONG, "a2037f0000060013627974652071756f7461206578636565646564"],
    });
    assert.equal((await proxy.metrics()).get("l2_sessions_closed_quota_bytes_total"), 1);
    tunnel.destroy();
  }));

test("§p4: the message rate; ERROR 7, 1008", () =>
  withProxy({ AERO_L2_MAX_FRAMES_PER_SECOND: "3" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.send(...Array.from({ length: 4 }, () => binary("a2033300")));
    assert.deepEqual(await tunnel.closed(), {
      code: 1008,
      reason: "frame rate quota exceeded",
      before: ["a2037f00000700196672616d6520726174652071756f7461206578636565646564"],
    });
    assert.equal((await proxy.metrics()).get("l2_sessions_closed_quota_fps_total"), 1);
    tunnel.destroy();
  }));

test("§8: an idle tunnel is closed with 1008, and traffic keeps it open", () =>
  withProxy({ AERO_L2_IDLE_TIMEOUT_MS: "400" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    const begin = Date.now();
    const feed = setInterval(() => tunnel.send(frame(1, Buffer.from("."))), 100);
    setTimeout(() => clearInterval(feed), 600);
    assert.deepEqual(await tunnel.closed(), { code: 1008, reason: "idle timeout", before: [] });
    assert.ok(Date.now() - begin >= 900, "traffic did not count");
    assert.equal((await proxy.metrics()).get("aero_l2_idle_timeouts_total"), 1);
    tunnel.destroy();
  }));

test("§8: the server's PING carries ids from 1 on, and its PONG is an RTT sample", () =>
  withProxy({ AERO_L2_PING_INTERVAL_MS: "50" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    assert.equal(await tunnel.message(), "a20301000000000000000001");
    tunnel.send(binary("a20302000000000000000007"), binary("a20302000000000000000001"));
    assert.equal(await tunnel.message(), "a20301000000000000000002");
    const metrics = await proxy.metrics();
    assert.equal(metrics.get("l2_ping_rtt_ms_count"), 1);
    assert.equal(metrics.get('l2_ping_rtt_ms_bucket{le="+Inf"}'), 1);
    tunnel.destroy();
  }));

test("§8: an unanswered PING is replaced after three intervals", () =>
  withProxy({ AERO_L2_PING_INTERVAL_MS: "100" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    await tunnel.message();
    const begin = Date.now();
    assert.equal(await tunnel.message(), "a20301000000000000000002");
    assert.ok(Date.now() - begin >= 250, "replaced too early");
    tunnel.destroy();
  }));

test("§p4: a client that stops reading is closed for backpressure", () =>
  withProxy({ AERO_L2_WS_SEND_BUFFER: "4" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 200 }, () => binary(`a2030100${"5a".repeat(256)}`)),
    );
    const sink = () => {};
    while (!tunnel.socket.destroyed) {
      const more = tunnel.socket.write(pings, sink);
      if (!more) await new Promise((resolve) => setTimeout(resolve, 5));
      if ((await proxy.metrics()).get("l2_sessions_closed_backpressure_total") === 1) break;
    }
    assert.equal((await proxy.metrics()).get("l2_sessions_closed_backpressure_total"), 1);
    tunnel.destroy();
  }));

test("§p4: a queue of one message loses nothing while the client reads", () =>
  withProxy({ AERO_L2_WS_SEND_BUFFER: "1" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.send(...Array.from({ length: 100 }, () => binary(ARP_REQUEST)), binary(PING));
    for (let i = 0; i < 100; i++) assert.equal(await tunnel.message(), ARP_REPLY);
    assert.equal(await tunnel.message(), PONG);
    const metrics = await proxy.metrics();
    assert.equal(metrics.get("l2_frames_tx_total"), 100);
    assert.equal(metrics.get("l2_bytes_tx_total"), 100 * 42);
    assert.equal(metrics.get("l2_ws_messages_tx_total"), 101);
    tunnel.destroy();
  }));

test("§4: limits are configurable, and so is the transport cap", () =>
  withProxy({ AERO_L2_MAX_FRAME_SIZE: "100", AERO_L2_MAX_CONTROL_PAYLOAD: "8" }, async (proxy) => {
    const tunnel = await RawTunnel.open(proxy);
    tunnel.send(binary(`a2030000${"00".repeat(100)}`), binary("a2030100000102030405060708"));
    const closed = await tunnel.closed();
    assert.equal(closed.reason, "payload too large: 9 > 8");
    assert.deepEqual(closed.before, [errorMessage(1, "payl")]); // §5: cut to the control limit
    const other = await RawTunnel.open(proxy);
    other.send(binary(`a2030000${"00".repeat(101)}`));
    assert.equal((await other.closed()).code, 1009);
    tunnel.destroy();
    other.destroy();
  }));
