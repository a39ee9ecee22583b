// Gbit/s and frames/s through the real proxy, with a Linux kernel as the guest (a tap bridged to
// the tunnel), next to the same transfer over bare loopback. --json FILE, --bytes N, --rtt.
import { readFileSync, writeFileSync } from "node:fs";
import { PeerWorld } from "../support/tunnel-peer.js";

const argument = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1] : otherwise;
};
const bytes = Number(argument("--bytes", 200_000_000));
const CLOCK_TICKS_PER_S = 100;

/** CPU seconds a process has used. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S;
}

const world = await PeerWorld.open();
const rows = [];
try {
  if (!(await world.isPossible())) throw new Error("needs the right to make a network namespace");
  const frames = async () => {
    const metrics = await world.proxy.metrics();
    return metrics.get("l2_frames_rx_total") + metrics.get("l2_frames_tx_total");
  };
  const measure = async (what, flows, rttMs) => {
    const options = rttMs > 0 ? ["--delay-us", String(rttMs * 500)] : [];
    const before = { frames: await frames(), cpu: cpuSeconds(world.proxy.pid) };
    const share = Math.ceil(bytes / flows);
    const result = await world.transfer({ kind: what, bytes: share, flows, options });
    if (!result.ok) throw new Error(`${what}: ${JSON.stringify(result)}`);
    const cpu = cpuSeconds(world.proxy.pid) - before.cpu;
    rows.push({
      path: "proxy",
      what,
      flows,
      rttMs,
      gbitPerS: (result.bytes * 8) / result.seconds / 1e9,
      framesPerS: ((await frames()) - before.frames) / result.seconds,
      cpuSecondsPerGb: cpu / (result.bytes / 1e9),
    });
  };
  for (const kind of ["down", "up"]) {
    const raw = await world.raw({ kind, bytes });
    if (!raw.ok) throw new Error(`raw ${kind}: ${JSON.stringify(raw)}`);
    const gbitPerS = (raw.bytes * 8) / raw.seconds / 1e9;
    rows.push({ path: "loopback", what: kind, flows: 1, rttMs: 0, gbitPerS });
    for (const flows of [1, 10]) await measure(kind, flows, 0);
    if (process.argv.includes("--rtt"))
      for (const rttMs of [20, 50, 100]) await measure(kind, 1, rttMs);
  }
} finally {
  await world.close();
}

const columns = ["path", "what", "flows", "RTT ms", "Gbit/s", "frames/s", "CPU s/GB"];
console.log(columns.map((name) => name.padStart(10)).join(""));
for (const row of rows) {
  const cells = [
    row.path,
    row.what,
    row.flows,
    row.rttMs,
    row.gbitPerS.toFixed(2),
    row.framesPerS ? Math.round(row.framesPerS) : "-",
    row.cpuSecondsPerGb ? row.cpuSecondsPerGb.toFixed(2) : "-",
  ];
  console.log(cells.map((cell) => String(cell).padStart(10)).join(""));
}
const file = argument("--json");
if (file) writeFileSync(file, `${JSON.stringify({ proxy: rows }, null, 2)}\n`);
