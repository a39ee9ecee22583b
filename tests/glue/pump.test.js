// Whole frames through card, rings, pump, WebSocket and back: in a worker and on the card's own
// thread. Everything in order, nothing lost, checked by SHA-256.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { WebSocket } from "ws";

import { connectTunnel, createNic } from "../../wasm-glue/src/index.js";
import { Driver, numberedFrame, RAM_BYTES } from "./driver.js";
import { batch, message, ProxyStub, Type } from "./proxy-stub.js";

const FRAMES = 20000;
const IN_FLIGHT = 400; // less than either ring holds, so that nothing may be dropped
const BURST = 60; // less than the guest's rings hold

const webSocketModule = import.meta.resolve
  ? import.meta.resolve("ws")
  : new URL("../node_modules/ws/wrapper.mjs", import.meta.url).href;

const sizeOf = (number) => 60 + ((number * 397) % 1455);

/** Sends FRAMES frames and gets them back from an echo. */
async function echo({ isolated, batches, options }, t) {
  const stub = await ProxyStub.start({ batches });
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ memory: ram, isolated });
  const driver = new Driver(nic, ram);
  const tunnel = connectTunnel(nic, { url: stub.url, ...options });
  const expected = createHash("sha256");
  const atServer = createHash("sha256");
  const atGuest = createHash("sha256");
  let seen = 0;
  let sent = 0;
  let got = 0;
  let waiting = [];

  stub.onFrame = (frame, socket) => {
    atServer.update(frame);
    seen++;
    waiting.push(Buffer.from(frame));
    if (waiting.length === 1)
      queueMicrotask(() => {
        if (batches) socket.send(batch(waiting));
        else for (const one of waiting) socket.send(message(Type.FRAME, one));
        waiting = [];
      });
  };
  driver.start();
  await tunnel.opened;
  let wakeUps = 0;
  nic.onWork = () => wakeUps++;
  const start = performance.now();
  while (got < FRAMES) {
    for (let n = 0; n < BURST && sent < FRAMES && sent - got < IN_FLIGHT; n++) {
      const frame = numberedFrame(sent, sizeOf(sent));
      expected.update(frame);
      driver.queue(frame);
      sent++;
    }
    nic.poll();
    for (const frame of driver.received()) {
      atGuest.update(frame);
      got++;
    }
    await turn();
  }
  const seconds = (performance.now() - start) / 1000;
  t.diagnostic(`${Math.round(FRAMES / seconds)} frames/s each way, ${stub.messages} messages in`);
  const sum = expected.digest("hex");
  assert.equal(seen, FRAMES);
  assert.equal(atServer.digest("hex"), sum);
  assert.equal(atGuest.digest("hex"), sum);
  assert.ok(wakeUps > 0);

  const card = nic.stats();
  assert.equal(card.txDroppedFull + card.txDroppedOversize + card.rxDroppedOversize, 0);
  while (tunnel.stats().rxFrames < FRAMES) await new Promise((done) => setTimeout(done, 20));
  const stats = tunnel.stats();
  assert.equal(stats.txFrames, FRAMES);
  assert.equal(stats.rxFrames, FRAMES);
  assert.deepEqual([...new Set(Object.values(stats.drops))], [0]);
  tunnel.close();
  nic.close();
  await stub.stop();
}

for (const batches of [false, true]) {
  const how = batches ? "in batches" : "one frame a message";
  test(`a worker's pump, ${how}`, (t) =>
    echo({ isolated: true, batches, options: { worker: true, webSocketModule } }, t));
  test(`the card's own thread, plain memory, ${how}`, (t) =>
    echo({ isolated: false, batches, options: { WebSocket } }, t));
}

test("the card's own thread, shared memory", (t) =>
  echo({ isolated: true, batches: true, options: { WebSocket } }, t));

test("without Atomics.waitAsync the worker is woken by a message", async (t) => {
  // The worker runs in its own realm: take the function away there, before the pump starts.
  const source = `delete Atomics.waitAsync;
    await import(${JSON.stringify(new URL("../../wasm-glue/src/pump.worker.js", import.meta.url))});`;
  const workerUrl = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  await echo(
    { isolated: true, batches: true, options: { worker: true, webSocketModule, workerUrl } },
    t,
  );
});

test("a lone frame does not wait for a timer, in either direction", async (t) => {
  const stub = await ProxyStub.start();
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ memory: ram, isolated: true });
  const driver = new Driver(nic, ram);
  const tunnel = connectTunnel(nic, { url: stub.url, worker: true, webSocketModule });
  stub.onFrame = (frame, socket) => socket.send(message(Type.FRAME, frame));
  driver.start();
  await tunnel.opened;
  const times = [];
  for (let number = 0; number < 50; number++) {
    const start = performance.now();
    driver.queue(numberedFrame(number));
    nic.poll();
    await new Promise((done) => {
      nic.onWork = () => {
        nic.poll();
        done();
      };
    });
    assert.deepEqual(driver.received(), [numberedFrame(number)]);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`median ${times[25].toFixed(2)} ms there and back`);
  assert.ok(times[25] < 20, "a sleep of 250 ms or a poll of 8 ms would show here");
  tunnel.close();
  nic.close();
  await stub.stop();
});

test("frames for a busy guest wait in the pending queue and come in order", async () => {
  const stub = await ProxyStub.start();
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ memory: ram, isolated: true, ringBytes: 16384 });
  const driver = new Driver(nic, ram);
  const tunnel = connectTunnel(nic, { url: stub.url, worker: true, webSocketModule });
  driver.start();
  await tunnel.opened;
  const frames = Array.from({ length: 500 }, (_, number) => numberedFrame(number, 1000));
  stub.socket.send(batch(frames.slice(0, 60).map((frame) => Buffer.from(frame))));
  for (const frame of frames.slice(60)) stub.socket.send(message(Type.FRAME, frame));
  const got = [];
  while (got.length < frames.length) {
    nic.poll();
    got.push(...driver.received());
    await turn();
  }
  assert.deepEqual(got, frames);
  tunnel.close();
  nic.close();
  await stub.stop();
});
