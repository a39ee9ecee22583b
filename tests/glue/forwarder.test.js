// The forwarder between rings and tunnel: spec/l2-tunnel.md §9.5, counter by counter.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { Forwarder } from "../../wasm-glue/src/forwarder.js";
import { buildRings, openRing, RingKind } from "../../wasm-glue/src/ring.js";

const frame = (number, bytes = 60) => new Uint8Array(bytes).fill(number);

function rings(capacity) {
  const kinds = [RingKind.NET_TX, RingKind.NET_RX];
  const buffer = buildRings(kinds.map((kind) => ({ kind, capacity })));
  const open = () => kinds.map((kind) => openRing(buffer, { kind }));
  const [tx, rx] = open();
  const [guestTx, guestRx] = open(); // the card's ends
  return { tx, rx, guestTx, guestRx };
}

class FakeTunnel {
  sent = [];
  refuse = false;
  congested = false;
  sendFrame(data, offset, length) {
    if (this.refuse) return false;
    this.sent.push(data.slice(offset, offset + length));
    return true;
  }
}

describe("guest to tunnel", () => {
  let r;
  let tunnel;
  let forwarder;
  beforeEach(() => {
    r = rings(8192);
    tunnel = new FakeTunnel();
    forwarder = new Forwarder(r.tx, r.rx, { maxFramesPerTick: 4 });
    forwarder.setTunnel(tunnel);
  });

  test("txFrames, txBytes: guest frames accepted by the tunnel, in order", () => {
    for (let n = 0; n < 3; n++) r.guestTx.push(frame(n, 60 + n));
    assert.equal(forwarder.tick(), "empty");
    assert.deepEqual(tunnel.sent, [frame(0, 60), frame(1, 61), frame(2, 62)]);
    const { txFrames, txBytes, txRingEmpty } = forwarder.stats();
    assert.deepEqual(
      { txFrames, txBytes, txRingEmpty },
      { txFrames: 3, txBytes: 183, txRingEmpty: 1 },
    );
  });

  test("at most maxFramesPerTick, and the tick says that more waits", () => {
    for (let n = 0; n < 6; n++) r.guestTx.push(frame(n));
    assert.equal(forwarder.tick(), "more");
    assert.equal(tunnel.sent.length, 4);
    assert.equal(forwarder.stats().txRingEmpty, 0);
    assert.equal(forwarder.tick(), "empty");
    assert.equal(tunnel.sent.length, 6);
  });

  test("txDroppedNoTunnel: without a tunnel frames are drained and counted", () => {
    forwarder.setTunnel(null);
    for (let n = 0; n < 3; n++) r.guestTx.push(frame(n));
    assert.equal(forwarder.tick(), "empty");
    assert.equal(forwarder.stats().txDroppedNoTunnel, 3);
    forwarder.setTunnel(tunnel);
    forwarder.tick();
    assert.deepEqual(tunnel.sent, []); // §9.4, 7: not kept for the next tunnel
  });

  test("a refused frame is lost and draining stops until the next tick", () => {
    for (let n = 0; n < 3; n++) r.guestTx.push(frame(n));
    tunnel.refuse = true;
    assert.equal(forwarder.tick(), "busy");
    const stats = forwarder.stats();
    assert.equal(stats.txDroppedSendError, 1);
    assert.equal(stats.txDroppedTunnelBackpressure, 1); // both names report the same count
    tunnel.refuse = false;
    assert.equal(forwarder.tick(), "empty");
    assert.deepEqual(tunnel.sent, [frame(1), frame(2)]);
  });

  test("a congested tunnel leaves the frames in the ring", () => {
    r.guestTx.push(frame(1));
    tunnel.congested = true;
    assert.equal(forwarder.tick(), "busy");
    assert.deepEqual(tunnel.sent, []);
    tunnel.congested = false;
    forwarder.tick();
    assert.deepEqual(tunnel.sent, [frame(1)]);
  });

  test("an oversized record is dropped, counted, and the next one flows", () => {
    r.guestTx.push(frame(1, 2049));
    r.guestTx.push(frame(2, 2048));
    forwarder.tick();
    assert.deepEqual(tunnel.sent, [frame(2, 2048)]);
    assert.equal(forwarder.stats().txDroppedOversize, 1);
  });
});

describe("guest to tunnel, rings for super-frames (l2-extensions.md §6)", () => {
  const made = (options) => {
    const r = rings(1 << 18);
    const tunnel = new FakeTunnel();
    const forwarder = new Forwarder(r.tx, r.rx, { superFrames: true, ...options });
    forwarder.setTunnel(tunnel);
    return { ...r, tunnel, forwarder };
  };

  test("maxFrameSize is for ordinary frames: a super-frame is cut to fit it", () => {
    const { guestTx, tunnel, forwarder } = made({ maxFrameSize: 1514 });
    guestTx.tryPush(frame(1, 60000), 2, 1448);
    guestTx.tryPush(frame(2, 1515), 2, 0);
    guestTx.tryPush(frame(3, 1514), 2, 0);
    forwarder.tick();
    assert.deepEqual(tunnel.sent, [frame(1, 60000), frame(3, 1514)]);
    assert.equal(forwarder.stats().txDroppedOversize, 1);
  });

  test("a tunnel of the base protocol only takes its frames of 2048 bytes", () => {
    const { guestTx, tunnel, forwarder } = made({ extensions: false });
    guestTx.tryPush(frame(1, 9000), 2, 0);
    guestTx.tryPush(frame(2, 2048), 2, 0);
    forwarder.tick();
    assert.deepEqual(tunnel.sent, [frame(2, 2048)]);
    assert.equal(forwarder.stats().txDroppedOversize, 1);
  });

  test("a record too short for its prefix is no frame", () => {
    const { guestTx, tunnel, forwarder } = made();
    guestTx.push(frame(1, 0));
    guestTx.push(frame(1, 1));
    guestTx.tryPush(frame(2), 2, 0);
    assert.equal(forwarder.tick(), "empty");
    assert.deepEqual(tunnel.sent, [frame(2)]);
    assert.equal(forwarder.stats().txDroppedOversize, 2);
  });
});

