// What a frame costs in our card, native and wasm, with guest memory behind callbacks and direct,
// next to two references of the same run: copying and summing the same bytes, and v86's own cards.
// Times are CPU time, medians of interleaved rounds; × is the median of each round's ratio.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CardBench, makeLimit } from "./nic-card.js";
import { framesOf, shapes } from "./nic-frames.js";
import { Ne2k, Virtio } from "./nic-v86.js";

const usage =
  "usage: node tests/bench/nic.js [--json FILE] [--rounds N] [--ms N] [--no-callgrind]\n";
const options = { json: "", rounds: 7, ms: 20, callgrind: true };
for (let at = 2; at < process.argv.length; at++) {
  const name = /^--(json|rounds|ms)$/.exec(process.argv[at])?.[1];
  if (process.argv[at] === "--no-callgrind") options.callgrind = false;
  else if (name && at + 1 < process.argv.length)
    options[name] = name === "json" ? process.argv[++at] : Number(process.argv[++at]);
  else {
    process.stderr.write(usage);
    process.exit(process.argv[at] === "--help" ? 0 : 2);
  }
}

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const build = process.env.AERO_BUILD_DIR ?? join(root, "build");
const native = join(build, "tests/bench_nic");
const limitWasm = [join(build, "wasm/tests/nic_limit.wasm"), join(build, "tests/nic_limit.wasm")];

/**
 * @typedef {object} Case
 * @property {string} path  "native", "wasm" or "v86"
 * @property {string} way  "tx", "rx" or "limit"
 * @property {import("./nic-frames.js").Shape} shape
 * @property {string} via  kind of guest memory, or v86's model
 * @property {((batches: number) => void) | null} run  null: measured by the native program
 * @property {number[]} ns  of a unit, one a round
 * @property {number} batches  of a round
 */
/** @type {Case[]} */
const cases = [];
const addCase = (path, way, shape, via, run = null) =>
  cases.push({ path, way, shape, via, run, ns: [], batches: 1 });

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Nanoseconds of CPU time a call takes; collecting what it left behind belongs to it. */
function cpuNs(call) {
  const before = process.cpuUsage();
  call();
  const used = process.cpuUsage(before);
  return (used.user + used.system) * 1000;
}

