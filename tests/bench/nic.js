// What a frame costs in our card, native and wasm, with guest memory behind callbacks and direct,
// next to two references of the same run: copying and summing the same bytes, and v86's own cards.
// Times are CPU time, medians of interleaved rounds; × is the median of each round's ratio.
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { framesOf, shapes } from "./nic-frames.js";

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
const nativeVirtio = join(build, "tests/bench_virtio");
const moderationProgram = join(build, "tests/bench_moderation");
const limitWasm = [join(build, "wasm/tests/nic_limit.wasm"), join(build, "tests/nic_limit.wasm")];

/**
 * @typedef {object} Case
 * @property {string} path  "native", "wasm" or "v86"
 * @property {string} way  "tx", "rx" or "limit"
 * @property {import("./nic-frames.js").Shape} shape
 * @property {string} via  kind of guest memory, or v86's model
 * @property {number[]} ns  of a unit, one a round
 * @property {number} [allocated]
 * @property {number} [instructions]
 */
/** @type {Case[]} */
const cases = [];
/** @returns {Case} */
function addCase(path, way, shape, via) {
  const one = { path, way, shape, via, ns: [] };
  cases.push(one);
  return one;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The cases of one kind of card, in a process of their own (nic-runner.js). */
class Runner {
  #child;
  #cases = [];

  /** @param {string} path @param {string} via @param {string} wasm  the limit's module */
  static async start(path, via, wasm) {
    const runner = new Runner();
    const file = fileURLToPath(new URL("nic-runner.js", import.meta.url));
    runner.#child = fork(file, [via, String(options.ms), wasm]);
    for (const { way, shape } of await runner.#answer())
      runner.#cases.push(addCase(path, way, shapes[shape], way === "limit" ? "" : via));
    return runner;
  }

  async #answer() {
    const [message] = await Promise.race([
      once(this.#child, "message"),
      once(this.#child, "exit").then(([code]) => {
        throw new Error(`nic-runner.js ended with ${code}`);
      }),
    ]);
    return message;
  }

  async #ask(question) {
    this.#child.send(question);
    return this.#answer();
  }

  async round() {
    const times = await this.#ask("round");
    for (const [index, one] of this.#cases.entries()) one.ns.push(times[index]);
  }

  async end() {
    const left = await this.#ask("heap");
    for (const [index, one] of this.#cases.entries()) one.allocated = left[index];
    this.#child.disconnect();
  }
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
function instructions(program, name, batches) {
  const tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, `${batches}`];
  const result = execFileSync("sh", ["-c", 'exec valgrind "$@" 2>&1', "sh", ...tool]);
  return Number(/Collected : (\d+)/.exec(result.toString())[1]);
}

const nameOf = (one) => [one.way, one.shape.name, one.via].filter((part) => part !== "").join("-");

async function prepare() {
  if (!existsSync(native) || !existsSync(nativeVirtio))
    throw new Error("bench_nic is not built: run scripts/build");
  const wasm = limitWasm.find((file) => existsSync(file));
  if (!wasm) throw new Error("nic_limit.wasm is not built: run scripts/build");
  for (const shape of shapes) {
    addCase("native", "limit", shape, "");
    for (const way of ["tx", "rx"])
      for (const via of ["callback", "direct", "virtio"]) addCase("native", way, shape, via);
    if (framesOf(shape).length === 1) continue;
    for (const way of ["tx", "rx"]) addCase("native", way, shape, "virtio-super");
  }
  const runners = [];
  for (const via of [
    "direct",
    "callback",
    "shared",
    "virtio-direct",
    "virtio-callback",
    "virtio-super",
  ])
    runners.push(await Runner.start("wasm", via, wasm));
  for (const via of ["ne2k", "virtio"]) runners.push(await Runner.start("v86", via, wasm));
  return runners;
}

function measureNative() {
  const run = (program) => execFileSync(program, [`${options.ms}`], { encoding: "utf8" });
  for (const line of (run(native) + run(nativeVirtio)).trim().split("\n")) {
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
  console.log(columns.map((name, at) => name.padStart(at === 3 ? 17 : 10)).join(""));
  for (const row of rows) {
    const cells = [row.path, row.way, row.shape, row.via || "-", row.ns.toFixed(0)];
    cells.push(row.frameNs.toFixed(1), row.millionPerS.toFixed(3), row.gbitPerS.toFixed(2));
    cells.push(row.timesLimit.toFixed(2), row.allocated ?? "-");
    cells.push(row.instructions?.toFixed(0) ?? "-");
    console.log(cells.map((cell, at) => String(cell).padStart(at === 3 ? 17 : 10)).join(""));
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
  for (const row of rows.filter((r) => r.path === "wasm" && /direct/.test(r.via))) {
    const goal = `${row.way} ${row.shape}, wasm ${row.via}, bytes left to the collector: none`;
    list.push({ goal, is: row.allocated, met: row.allocated === 0 });
  }
  const allocated = rows.filter((row) => row.path === "native" && row.allocated > 0).length;
  list.push({ goal: "native, cases that allocate: none", is: allocated, met: allocated === 0 });
  return list;
}

/** Interrupts and ns a frame for each setting: medians of the rounds. */
function moderation() {
  const rows = new Map();
  for (let round = 0; round < options.rounds; round++) {
    const text = execFileSync(moderationProgram, ["20000"], { encoding: "utf8" });
    for (const line of text.trim().split("\n")) {
      const [setting, interrupts, ns] = line.split(" ");
      if (!rows.has(setting)) rows.set(setting, { interrupts: Number(interrupts), ns: [] });
      rows.get(setting).ns.push(Number(ns));
    }
  }
  console.log("\nInterrupt moderation, native: 1514-byte frames at 1 Gbit/s, each handled at once");
  const cells = ["setting", "interrupts/1000", "ns/frame"];
  console.log(cells.map((cell) => cell.padStart(18)).join(""));
  return [...rows].map(([setting, { interrupts, ns }]) => {
    const row = { setting, interrupts, ns: median(ns) };
    const values = [setting, interrupts.toFixed(1), row.ns.toFixed(1)];
    console.log(values.map((value) => value.padStart(18)).join(""));
    return row;
  });
}

const load = [loadavg()[0]];
const runners = await prepare();
for (let round = 0; round < options.rounds; round++) {
  measureNative();
  for (const runner of runners) await runner.round();
}
for (const runner of runners) await runner.end();
load.push(loadavg()[0]);
if (options.callgrind && !hasValgrind()) {
  console.log("no instruction counts: valgrind is not installed (scripts/setup)");
} else if (options.callgrind) {
  for (const one of cases.filter((some) => some.path === "native")) {
    const batches = 256 / one.shape.units;
    const program = one.via.startsWith("virtio") ? nativeVirtio : native;
    const less = instructions(program, nameOf(one), batches);
    const more = instructions(program, nameOf(one), 2 * batches);
    one.instructions = (more - less) / batches / one.shape.units;
  }
}
const order = (one) => shapes.indexOf(one.shape);
const rows = cases.sort((a, b) => order(a) - order(b)).map(result);
print(rows);
console.log(
  [
    "unit: a frame, or a 64 KiB aggregate: 45 frames on the wire, cut by the card (ours, tx), one by",
    "  one otherwise: v86's cards have no segmentation. A batch of 64 frames has one doorbell, poll",
    "  and interrupt. Checksums: inserted and judged by our card; v86's cards leave them to the guest.",
    "left: native, calls of malloc and its kin in the timed run; wasm and v86, bytes of JavaScript",
    "  heap a unit leaves to the collector. x limit of v86: the wasm limit.",
    "instr: instructions a unit, of the native build under callgrind.",
    "via: the E1000 unless it says virtio; v86's own cards by name. virtio-super: the aggregate passes",
    "  whole both ways, its checksum left to whoever cuts it.",
    "shared: as callback, the card in shared memory, as in a page with a worker for its tunnel.",
    "native: frames come from and go to plain memory; wasm: the rings NET_RX and NET_TX.",
    `load average ${load.map((value) => value.toFixed(2)).join(" to ")}`,
  ].join("\n"),
);
const goalRows = goals(rows);
for (const { goal, is, met } of goalRows)
  console.log(`goal ${met ? "met   " : "missed"}  ${goal}: ${is.toFixed(2)}`);
const settings = moderation();
if (options.json) {
  const nic = { rows, goals: goalRows, moderation: settings, load, rounds: options.rounds };
  writeFileSync(options.json, `${JSON.stringify({ nic }, null, 2)}\n`);
}
