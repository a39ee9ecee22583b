// HELLO and BATCH over real sockets: spec/l2-extensions.md §1, §2.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ProxyProcess } from "../support/proxy.js";
import { binary, errorMessage, frame, OPEN, RawTunnel } from "./raw.js";

const ARP = Buffer.from(
  "ffffffffffff52540012345608060001080006040001525400123456" + "0a00020f0000000000000a000202",
  "hex",
);
const REPLY =
  "525400123456020000000001080600010800060400020200000000010a0002025254001234560a00020f";
const HELLO = "a2031000 01000001 0104 00000800 0204 00010000"; // BATCH; frames 2048, messages 65536
// BATCH and SUPER; frames of 65550, messages with one of these, MTU 1500.
const ANSWER = /^a20310000100000501040001000e020400010014060205dc$/;

const batch = (...frames) =>
  binary(
    `a2031100${frames
      .map((each) => each.length.toString(16).padStart(4, "0") + each.toString("hex"))
      .join("")}`,
  );

let proxy;
before(async () => {
  proxy = await ProxyProcess.start(OPEN);
});
after(async () => {
  assert.equal(await proxy.stop(), 0, proxy.output);
  assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
});

async function withTunnel(story) {
  const tunnel = await RawTunnel.open(proxy);
  try {
    await story(tunnel);
  } finally {
    tunnel.destroy();
  }
}

/** Frames of a FRAME or BATCH message. */
function framesOf(message) {
  const bytes = Buffer.from(message, "hex");
  if (bytes[2] === 0) return [message.slice(8)];
  assert.equal(bytes[2], 0x11);
  const frames = [];
  for (let at = 4; at < bytes.length; ) {
    const length = bytes.readUInt16BE(at);
    frames.push(bytes.subarray(at + 2, at + 2 + length).toString("hex"));
    at += 2 + length;
  }
  return frames;
}

test("§1: HELLO is answered before the first FRAME, and never sent unasked", () =>
  withTunnel(async (tunnel) => {
    tunnel.send(binary(HELLO), binary(`a2030000${ARP.toString("hex")}`));
    assert.match(await tunnel.message(), ANSWER);
    assert.deepEqual(framesOf(await tunnel.message()), [REPLY]);
    await withTunnel(async (base) => {
      base.send(binary(`a2030000${ARP.toString("hex")}`));
      assert.equal(await base.message(), `a2030000${REPLY}`);
    });
  }));

test("§2: a BATCH of three is three frames in order; the answers leave in one message", () =>
  withTunnel(async (tunnel) => {
    const before = await proxy.metrics();
    tunnel.send(binary(HELLO));
    assert.match(await tunnel.message(), ANSWER);
    tunnel.send(batch(ARP, ARP, ARP));
    assert.deepEqual(framesOf(await tunnel.message()), [REPLY, REPLY, REPLY]);
    const after = await proxy.metrics();
    const gain = (name) => after.get(name) - before.get(name);
    assert.equal(gain("l2_frames_rx_total"), 3);
    assert.equal(gain("l2_frames_tx_total"), 3);
    assert.equal(gain("l2_batches_rx_total"), 1);
    assert.equal(gain("l2_batches_tx_total"), 1);
  }));

test("§2: a lone frame goes as FRAME, also behind messages that still wait", () =>
  withTunnel(async (tunnel) => {
    tunnel.send(
      binary(HELLO),
      batch(ARP),
      binary("a203010001"),
      batch(ARP),
      frame(9, "x"),
      batch(ARP, ARP),
    );
    assert.match(await tunnel.message(), ANSWER);
    assert.equal(await tunnel.message(), `a2030000${REPLY}`);
    assert.equal(await tunnel.message(), "a203020001");
    assert.equal(await tunnel.message(), `a2030000${REPLY}`);
    assert.equal((await tunnel.next()).opcode, 10);
    assert.deepEqual(framesOf(await tunnel.message()), [REPLY, REPLY]);
  }));

