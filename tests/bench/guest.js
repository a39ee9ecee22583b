// How fast an unmodified Linux guest in v86 moves TCP: through our cards, tunnel and proxy; through
// v86's own virtio-net card and our proxy; and through that card and v86's own fetch back end, in
// the same run; with frames of the usual size, and long ones. Instructions per byte say more than
// Mbit/s: they do not depend on how busy the machine is.
//
// v86 turns guest code into WebAssembly, and the engine compiles that again, better, on threads of
// its own; with two processors they take half of the machine for many seconds. So one transfer is
// repeated until it gets no faster: the first one is what somebody sees who has just booted ("first"),
// the median of the last ones is what the card can do.
import { readFileSync, writeFileSync } from "node:fs";
import { cards, linuxAppend } from "../guest/cards.js";
import { BOOT_TIMEOUT_MS, Guest } from "../guest/guest.js";
import { SITE_NAME, startProxy, World } from "../guest/world.js";
import { joinPlainly } from "./plain-tunnel.js";
import { startBenchSite } from "./site.js";
import { steady } from "./steady.js";

const usage = "usage: node tests/bench/guest.js [--json FILE] [--quick | --mb N] [--only ROW,…]\n";
const JUMBO_MTU = 9000;
const QUICK_MB = 16; // a few minutes; instructions per byte are as good already
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
      frames: nic?.stats().rxFrames ?? 0,
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
      framesIn: to.frames - from.frames,
    };
  }
}

function download(guest, meter, host) {
  return steady(async () => {
    const from = meter.read();
    await guest.must(
      `wget -q -O /dev/null 'http://${host}/blob?bytes=${bytesMeasured}'`,
      TIMEOUT_MS,
    );
    return Meter.result(bytesMeasured, from, meter.read());
  });
}

/** From the first byte that the server gets to the last: wget first reads the file into memory. */
async function upload(guest, meter, host, site) {
  let from;
  let to;
  site.onUpload = (what) => {
    if (what === "first") from = meter.read();
    else to = meter.read();
  };
  await guest.must(
    `wget -q -O /tmp/upload 'http://${host}/blob?bytes=${bytesMeasured}'`,
    TIMEOUT_MS,
  );
  return steady(async () => {
    await guest.must(`wget -q -O - --post-file=/tmp/upload http://${host}/upload`, TIMEOUT_MS);
    return Meter.result(bytesMeasured, from, to);
  });
}

async function booted(guest) {
  await guest.waitFor("AERO: ready", BOOT_TIMEOUT_MS);
  await guest.waitFor("aero:/# ", BOOT_TIMEOUT_MS);
}

/** What the guest itself says: neither end may have agreed to long frames. */
async function guestMtu(guest) {
  return Number(await guest.must("cat /sys/class/net/eth0/mtu"));
}

/** @param {import("../guest/cards.js").Card} card @param {number} mtu */
async function measureOurs(card, mtu) {
  const world = await World.open({
    card: { ...card, options: { ...card.options, mtu } },
    proxy: { AERO_L2_LAN_MTU: `${mtu}` },
    startSite: startBenchSite,
    guest: { memoryBytes: MEMORY_BYTES, append: linuxAppend(card) },
  });
  try {
    const { guest, site } = world;
    await booted(guest);
    const seen = await guestMtu(guest);
    const before = await world.losses();
    const meter = new Meter(guest, world.proxy, world.nic);
    const down = await download(guest, meter, SITE_NAME);
    const up = await upload(guest, meter, SITE_NAME, site);
    const after = await world.losses();
    const lost = Object.keys(after).filter((name) => after[name] !== before[name]);
    return { card: `our ${card.name}, tunnel and proxy`, mtu: seen, down, up, lost };
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
    return { card: "v86's virtio-net, its fetch back end", mtu: 1500, down, lost: [] };
  } finally {
    await guest.destroy();
    await site.close();
  }
}

/** v86's card drops what comes while its guest has posted no buffer, and says so on the console. */
function countV86Losses() {
  const say = console.log;
  const losses = { frames: 0 };
  console.log = (...words) => {
    if (words[0] === "No buffer to write into!") losses.frames++;
    else say(...words);
  };
  losses.stop = () => {
    console.log = say;
  };
  return losses;
}

