// A process of nic.js: the cases of one kind of card, so that what the engine learns of one kind does
// not slow another down; a page has one. Sends its cases, then answers "round" with the ns of a unit
// of each, and "heap" with the bytes each leaves to the collector.
//   node nic-runner.js callback|shared|direct|virtio-direct|virtio-callback|virtio-super|ne2k|virtio MS LIMIT_WASM
import { readFileSync } from "node:fs";
import { CardBench, makeLimit } from "./nic-card.js";
import { framesOf, shapes } from "./nic-frames.js";
import { VirtioBench } from "./nic-virtio.js";

const [via, ms, limitWasm] = process.argv.slice(2);
const wantedNs = Number(ms) * 1e6;

/** Nanoseconds of CPU time a call takes; collecting what it left behind belongs to it. */
function cpuNs(call) {
  const before = process.cpuUsage();
  call();
  const used = process.cpuUsage(before);
  return (used.user + used.system) * 1000;
}

/** Makes the engine translate, then finds how many batches take the wanted time. */
function calibrate(one) {
  let ns = 0;
  for (let spent = 0; spent < 4 * wantedNs || ns < wantedNs / 4; spent += ns) {
    ns = cpuNs(() => one.run(one.batches));
    if (ns < wantedNs / 4) one.batches *= 2;
  }
  one.batches = Math.max(1, Math.round((wantedNs / ns) * one.batches));
}

/** Bytes of JavaScript heap a unit leaves behind: the least of some short runs. */
function heapBytes(one) {
  let least = Number.POSITIVE_INFINITY;
  const batches = Math.ceil(64 / one.shape.units);
  for (let i = 0; i < 15; i++) {
    const before = process.memoryUsage().heapUsed;
    const middle = process.memoryUsage().heapUsed; // the reading itself leaves something
    one.run(batches);
    const grown = process.memoryUsage().heapUsed - middle - (middle - before);
    if (grown >= 0) least = Math.min(least, grown / batches / one.shape.units);
  }
  return Number.isFinite(least) ? Math.round(least) : 0;
}

/** @returns {Promise<CardBench | VirtioBench>} */
async function create(shape) {
  if (via === "virtio-super") return VirtioBench.create(shape, "direct", true);
  const ours = /^virtio-(direct|callback)$/.exec(via);
  if (ours) return VirtioBench.create(shape, ours[1]);
  if (via !== "ne2k" && via !== "virtio") return CardBench.create(shape, via);
  const { Ne2k, Virtio } = await import("./nic-v86.js");
  return via === "ne2k" ? Ne2k.create(shape) : Virtio.create(shape);
}

const cases = [];
for (const shape of shapes) {
  if (via === "virtio-super" && framesOf(shape).length === 1) continue;
  const bench = await create(shape);
  if (via === "direct") {
    const limit = await makeLimit(readFileSync(limitWasm));
    cases.push({ way: "limit", shape, run: limit(shape), batches: 1 });
  }
  cases.push({ way: "tx", shape, run: (batches) => bench.transmit(batches), batches: 1 });
  cases.push({ way: "rx", shape, run: (batches) => bench.receive(batches), batches: 1 });
}
for (const one of cases) calibrate(one);
process.on("message", (question) => {
  const answer = cases.map((one) =>
    question === "heap"
      ? heapBytes(one)
      : cpuNs(() => one.run(one.batches)) / one.batches / one.shape.units,
  );
  process.send(answer);
});
process.on("disconnect", () => process.exit(0)); // v86's machines would keep the process alive
process.send(cases.map(({ way, shape }) => ({ way, shape: shapes.indexOf(shape) })));
