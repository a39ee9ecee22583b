// SUPER over real sockets: spec/l2-extensions.md §6.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { ProxyProcess } from "../support/proxy.js";
import { ACK, ANNOUNCE, FIN, message, parse, SYN, segment } from "./guest-tcp.js";
import { binary, errorMessage, frame, OPEN, RawTunnel } from "./raw.js";

const HELLO = "a2031000 01000005 0104 0001000e 0204 00040000"; // BATCH, SUPER
const MSS = 1460;

/** A SUPER message. */
const superMessage = (gso, bytes) =>
  frame(
    2,
    Buffer.concat([Buffer.from(`a2031200${gso.toString(16).padStart(4, "0")}`, "hex"), bytes]),
  );

/** A tunnel with an open connection to `answer`, a function of the server's socket. */
async function connected(answer, { hello = HELLO, environment = {} } = {}) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {}); // the guest leaves without a farewell
    answer(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = await ProxyProcess.start({
    ...OPEN,
    AERO_L2_TCP_FORWARD: `203.0.113.10:80=127.0.0.1:${server.address().port}`,
    ...environment,
  });
  const tunnel = await RawTunnel.open(proxy);
  tunnel.send(binary(hello));
  await tunnel.message();
  tunnel.send(binary(`a2030000 ${ANNOUNCE} 000000000000 0a00020f`));

  /** The next segment, with the type and gso_size it came in; entries of a BATCH one by one. */
  const waiting = [];
  const next = async () => {
    while (waiting.length === 0) {
      const wire = Buffer.from(await tunnel.message(), "hex");
      if (wire[2] === 0x11)
        for (let at = 4; at < wire.length; at += 2 + wire.readUInt16BE(at))
          waiting.push({ gso: 0, bytes: wire.subarray(at + 2, at + 2 + wire.readUInt16BE(at)) });
      else if (wire[2] === 0x12)
        waiting.push({ gso: wire.readUInt16BE(4), bytes: wire.subarray(6) });
      else waiting.push({ gso: 0, bytes: wire.subarray(4) });
      for (let i = 0; i < waiting.length; i++)
        if (waiting[i].bytes.readUInt16BE(12) !== 0x0800) waiting.splice(i--, 1); // ARP
    }
    const { gso, bytes } = waiting.shift();
    assert.equal(bytes.length, 14 + bytes.readUInt16BE(16));
    return { ...parse(bytes), gso };
  };

  tunnel.send(message(segment(SYN, 1000, 0, { options: "020405b4" })));
  const answered = await next();
  assert.equal(answered.flags, SYN | ACK);
  const seq = (answered.seq + 1) >>> 0;
  tunnel.send(message(segment(ACK, 1001, seq)));
  const close = async () => {
    tunnel.destroy();
    assert.equal(await proxy.stop(), 0, proxy.output);
    assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
    server.close();
  };
  return { proxy, tunnel, next, seq, close };
}

async function download(environment) {
  const page = randomBytes(3_000_000);
  const { proxy, tunnel, next, seq, close } = await connected((socket) => socket.end(page), {
    environment,
  });
  const hash = createHash("sha256");
  let expected = seq;
  let supers = 0;
  let longest = 0;
  for (let ended = false; !ended; ) {
    const segmentIn = await next();
    const { gso, flags } = segmentIn;
    let { data } = segmentIn;
    if (gso !== 0) {
      assert.equal(gso, MSS);
      assert.ok(data.length > MSS);
      supers++;
      longest = Math.max(longest, data.length);
    } else {
      assert.ok(data.length <= MSS);
    }
    // Every seventh is cut in the card, which has room for half of it.
    const lost = supers % 7 === 6 && gso !== 0;
    if (lost) data = data.subarray(0, Math.floor(data.length / 2));
    if (segmentIn.seq === expected) {
      hash.update(data);
      ended = (flags & FIN) !== 0 && !lost;
      expected = (expected + data.length + (ended ? 1 : 0)) >>> 0;
    }
    tunnel.send(message(segment(ACK, 1001, expected)));
  }
  assert.equal(hash.digest("hex"), createHash("sha256").update(page).digest("hex"));
  assert.ok(longest >= 30 * MSS, `the longest had ${longest} bytes`);
  const metrics = await proxy.metrics();
  assert.equal(metrics.get("l2_super_frames_tx_total"), supers);
  await close();
}

