// How fast an unmodified Linux guest in v86 moves TCP: through our card, tunnel and proxy; through
// v86's own virtio-net card and our proxy; and through that card and v86's own fetch back end, in
// the same run. Instructions per byte say more than Mbit/s: they do not depend on how busy the
// machine is.
import { readFileSync, writeFileSync } from "node:fs";
import { cards, linuxAppend } from "../guest/cards.js";
import { BOOT_TIMEOUT_MS, Guest } from "../guest/guest.js";
import { SITE_NAME, startProxy, World } from "../guest/world.js";
import { joinPlainly } from "./plain-tunnel.js";
import { startBenchSite } from "./site.js";

const usage =
  "usage: node tests/bench/guest.js [--json FILE] [--quick | --mb N] [--only ours|v86]\n";
const QUICK_MB = 16; // on a quiet machine a minute: instructions per byte are as good already
const WARM_UP_BYTES = 16 << 20; // until v86 has translated the driver and the TCP stack
const TIMEOUT_MS = 300_000;
const MEMORY_BYTES = 512 << 20; // the file to upload lies in RAM, twice

const options = { json: "", mb: 64, only: "" };
for (let at = 2; at < process.argv.length; at++) {
  if (process.argv[at] === "--quick") {
    options.mb = QUICK_MB;
    continue;
  }
  const name = /^--(json|mb|only)$/.exec(process.argv[at])?.[1];
  if (name === undefined || at + 1 >= process.argv.length) {
    process.stderr.write(usage);
    process.exit(process.argv[at] === "--help" ? 0 : 2);
  }
  options[name] = name === "mb" ? Number(process.argv[++at]) : process.argv[++at];
}
const bytesMeasured = options.mb << 20;

/** CPU seconds that a process has used, from /proc. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Readings whose differences make a result. */
class Meter {
  constructor(guest, proxy, nic) {
    this.read = () => ({
      ms: performance.now(),
      instructions: guest.instructions(),
      cpu: process.cpuUsage(),
      proxyCpu: proxy ? cpuSeconds(proxy.pid) : 0,
      interrupts: nic?.stats().interrupts ?? 0,
    });
  }

  static result(bytes, from, to) {
    const ms = to.ms - from.ms;
    const cpuUs = to.cpu.user + to.cpu.system - from.cpu.user - from.cpu.system;
    return {
      bytes,
      mbitPerS: (bytes * 8) / ms / 1000,
      instructionsPerByte: ((to.instructions - from.instructions) >>> 0) / bytes,
      cpuSPerGb: (cpuUs / 1e6 / bytes) * 1e9,
      proxyCpuSPerGb: ((to.proxyCpu - from.proxyCpu) / bytes) * 1e9,
      interrupts: to.interrupts - from.interrupts,
    };
  }
}

async function download(guest, meter, host) {
  const fetchBlob = (bytes) =>
    guest.must(`wget -q -O /dev/null 'http://${host}/blob?bytes=${bytes}'`, TIMEOUT_MS);
  await fetchBlob(WARM_UP_BYTES);
  const from = meter.read();
  await fetchBlob(bytesMeasured);
  return Meter.result(bytesMeasured, from, meter.read());
}

/** From the first byte that the server gets to the last: wget first reads the file into memory. */
async function upload(guest, meter, host, site) {
  let from;
  let to;
  site.onUpload = (what) => {
    if (what === "first") from = meter.read();
    else to = meter.read();
  };
  for (const bytes of [WARM_UP_BYTES, bytesMeasured]) {
    await guest.must(`wget -q -O /tmp/upload 'http://${host}/blob?bytes=${bytes}'`, TIMEOUT_MS);
    await guest.must(`wget -q -O - --post-file=/tmp/upload http://${host}/upload`, TIMEOUT_MS);
  }
  return Meter.result(bytesMeasured, from, to);
}

async function booted(guest) {
  await guest.waitFor("AERO: ready", BOOT_TIMEOUT_MS);
  await guest.waitFor("aero:/# ", BOOT_TIMEOUT_MS);
}

async function measureOurs(card) {
  const world = await World.open({
    card,
    startSite: startBenchSite,
    guest: { memoryBytes: MEMORY_BYTES, append: linuxAppend(card) },
  });
  try {
    const { guest, site } = world;
    await booted(guest);
    const before = await world.losses();
    const meter = new Meter(guest, world.proxy, world.nic);
    const down = await download(guest, meter, SITE_NAME);
    const up = await upload(guest, meter, SITE_NAME, site);
    const after = await world.losses();
    const lost = Object.keys(after).filter((name) => after[name] !== before[name]);
    return { card: `our ${card.name}, tunnel and proxy`, down, up, lost };
  } finally {
    await world.close();
  }
}

const v86Guest = (netDevice) =>
  new Guest({
    memoryBytes: MEMORY_BYTES,
    append: "aero.driver=virtio_net",
    netDevice: { type: "virtio", ...netDevice },
  });

/** v86's fetch back end has no upload worth the name: it answers when the whole body is there. */
async function measureV86Fetch() {
  const site = await startBenchSite();
  const guest = v86Guest({ relay_url: "fetch" });
  try {
    await booted(guest);
    const down = await download(guest, new Meter(guest), `${site.port}.external`);
    return { card: "v86's virtio-net, its fetch back end", down, lost: [] };
  } finally {
    await guest.destroy();
    await site.close();
  }
}

/** The same card, but our proxy instead of v86's back end: up and down. */
async function measureV86Proxy() {
  const site = await startBenchSite();
  const proxy = await startProxy(site);
  const guest = v86Guest({});
  let tunnel;
  try {
    tunnel = await joinPlainly(guest.emulator, proxy.url);
    await booted(guest);
    const meter = new Meter(guest, proxy);
    const down = await download(guest, meter, SITE_NAME);
    const up = await upload(guest, meter, SITE_NAME, site);
    return { card: "v86's virtio-net, our proxy", down, up, lost: [] };
  } finally {
    tunnel?.close();
    await guest.destroy();
    await proxy.stop();
    await site.close();
  }
}

function print(results) {
  const cell = (value, digits, width) =>
    (value === undefined ? "-" : value.toFixed(digits)).padStart(width);
  const head =
    "card".padEnd(38) +
    ["down Mbit/s", "instr/byte", "up Mbit/s", "instr/byte", "CPU s/GB down"]
      .map((name) => name.padStart(14))
      .join("");
  process.stdout.write(`${head}\n`);
  for (const { card, down, up, lost } of results) {
    const cells = [
      cell(down.mbitPerS, 0, 14),
      cell(down.instructionsPerByte, 2, 14),
      cell(up?.mbitPerS, 0, 14),
      cell(up?.instructionsPerByte, 2, 14),
      cell(down.cpuSPerGb, 1, 14),
    ];
    process.stdout.write(`${card.padEnd(38)}${cells.join("")}\n`);
    if (lost.length > 0) process.stdout.write(`  frames were lost: ${lost.join(", ")}\n`);
  }
}

const results = {};
if (options.only !== "v86") results.e1000 = await measureOurs(cards.e1000);
if (options.only !== "ours") {
  results.v86VirtioProxy = await measureV86Proxy();
  results.v86VirtioFetch = await measureV86Fetch();
}
print(Object.values(results));
if (options.json) writeFileSync(options.json, `${JSON.stringify({ guest: results }, null, 2)}\n`);
process.exit(0);