describe("tunnel to guest", () => {
  const take = (ring) => {
    const frames = [];
    for (let one = ring.pop(4096); one; one = ring.pop(4096)) frames.push(one);
    return frames;
  };

  test("rxFrames, rxBytes: frames written to the receive ring", () => {
    const r = rings(8192);
    const forwarder = new Forwarder(r.tx, r.rx);
    forwarder.receive(frame(1, 100));
    assert.deepEqual(take(r.guestRx), [frame(1, 100)]);
    assert.equal(forwarder.stats().rxFrames, 1);
    assert.equal(forwarder.stats().rxBytes, 100);
  });

  test("with the ring full frames are pending, and nothing overtakes them", () => {
    const r = rings(128); // two records of 64
    const forwarder = new Forwarder(r.tx, r.rx);
    for (let n = 0; n < 4; n++) forwarder.receive(frame(n));
    let stats = forwarder.stats();
    assert.equal(stats.rxFrames, 2);
    assert.equal(stats.rxRingFull, 1);
    assert.equal(stats.rxPendingFrames, 2);
    assert.equal(stats.rxPendingBytes, 120);
    assert.equal(forwarder.hasPending, true);
    assert.deepEqual([r.guestRx.pop(2048)], [frame(0)]);
    forwarder.receive(frame(4)); // there is room, but two are waiting
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), [frame(1), frame(2)]);
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), [frame(3), frame(4)]);
    stats = forwarder.stats();
    assert.equal(stats.rxFrames, 5);
    assert.equal(stats.rxPendingFrames + stats.rxPendingBytes, 0);
    assert.equal(forwarder.hasPending, false);
  });

  test("a pending frame is the forwarder's own copy", () => {
    const r = rings(64);
    const forwarder = new Forwarder(r.tx, r.rx);
    const reused = frame(1);
    forwarder.receive(frame(0));
    forwarder.receive(reused);
    reused.fill(9);
    take(r.guestRx);
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), [frame(1)]);
  });

  test("rxDroppedPendingOverflow: the new frame goes, those before stay", () => {
    const r = rings(64);
    const forwarder = new Forwarder(r.tx, r.rx, { maxPendingRxBytes: 100 });
    for (let n = 0; n < 3; n++) forwarder.receive(frame(n));
    assert.equal(forwarder.stats().rxDroppedPendingOverflow, 1);
    take(r.guestRx);
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), [frame(1)]);
  });

  test("rxDroppedNetRxFull: maxPendingRxBytes 0 drops at once", () => {
    const r = rings(64);
    const forwarder = new Forwarder(r.tx, r.rx, { maxPendingRxBytes: 0 });
    for (let n = 0; n < 3; n++) forwarder.receive(frame(n));
    assert.equal(forwarder.stats().rxDroppedNetRxFull, 2);
    assert.equal(forwarder.hasPending, false);
  });

  test("rxDroppedRingTooSmall: a record that can never fit is dropped at once", () => {
    const r = rings(64);
    const forwarder = new Forwarder(r.tx, r.rx);
    forwarder.receive(frame(1, 61));
    forwarder.receive(frame(2, 60));
    assert.equal(forwarder.stats().rxDroppedRingTooSmall, 1);
    assert.deepEqual(take(r.guestRx), [frame(2, 60)]);
  });

  test("stop(): pending and transmit frames go, arrivals are counted", () => {
    const r = rings(64);
    const tunnel = new FakeTunnel();
    const forwarder = new Forwarder(r.tx, r.rx);
    forwarder.setTunnel(tunnel);
    forwarder.receive(frame(0));
    forwarder.receive(frame(1));
    r.guestTx.push(frame(2));
    forwarder.stop();
    forwarder.receive(frame(3));
    take(r.guestRx);
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), []);
    assert.deepEqual(tunnel.sent, []);
    assert.equal(forwarder.stats().rxDroppedWhileStopped, 1);
    forwarder.start();
    forwarder.receive(frame(4));
    assert.deepEqual(take(r.guestRx), [frame(4)]);
  });

  test("isPaused(): from that moment on no frame goes to NET_RX, pending ones neither", () => {
    const r = rings(64);
    let paused = false;
    const forwarder = new Forwarder(r.tx, r.rx, { isPaused: () => paused });
    forwarder.receive(frame(0));
    forwarder.receive(frame(1));
    paused = true;
    assert.deepEqual(take(r.guestRx), [frame(0)]);
    forwarder.receive(frame(2));
    forwarder.tick();
    assert.deepEqual(take(r.guestRx), []);
    assert.equal(forwarder.stats().rxDroppedWhileStopped, 1);
  });
});