/** The same card, but our proxy instead of v86's back end: up and down. */
async function measureV86Proxy(mtu) {
  const site = await startBenchSite();
  const proxy = await startProxy(site, { AERO_L2_LAN_MTU: `${mtu}` });
  const guest = v86Guest({ mtu });
  const losses = countV86Losses();
  let tunnel;
  try {
    tunnel = await joinPlainly(guest.emulator, proxy.url, mtu > 1500);
    await booted(guest);
    const seen = await guestMtu(guest);
    const meter = new Meter(guest, proxy);
    const down = await download(guest, meter, SITE_NAME);
    const up = await upload(guest, meter, SITE_NAME, site);
    const lost = losses.frames > 0 ? [`${losses.frames} by the card`] : [];
    return { card: "v86's virtio-net, our proxy", mtu: seen, down, up, lost };
  } finally {
    losses.stop();
    tunnel?.close();
    await guest.destroy();
    await proxy.stop();
    await site.close();
  }
}

/** [heading, width, value, digits] */
const columns = [
  ["MTU", 6, ({ mtu }) => mtu, 0],
  ["down Mbit/s", 13, ({ down }) => down.mbitPerS, 0],
  ["(first)", 9, ({ down }) => down.firstMbitPerS, 0],
  ["instr/byte", 12, ({ down }) => down.instructionsPerByte, 2],
  ["CPU s/GB", 10, ({ down }) => down.cpuSPerGb, 1],
  ["frames/irq", 12, ({ down }) => down.framesIn / down.interrupts || undefined, 1],
  ["up Mbit/s", 11, ({ up }) => up?.mbitPerS, 0],
  ["(first)", 9, ({ up }) => up?.firstMbitPerS, 0],
  ["instr/byte", 12, ({ up }) => up?.instructionsPerByte, 2],
];

function print(results) {
  const line = (card, cells) => process.stdout.write(`${card.padEnd(40)}${cells.join("")}\n`);
  line(
    "card",
    columns.map(([heading, width]) => heading.padStart(width)),
  );
  for (const row of results) {
    line(
      row.card,
      columns.map(([, width, value, digits]) =>
        (value(row)?.toFixed(digits) ?? "-").padStart(width),
      ),
    );
    if (row.lost.length > 0) process.stdout.write(`  frames were lost: ${row.lost.join(", ")}\n`);
  }
}

/** Our rows against v86's own card of the same run. */
function printRatios(results) {
  for (const [ours, theirs] of Object.entries(rivals)) {
    const [a, b] = [results[ours], results[theirs]];
    if (a === undefined || b === undefined) continue;
    const times = (way) => `${(a[way].mbitPerS / b[way].mbitPerS).toFixed(2)} x`;
    process.stdout.write(
      `${a.card}, MTU ${a.mtu}: ${times("down")} v86's card down, ${times("up")} up\n`,
    );
  }
}

const ourVirtio = cards["virtio-modern"];
/** What is measured, in this order; --only takes some of the names. */
const rows = {
  e1000: () => measureOurs(cards.e1000, 1500),
  virtio: () => measureOurs(ourVirtio, 1500),
  v86VirtioProxy: () => measureV86Proxy(1500),
  e1000Jumbo: () => measureOurs(cards.e1000, JUMBO_MTU),
  virtioJumbo: () => measureOurs(ourVirtio, JUMBO_MTU),
  v86VirtioProxyJumbo: () => measureV86Proxy(JUMBO_MTU),
  v86VirtioFetch: () => measureV86Fetch(),
};
/** Who is compared with whom. */
const rivals = {
  e1000: "v86VirtioProxy",
  virtio: "v86VirtioProxy",
  e1000Jumbo: "v86VirtioProxyJumbo",
  virtioJumbo: "v86VirtioProxyJumbo",
};

const wanted = options.only === "" ? Object.keys(rows) : options.only.split(",");
const unknown = wanted.find((name) => !(name in rows));
if (unknown !== undefined) {
  process.stderr.write(`no row '${unknown}' (there are: ${Object.keys(rows).join(" ")})\n`);
  process.exit(2);
}
const results = {};
for (const name of wanted) {
  process.stderr.write(`${name} …\n`); // a whole run takes some minutes
  results[name] = await rows[name]();
}
print(Object.values(results));
printRatios(results);
if (options.json) writeFileSync(options.json, `${JSON.stringify({ guest: results }, null, 2)}\n`);
process.exit(0);
