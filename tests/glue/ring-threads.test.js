// net-rings.md §3.3, §3.5 between real threads: several producers, one consumer, and waiting.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { buildRings, openRing, RingKind } from "../../wasm-glue/src/ring.js";

const LIMIT_MS = 60000; // a hang becomes a failure; nothing here waits for it

function start(job) {
  return new Worker(new URL("./ring-worker.js", import.meta.url), { workerData: job });
}

async function result(worker) {
  const [[answer]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
  return answer;
}

for (const capacity of [256, 65536]) {
  test(`4 producers, one consumer, ${capacity} bytes`, { timeout: LIMIT_MS }, async () => {
    const buffer = buildRings([{ kind: RingKind.NET_TX, capacity }]);
    const records = 3000;
    const producers = [0, 1, 2, 3];
    const consumer = start({ role: "consume", buffer, total: records * producers.length });
    const made = producers.map((id) => start({ role: "produce", buffer, id, records }));
    const finished = made.map(result);
    const got = await result(consumer);
    if (got.bad.length > 0) for (const producer of made) producer.terminate(); // it would wait
    assert.deepEqual(got.bad, []);
    await Promise.all(finished);
    assert.deepEqual(
      got.counts,
      producers.map(() => records),
    );
    assert.equal(got.corrupt, 0);
    assert.equal(openRing(buffer, { kind: RingKind.NET_TX }).hasData, false);
  });
}

// §3.5: the consumer waits on tail_commit with the value it saw: no wake-up is lost, although
// each answer is only sent when the other side has gone to sleep or is about to.
test("two threads that answer each other never miss a wake-up", { timeout: LIMIT_MS }, async () => {
  const buffer = buildRings([
    { kind: RingKind.NET_TX, capacity: 64 },
    { kind: RingKind.NET_RX, capacity: 64 },
  ]);
  const rounds = 5000;
  const answers = start({ role: "answer", buffer, rounds });
  const asks = start({ role: "ask", buffer, rounds });
  const [, got] = await Promise.all([result(answers), result(asks)]);
  assert.equal(got.lost, 0);
  assert.equal(got.rounds, rounds);
});

test("waitAsync on this thread is woken by a producer", { timeout: LIMIT_MS }, async () => {
  const buffer = buildRings([{ kind: RingKind.NET_TX, capacity: 256 }]);
  const ring = openRing(buffer, { kind: RingKind.NET_TX });
  const producer = start({ role: "produce", buffer, id: 0, records: 200 });
  const finished = result(producer);
  let left = 200;
  while (left > 0) {
    await ring.waitDataAsync(LIMIT_MS);
    while (ring.pop(64) !== undefined) left--;
  }
  await finished;
  assert.equal(left, 0);
});
