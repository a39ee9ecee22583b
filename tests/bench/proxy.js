// The real proxy with a Linux kernel as the guest (a tap bridged to the tunnel), next to
// slirp4netns and pasta with a tap of their own, and to bare loopback: the same client, server,
// machine and run. Then ours and slirp4netns behind a slow leg, memory, and the cost of a session
// among many (sessions.js).
//
//   proxy.js [--json FILE] [--quick]     6 minutes at most; --quick: one
//
// "late" is the second half of a transfer, when no start is in the figure any more. Gbit/s per core
// counts the CPU time of the proxy (or rival) alone; each rival reads its tap by itself, while ours
// hears from the guest through the bridge and a WebSocket.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { PeerWorld } from "../support/tunnel-peer.js";
import { openRival, openSlirpSocket, rivalNames, TAP_QUEUE_FRAMES, whyNot } from "./rival.js";
import { measureSessions, printSessions } from "./sessions.js";

const argument = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1] : otherwise;
};
const quick = process.argv.includes("--quick");
const MB = 1_000_000;
const CLOCK_TICKS_PER_S = 100;
const OUR_MTU = 1500; // of the proxy's LAN, unless AERO_L2_LAN_MTU says otherwise
const UNCUT = "proxy+super"; // the guest's TCP in super-frames, as a card with TSO sends it
const plan = quick
  ? {
      bytes: 60 * MB,
      flows: [1, 10],
      mtus: [1500],
      rttMs: [0, 50],
      limitS: 6,
      sessions: 10,
      idle: 200,
      many: [1, 10, 100],
      bursts: 2000,
    }
  : {
      bytes: 200 * MB,
      flows: [1, 10, 100],
      mtus: [1500, 65520],
      rttMs: [0, 20, 50, 100],
      limitS: 15,
      sessions: 50,
      idle: 500,
      many: [1, 10, 100, 1000],
      bursts: 10_000,
    };
const slowBytes = (rttMs) => (quick ? 120 * MB : rttMs > 50 ? 250 * MB : 400 * MB);
const slirpBytes = (rttMs) => Math.round((quick ? 3 : 6) * (65_536 / (rttMs / 1000))); // seconds

/** CPU seconds a process has used. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S;
}

function residentBytes(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}

const rows = [];
const memory = [];
const started = { date: new Date().toISOString(), load: loadavg()[0], cores: cpus().length };

/** Runs one transfer and makes a row of it. @param {() => Promise<object>} transfer */
async function measure(row, pid, transfer) {
  const before = pid ? cpuSeconds(pid) : 0;
  const result = await transfer();
  if (!result.ok) {
    const why = result.status === 124 ? "it did not end in time" : JSON.stringify(result);
    rows.push({ ...row, note: `failed: ${why.slice(0, 120)}` });
    return;
  }
  const late = result.half_s > 0 && result.half_s < result.seconds && row.flows === 1;
  rows.push({
    ...row,
    bytes: result.bytes,
    seconds: result.seconds,
    gbitPerS: (result.bytes * 8) / result.seconds / 1e9,
    ...(late && { lateGbitPerS: (result.bytes * 4) / (result.seconds - result.half_s) / 1e9 }),
    ...(pid && { cpuSecondsPerGb: (cpuSeconds(pid) - before) / (result.bytes / 1e9) }),
  });
}

/** What the bridge between tap and tunnel is told. */
const leg = ({ rttMs, mtu = OUR_MTU, path }) => [
  ...["--queue", String(TAP_QUEUE_FRAMES), "--mtu", String(mtu)],
  ...(rttMs > 0 ? ["--delay-us", String(rttMs * 500)] : []),
  ...(path === UNCUT ? ["--super", "1"] : []),
];

async function measureOurs(world, wanted, bytes) {
  const options = leg(wanted);
  const counters = async () => {
    const metrics = await world.proxy.metrics();
    return ["l2_frames_rx_total", "l2_frames_tx_total", "l2_tcp_retransmits_total"].map(
      (name) => metrics.get(name) ?? 0,
    );
  };
  const before = await counters();
  const share = Math.ceil(bytes / wanted.flows);
  await measure({ path: "proxy", ...wanted }, world.proxy.pid, () =>
    world.transfer({ kind: wanted.what, bytes: share, flows: wanted.flows, options }),
  );
  const [received, sent, again] = (await counters()).map((value, i) => value - before[i]);
  const row = rows[rows.length - 1];
  // Both directions together: data one way, acknowledgments the other.
  Object.assign(row, { frames: received + sent, retransmits: again });
  if (row.seconds > 0) row.framesPerS = (received + sent) / row.seconds;
}

