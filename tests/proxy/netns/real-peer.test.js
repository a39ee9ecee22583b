// A real Linux TCP as the guest of the real proxy: every transfer is compared byte by byte, over
// good and bad legs (l2-proxy.md §6.2).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PeerWorld } from "../../support/tunnel-peer.js";

const MB = 1_000_000;
let world;
let possible;

before(async () => {
  world = await PeerWorld.open();
  possible = await world.isPossible();
});
after(() => world?.close());

const bad = (delayMs, lossPerMille, extra = []) => [
  "--delay-us",
  String(delayMs * 500),
  "--loss",
  String(lossPerMille),
  ...extra,
];

const uncut = ["--super", "1"];

const cases = [
  { name: "100 MB down", kind: "down", bytes: 100 * MB },
  { name: "100 MB up", kind: "up", bytes: 100 * MB },
  { name: "100 flows down", kind: "down", bytes: MB / 5, flows: 100 },
  { name: "100 flows up", kind: "up", bytes: MB / 5, flows: 100 },
  { name: "half-close: 20 MB there, then back", kind: "half", bytes: 20 * MB },
  { name: "50 ms down", kind: "down", bytes: 20 * MB, options: bad(50, 0) },
  { name: "50 ms up", kind: "up", bytes: 20 * MB, options: bad(50, 0) },
  { name: "20 ms, 1 % loss down", kind: "down", bytes: 5 * MB, options: bad(20, 10) },
  { name: "20 ms, 1 % loss up", kind: "up", bytes: 5 * MB, options: bad(20, 10) },
  {
    name: "5 % loss, 5 % reordered, 2 % doubled, half-close",
    kind: "half",
    bytes: MB,
    flows: 3,
    options: bad(10, 50, ["--reorder", "50", "--duplicate", "20"]),
  },
  // l2-extensions.md §6, with a tap that takes TCP uncut.
  { name: "super-frames: 100 MB down", kind: "down", bytes: 100 * MB, options: uncut },
  { name: "super-frames: 100 MB up", kind: "up", bytes: 100 * MB, options: uncut },
  { name: "super-frames: 50 flows down", kind: "down", bytes: MB, flows: 50, options: uncut },
  { name: "super-frames: half-close", kind: "half", bytes: 20 * MB, options: uncut },
  {
    name: "super-frames: 20 ms, 1 % loss down",
    kind: "down",
    bytes: 20 * MB,
    options: bad(20, 10, uncut),
  },
  {
    name: "super-frames: 20 ms, 1 % loss up",
    kind: "up",
    bytes: 5 * MB,
    options: bad(20, 10, uncut),
  },
];

for (const { name, ...what } of cases) {
  test(name, async (t) => {
    if (!possible) return t.skip("no right to make a network namespace");
    const result = await world.transfer(what);
    assert.equal(result.ok, true, JSON.stringify(result));
  });
}

test("§4: a LAN of 65520: 100 MB down, 100 MB up, half-close", async (t) => {
  if (!possible) return t.skip("no right to make a network namespace");
  const jumbo = await PeerWorld.open({ AERO_L2_LAN_MTU: "65520" });
  try {
    for (const kind of ["down", "up", "half"]) {
      const bytes = kind === "half" ? 20 * MB : 100 * MB;
      const result = await jumbo.transfer({ kind, bytes, options: ["--mtu", "65520"] });
      assert.equal(result.ok, true, JSON.stringify(result));
    }
    const metrics = await jumbo.proxy.metrics();
    assert.ok(metrics.get("l2_frames_tx_total") < 20_000); // 68 000 of 1514 bytes for 100 MB
    assert.equal(metrics.get("l2_frames_dropped_total"), 0);
  } finally {
    await jumbo.close();
  }
});

test("a port nobody listens on is refused at once", async (t) => {
  if (!possible) return t.skip("no right to make a network namespace");
  const script = "exec 3<>/dev/tcp/203.0.113.99/81";
  const result = await world.guest(["bash", "-c", script]);
  assert.equal(result.status, 1);
  assert.match(result.output, /refused/);
});

test("no flow is left behind", async (t) => {
  if (!possible) return t.skip("no right to make a network namespace");
  const metrics = await world.proxy.metrics();
  assert.equal(metrics.get("l2_tcp_conns_active"), 0);
  assert.equal(metrics.get("l2_frames_dropped_total"), 0);
  assert.ok(metrics.get("l2_super_frames_rx_total") > 1000);
  assert.ok(metrics.get("l2_super_frames_tx_total") > 1000);
});