test("§2: more frames than one message holds are split, none is lost", () =>
  withTunnel(async (tunnel) => {
    tunnel.send(binary("a2031000 01000001 0204 00000804")); // messages of 2052 bytes
    assert.match(await tunnel.message(), ANSWER);
    const many = Array.from({ length: 1000 }, () => ARP);
    tunnel.send(batch(...many), batch(ARP));
    let frames = 0;
    while (frames < 1001) {
      const message = await tunnel.message();
      assert.ok(message.length / 2 <= 2052);
      const got = framesOf(message);
      for (const each of got) assert.equal(each, REPLY);
      frames += got.length;
    }
    assert.equal(frames, 1001);
  }));

test("§1: without HELLO a BATCH is an unknown type within the control limit", () =>
  withTunnel(async (tunnel) => {
    tunnel.send(batch(ARP, ARP), binary("a203010001"));
    assert.equal(await tunnel.message(), "a203020001");
    tunnel.send(binary(`a2031100${"00".repeat(300)}`));
    assert.equal((await tunnel.closed()).reason, "payload too large: 300 > 256");
  }));

for (const [what, ...messages] of [
  ["a second HELLO", HELLO, HELLO],
  ["a truncated HELLO", "a2031000 0100"],
  ["a HELLO whose TLV is cut short", "a2031000 01000001 0104 0000"],
])
  test(`§1: ${what} is a violation`, () =>
    withTunnel(async (tunnel) => {
      tunnel.send(...messages.map((each) => binary(each)));
      const { code, reason, before: sent } = await tunnel.closed();
      assert.equal(code, 1008);
      assert.equal(sent.at(-1), errorMessage(1, reason));
    }));

test("§2: an entry above the operator's frame limit spoils the whole BATCH", async () => {
  const strict = await ProxyProcess.start({ ...OPEN, AERO_L2_MAX_FRAME_PAYLOAD: "1600" });
  const tunnel = await RawTunnel.open(strict);
  tunnel.send(binary(HELLO));
  // Below the base limit it is the operator's wish: no long frames for anybody.
  assert.match(await tunnel.message(), /0104000006400204/);
  tunnel.send(binary(`a2031100 002a${ARP.toString("hex")} 0641${"00".repeat(1601)}`));
  const { code, before: sent } = await tunnel.closed();
  assert.equal(code, 1008);
  assert.equal(sent.length, 1, "a frame of it was delivered");
  tunnel.destroy();
  assert.equal(await strict.stop(), 0);
});

for (const [what, hex] of [
  ["an entry of length 0", `a2031100 002a${ARP.toString("hex")} 0000`],
  ["an entry that is cut short", `a2031100 002a${ARP.toString("hex")} 0003 aabb`],
  ["a stray byte at the end", `a2031100 002a${ARP.toString("hex")} 00`],
])
  test(`§2: ${what} spoils the whole BATCH`, () =>
    withTunnel(async (tunnel) => {
      tunnel.send(binary(HELLO));
      await tunnel.message();
      tunnel.send(binary(hex));
      const { code, before: sent } = await tunnel.closed();
      assert.equal(code, 1008);
      assert.equal(sent.length, 1, "a frame of it was delivered");
    }));

test("§1: the cap rises to tag 2 for this connection only", () =>
  withTunnel(async (tunnel) => {
    tunnel.send(binary(HELLO));
    await tunnel.message();
    tunnel.send(frame(2, Buffer.alloc(65557)));
    assert.equal((await tunnel.closed()).code, 1009);
    await withTunnel(async (base) => {
      base.send(frame(2, Buffer.alloc(2053)));
      assert.equal((await base.closed()).code, 1009);
    });
  }));

test("§2: the message rate counts each frame of a BATCH", async () => {
  const limited = await ProxyProcess.start({ ...OPEN, AERO_L2_MAX_FRAMES_PER_SECOND: "3" });
  const tunnel = await RawTunnel.open(limited);
  tunnel.send(binary(HELLO));
  await tunnel.message();
  tunnel.send(batch(ARP, ARP, ARP));
  assert.equal((await tunnel.closed()).reason, "frame rate quota exceeded");
  tunnel.destroy();
  assert.equal(await limited.stop(), 0);
});