test("§6: a download comes in super-frames; a guest that loses their tails gets it whole", () =>
  download({}));

test("§6: a super-frame fits the shortest outbound queue", () =>
  download({ AERO_L2_WS_SEND_BUFFER: "1" }));

test("§6: an upload in super-frames, checksums and all, arrives", async () => {
  const parts = Array.from({ length: 40 }, () => randomBytes(50_000));
  const got = createHash("sha256");
  let total = 0;
  let done;
  const promise = new Promise((resolve) => {
    done = resolve;
  });
  const { proxy, tunnel, next, seq, close } = await connected((socket) => {
    socket.on("data", (data) => {
      got.update(data);
      total += data.length;
    });
    socket.on("end", () => {
      done();
      socket.end();
    });
  });
  let at = 1001;
  for (const [i, part] of parts.entries()) {
    const last = i + 1 === parts.length;
    const bytes = segment(ACK | (last ? FIN : 0), at, seq, { payload: part });
    bytes[14 + 20 + 16] ^= 0xff; // the TCP checksum
    tunnel.send(superMessage(MSS, bytes));
    at = (at + part.length + (last ? 1 : 0)) >>> 0;
    for (let acked = false; !acked; ) acked = (await next()).tcp.readUInt32BE(8) === at;
  }
  await promise;
  assert.equal(total, 2_000_000);
  const sent = createHash("sha256").update(Buffer.concat(parts)).digest("hex");
  assert.equal(got.digest("hex"), sent);
  const metrics = await proxy.metrics();
  assert.equal(metrics.get("l2_super_frames_rx_total"), parts.length);
  assert.equal(metrics.get("l2_guest_bad_checksum_total"), 0);
  await close();
});

const good = segment(ACK, 1, 1, { payload: Buffer.alloc(3000) });
const changed = (at, byte) => {
  const bytes = Buffer.from(good);
  bytes[at] = byte;
  return bytes;
};

for (const [what, gso, bytes] of [
  ["that is UDP", MSS, changed(23, 17)],
  ["cut short", MSS, good.subarray(0, 100)],
  ["with a gso_size of 0", 0, good],
  ["with a gso_size of 65496", 65496, good],
  ["of 1 byte", MSS, Buffer.alloc(1)],
])
  test(`§6: a super-frame ${what} is a violation`, async () => {
    const proxy = await ProxyProcess.start(OPEN);
    const tunnel = await RawTunnel.open(proxy);
    tunnel.send(binary(HELLO), superMessage(gso, bytes));
    const { code, reason, before } = await tunnel.closed();
    assert.equal(code, 1008);
    assert.equal(reason, "malformed super-frame");
    assert.equal(before.at(-1), errorMessage(1, reason));
    tunnel.destroy();
    assert.equal(await proxy.stop(), 0);
  });

test("§1: without HELLO, or below an operator's limit, it is an unknown type", async () => {
  for (const [environment, hello] of [
    [{}, null],
    [{ AERO_L2_MAX_FRAME_PAYLOAD: "1600" }, HELLO],
  ]) {
    const proxy = await ProxyProcess.start({ ...OPEN, ...environment });
    const tunnel = await RawTunnel.open(proxy);
    if (hello !== null) {
      tunnel.send(binary(hello));
      assert.match(await tunnel.message(), /^a203100001000001/, "no SUPER");
    }
    tunnel.send(superMessage(MSS, Buffer.alloc(100)), binary("a203010001"));
    assert.equal(await tunnel.message(), "a203020001");
    tunnel.send(superMessage(MSS, good));
    assert.match((await tunnel.closed()).reason, /^(payload too large|message too big)/);
    tunnel.destroy();
    assert.equal(await proxy.stop(), 0);
  }
});

test("§2: quotas count a super-frame as one message, with all its bytes", async () => {
  const proxy = await ProxyProcess.start({ ...OPEN, AERO_L2_MAX_BYTES_PER_CONNECTION: "3100" });
  const tunnel = await RawTunnel.open(proxy);
  tunnel.send(binary(HELLO), superMessage(MSS, good));
  assert.equal((await tunnel.closed()).reason, "byte quota exceeded");
  tunnel.destroy();
  assert.equal(await proxy.stop(), 0);
});