/** Makes the engine translate, then finds how many batches take the wanted time. */
function calibrate(one) {
  const wantedNs = options.ms * 1e6;
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

function runNative(args) {
  return execFileSync(native, args, { encoding: "utf8" });
}

function hasValgrind() {
  try {
    execFileSync("valgrind", ["--version"]);
    return true;
  } catch {
    return false;
  }
}

/** Instructions the whole program takes for some batches, under callgrind. */
function instructions(name, batches) {
  const tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", native, name, `${batches}`];
  const result = execFileSync("sh", ["-c", 'exec valgrind "$@" 2>&1', "sh", ...tool]);
  return Number(/Collected : (\d+)/.exec(result.toString())[1]);
}

const nameOf = (one) => [one.way, one.shape.name, one.via].filter((part) => part !== "").join("-");

async function prepare() {
  if (!existsSync(native)) throw new Error("bench_nic is not built: run scripts/build");
  const wasm = limitWasm.find((file) => existsSync(file));
  if (!wasm) throw new Error("nic_limit.wasm is not built: run scripts/build");
  const limit = await makeLimit(readFileSync(wasm));
  for (const shape of shapes) {
    addCase("native", "limit", shape, "");
    for (const way of ["tx", "rx"])
      for (const via of ["callback", "direct"]) addCase("native", way, shape, via);
    addCase("wasm", "limit", shape, "", limit(shape));
    for (const via of /** @type {const} */ (["callback", "direct"])) {
      const bench = await CardBench.create(shape, via);
      addCase("wasm", "tx", shape, via, (batches) => bench.transmit(batches));
      addCase("wasm", "rx", shape, via, (batches) => bench.receive(batches));
    }
    for (const [via, Model] of Object.entries({ ne2k: Ne2k, virtio: Virtio })) {
      const bench = await Model.create(shape);
      addCase("v86", "tx", shape, via, (batches) => bench.transmit(batches));
      addCase("v86", "rx", shape, via, (batches) => bench.receive(batches));
    }
  }
}

function measureNative() {
  for (const line of runNative([`${options.ms}`])
    .trim()
    .split("\n")) {
    const [name, ns, allocations] = line.split(" ");
    const one = cases.find((some) => some.path === "native" && nameOf(some) === name);
    one.ns.push(Number(ns));
    one.allocated = Math.max(one.allocated ?? 0, Number(allocations));
  }
}

function result(one) {
  const ns = median(one.ns);
  // v86's cards are JavaScript: the wasm limit is what they could reach.
  const path = one.path === "native" ? "native" : "wasm";
  const limit = cases.find((c) => c.path === path && c.way === "limit" && c.shape === one.shape);
  return {
    path: one.path,
    way: one.way,
    shape: one.shape.name,
    via: one.via,
    ns,
    frameNs: ns / framesOf(one.shape).length,
    millionPerS: 1000 / ns,
    gbitPerS: (one.shape.bytes * 8) / ns,
    timesLimit: median(one.ns.map((value, round) => value / limit.ns[round])),
    allocated: one.allocated,
    instructions: one.instructions,
  };
}

function print(rows) {
  const columns = ["build", "way", "unit", "via", "ns/unit", "ns/frame", "M units/s", "Gbit/s"];
  columns.push("x limit", "left", "instr");
  console.log(columns.map((name) => name.padStart(10)).join(""));
  for (const row of rows) {
    const cells = [row.path, row.way, row.shape, row.via || "-", row.ns.toFixed(0)];
    cells.push(row.frameNs.toFixed(1), row.millionPerS.toFixed(3), row.gbitPerS.toFixed(2));
    cells.push(row.timesLimit.toFixed(2), row.allocated ?? "-");
    cells.push(row.instructions?.toFixed(0) ?? "-");
    console.log(cells.map((cell) => String(cell).padStart(10)).join(""));
  }
}

function goals(rows) {
  const list = [];
  for (const way of ["tx", "rx"]) {
    const find = (shape) =>
      rows.find(
        (r) => r.path === "wasm" && r.via === "direct" && r.way === way && r.shape === shape,
      );
    const full = find("1514").timesLimit;
    const small = find("60").millionPerS;
    list.push({
      goal: `${way} 1514, wasm direct, at most 2.5 x the copy`,
      is: full,
      met: full <= 2.5,
    });
    list.push({ goal: `${way} 60, wasm direct, at least 5 M/s`, is: small, met: small >= 5 });
  }
  for (const row of rows.filter((r) => r.path === "wasm" && r.via === "direct")) {
    const goal = `${row.way} ${row.shape}, wasm direct, bytes left to the collector: none`;
    list.push({ goal, is: row.allocated, met: row.allocated === 0 });
  }
  const allocated = rows.filter((row) => row.path === "native" && row.allocated > 0).length;
  list.push({ goal: "native, cases that allocate: none", is: allocated, met: allocated === 0 });
  return list;
}

await prepare();
const load = [loadavg()[0]];
for (const one of cases) if (one.run) calibrate(one);
for (let round = 0; round < options.rounds; round++) {
  measureNative();
  for (const one of cases)
    if (one.run) one.ns.push(cpuNs(() => one.run(one.batches)) / one.batches / one.shape.units);
}
load.push(loadavg()[0]);
for (const one of cases) if (one.run) one.allocated = heapBytes(one);
if (options.callgrind && !hasValgrind()) {
  console.log("no instruction counts: valgrind is not installed (scripts/setup)");
} else if (options.callgrind) {
  for (const one of cases.filter((some) => some.path === "native")) {
    const batches = 256 / one.shape.units;
    const less = instructions(nameOf(one), batches);
    const more = instructions(nameOf(one), 2 * batches);
    one.instructions = (more - less) / batches / one.shape.units;
  }
}
const rows = cases.map(result);
print(rows);
console.log(
  [
    "unit: a frame, or a 64 KiB aggregate: 45 frames on the wire, cut by the card (ours, tx), one by",
    "  one otherwise: v86's cards have no segmentation. A batch of 64 frames has one doorbell, poll",
    "  and interrupt. Checksums: inserted and judged by our card; v86's cards leave them to the guest.",
    "left: native, calls of malloc and its kin in the timed run; wasm and v86, bytes of JavaScript",
    "  heap a unit leaves to the collector. x limit of v86: the wasm limit.",
    "instr: instructions a unit, of the native build under callgrind.",
    "native: frames come from and go to plain memory; wasm: the rings NET_RX and NET_TX.",
    `load average ${load.map((value) => value.toFixed(2)).join(" to ")}`,
  ].join("\n"),
);
const goalRows = goals(rows);
for (const { goal, is, met } of goalRows)
  console.log(`goal ${met ? "met   " : "missed"}  ${goal}: ${is.toFixed(2)}`);
if (options.json) {
  const nic = { rows, goals: goalRows, load, rounds: options.rounds };
  writeFileSync(options.json, `${JSON.stringify({ nic }, null, 2)}\n`);
}
process.exit(0); // v86's machines would keep the process alive
