// A real Linux TCP as the guest of the real proxy, over good and bad lines (l2-proxy.md §6.2). The
// whole matrix with its figures is scripts/matrix.
import assert from "node:assert/strict";
import { describe, moveOver, shortLines } from "./matrix.js";
import { expertTest, MB, netnsTest, openWorld, useWorld } from "./world.js";

const here = useWorld();

const MANY_FRAMES = 300; // some of so many meet any fate of at least 1 %

/** A line that was to be bad was bad. */
function checkLine(line, { to, counts }) {
  const fates = { loss: "lost", reorder: "overtaking", duplicate: "doubled" };
  if (counts.frames < MANY_FRAMES) return;
  for (const [what, fate] of Object.entries(fates))
    if (line[what]) assert.ok(counts[fate] > 0, `nothing ${fate} towards the ${to}`);
}

for (const line of shortLines) {
  for (const kind of ["down", "up"]) {
    netnsTest(`${describe(line)}: ${kind}`, async () => {
      const result = await moveOver(here.world, line, kind);
      assert.equal(result.ok, true, JSON.stringify(result));
      assert.equal(result.sha256, true);
      const to = kind === "down" ? "guest" : "proxy"; // the data's way
      if (result.legs) checkLine(line, { to, counts: result.legs[to] });
    });
  }
}

for (const kind of ["down", "up", "half"]) {
  netnsTest(`a LAN of 65520 bytes: 50 MB ${kind} (l2-extensions.md §4)`, async () => {
    const jumbo = await openWorld({ AERO_L2_LAN_MTU: "65520" });
    try {
      const options = ["--mtu", "65520"];
      const result = await jumbo.transfer({ kind, bytes: 50 * MB, options, sha256: true });
      assert.equal(result.ok, true, JSON.stringify(result));
      const frames = `l2_frames_${kind === "up" ? "rx" : "tx"}_total`;
      assert.ok((await jumbo.metric(frames)) < 10_000); // 34 000 of 1514 bytes
      assert.equal(await jumbo.metric("l2_frames_dropped_total"), 0);
    } finally {
      await jumbo.close();
    }
  });
}

netnsTest("super-frames were used both ways", async () => {
  const metrics = await here.world.proxy.metrics();
  assert.ok(metrics.get("l2_super_frames_rx_total") > 1000);
  assert.ok(metrics.get("l2_super_frames_tx_total") > 1000);
});

netnsTest("no flow is left behind and no frame was dropped", async () => {
  const metrics = await here.world.proxy.metrics();
  assert.equal(metrics.get("l2_tcp_conns_active"), 0);
  assert.equal(metrics.get("l2_frames_dropped_total"), 0);
  assert.equal(metrics.get("l2_guest_bad_checksum_total"), 0);
});

expertTest(here);
