// The other threads of ring-threads.test.js. A record is { producer, sequence, filler }.
import { parentPort, workerData } from "node:worker_threads";
import { openRing, RingKind, RingStatus } from "../../wasm-glue/src/ring.js";

const WAIT_MS = 20000; // only a lost wake-up lets it pass
const { role, buffer } = workerData;
const tx = openRing(buffer, { kind: RingKind.NET_TX });

function pushWaiting(ring, record) {
  while (!ring.push(record)) {
    if (!ring.waitSpace(WAIT_MS) && ring.stats.full > 1e6) throw new Error("stuck");
  }
}

function produce({ id, records }) {
  for (let sequence = 0; sequence < records; sequence++) {
    const record = new Uint8Array(8 + (sequence % 23)).fill(sequence + id);
    new DataView(record.buffer).setUint32(0, id);
    new DataView(record.buffer).setUint32(4, sequence);
    pushWaiting(tx, record);
  }
  // Else a last record stays behind a preempted producer.
  while (!tx.settle()) tx.waitSpace(WAIT_MS);
  return { done: true };
}

function consume({ total }) {
  const counts = [0, 0, 0, 0];
  const bad = [];
  const target = new Uint8Array(64);
  const view = new DataView(target.buffer);
  for (let seen = 0; seen < total; ) {
    const length = tx.popInto(target);
    if (length === RingStatus.EMPTY) {
      // A notify may come late, for a record that is gone already: only a full sleep is a loss.
      if (sleepLost(tx) && !tx.hasData) bad.push(`no data after ${seen}`);
      if (bad.length > 0) break;
      continue;
    }
    const id = view.getUint32(0);
    const sequence = view.getUint32(4);
    const filler = target.subarray(8, Math.max(8, length));
    if (sequence !== counts[id] || length !== 8 + (sequence % 23)) bad.push([id, sequence, length]);
    if (filler.some((byte) => byte !== ((sequence + id) & 0xff))) bad.push([id, "content"]);
    if (bad.length > 0) break;
    counts[id]++;
    seen++;
  }
  return { counts, bad, corrupt: tx.stats.corrupt };
}

// A sleep that ran to its end was not woken, whatever it finds then.
function sleepLost(ring) {
  const from = performance.now();
  ring.waitData(WAIT_MS);
  return performance.now() - from >= WAIT_MS;
}

function pingPong({ rounds }, asks) {
  const rx = openRing(buffer, { kind: RingKind.NET_RX });
  const [out, back] = asks ? [tx, rx] : [rx, tx];
  let lost = 0;
  let round = 0;
  const receive = () => {
    while (lost === 0 && back.pop(64) === undefined) if (sleepLost(back)) lost++;
  };
  for (; round < rounds && lost === 0; round++) {
    if (asks) out.push(Uint8Array.of(1));
    receive();
    if (!asks) out.push(Uint8Array.of(2));
  }
  return { rounds: round, lost };
}

const jobs = {
  produce,
  consume,
  ask: (job) => pingPong(job, true),
  answer: (job) => pingPong(job, false),
};
parentPort.postMessage(jobs[role](workerData));