/** Ours at that MTU, and at Ethernet's in super-frames, too. */
async function measureFlows(world, mtu) {
  const ours = mtu === OUR_MTU ? world : await PeerWorld.open({ AERO_L2_LAN_MTU: String(mtu) });
  try {
    for (const path of mtu === OUR_MTU ? ["proxy", UNCUT] : ["proxy"])
      for (const what of ["down", "up"])
        for (const flows of plan.flows)
          await measureOurs(ours, { path, what, mtu, flows, rttMs: 0 }, plan.bytes);
  } finally {
    if (ours !== world) await ours.close();
  }
}

async function measureRivals(world, mtu) {
  for (const path of rivalNames) {
    const reason = whyNot(path);
    if (reason) {
      rows.push({ path, mtu, note: reason });
      continue;
    }
    const rival = await openRival(path, mtu);
    try {
      for (const what of ["down", "up"])
        for (const flows of plan.flows) {
          const bytes = Math.ceil(plan.bytes / flows);
          await measure({ path, what, mtu, flows, rttMs: 0 }, rival.pid, () =>
            world.transferIn({ pid: rival.space, kind: what, bytes, flows, limitS: plan.limitS }),
          );
        }
    } finally {
      await rival.close();
    }
  }
}

async function measureSlow(world, rttMs) {
  for (const what of ["down", "up"]) {
    const row = { what, mtu: OUR_MTU, flows: 1, rttMs };
    await measureOurs(world, row, slowBytes(rttMs));
    const reason = whyNot("slirp4netns");
    if (reason) {
      rows.push({ path: "slirp4netns", ...row, note: reason });
      continue;
    }
    const rival = await openSlirpSocket();
    try {
      await measure({ path: "slirp4netns", ...row }, rival.pid, () =>
        world.transferBySlirp({
          kind: what,
          bytes: slirpBytes(rttMs),
          socket: rival.socket,
          options: leg({ rttMs }),
        }),
      );
    } finally {
      await rival.close();
    }
  }
}

/** What one more idle session, and one more idle flow, costs in resident memory. */
async function measureMemory(world) {
  const { pid } = world.proxy;
  const held = [];
  const join = async () => {
    held.push(world.hold(["sh", "-c", `echo up; exec cat`]));
    await held[held.length - 1].hear();
  };
  try {
    await join();
    const one = residentBytes(pid);
    while (held.length <= plan.sessions) await join();
    const perSession = (residentBytes(pid) - one) / plan.sessions;
    memory.push({ what: "idle session", count: plan.sessions, bytes: Math.round(perSession) });
    const load = world.idleCommand(plan.idle).join(" ");
    const busy = world.hold(["sh", "-c", `echo up; read go; exec ${load}`]);
    held.push(busy);
    await busy.hear();
    const before = residentBytes(pid);
    const heard = busy.hear();
    busy.say("go\n");
    const open = Number(/open (\d+)/.exec(await heard)[1]);
    const perFlow = (residentBytes(pid) - before) / open;
    memory.push({ what: "idle flow", count: open, bytes: Math.round(perFlow) });
  } finally {
    await Promise.all(held.map((guest) => guest.release()));
  }
}

function print() {
  const columns = [
    "path",
    "what",
    "MTU",
    "flows",
    "RTT ms",
    "Gbit/s",
    "late",
    "frames/s",
    "CPU s/GB",
    "/core",
  ];
  const line = (cells) =>
    console.log(cells.map((cell, i) => String(cell ?? "-").padStart(i === 0 ? 12 : 10)).join(""));
  line(columns);
  for (const row of rows) {
    const cells = [row.path, row.what, row.mtu, row.flows, row.rttMs];
    if (row.note) {
      line([...cells, `  ${row.note}`]);
      continue;
    }
    line([
      ...cells,
      row.gbitPerS.toFixed(3),
      row.lateGbitPerS?.toFixed(3),
      row.framesPerS?.toFixed(0),
      row.cpuSecondsPerGb?.toFixed(2),
      row.cpuSecondsPerGb > 0 ? (8 / row.cpuSecondsPerGb).toFixed(2) : undefined,
    ]);
  }
  for (const row of memory) console.log(`${row.what}: ${row.bytes} bytes (${row.count} measured)`);
}

const world = await PeerWorld.open();
let sessions = [];
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
try {
  if (!(await world.isPossible())) throw new Error("needs the right to make a network namespace");
  for (const what of ["down", "up"]) {
    const row = { path: "loopback", what, flows: 1, rttMs: 0 };
    await measure(row, 0, () => world.raw({ kind: what, bytes: plan.bytes }));
  }
  for (const mtu of plan.mtus) {
    await measureFlows(world, mtu);
    await measureRivals(world, mtu);
  }
  for (const rttMs of plan.rttMs.filter((ms) => ms > 0)) await measureSlow(world, rttMs);
  await measureMemory(world);
  sessions = await measureSessions(plan.many, plan.bursts);
} finally {
  await world.close();
}
print();
printSessions(sessions);
const file = argument("--json");
const load = loadavg()[0];
const result = { proxy: { ...started, loadAtEnd: load, rows, memory, sessions } };
if (file) writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
