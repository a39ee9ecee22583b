// The guest matrix: Linux's driver for each of our cards, with each kind of memory and each MTU, moves a
// file down and up; its SHA-256 is compared on both sides. `scripts/guest --matrix` runs it.
import { writeFileSync } from "node:fs";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { startSampleSite } from "../../web-demo/sample-site.js";
import { cards, linuxAppend } from "./cards.js";
import { BOOT_TIMEOUT_MS } from "./guest.js";
import { sumOfBlob } from "./linux-cases.js";
import { SITE_NAME, World } from "./world.js";

const usage =
  "usage: node tests/guest/matrix.js [--mb N] [--card NAME] [--mtu N] [--json FILE]\n\n" +
  `  --mb N       of 10^6 bytes, each way; default 100\n  --card NAME  only ${Object.keys(cards).join(", ")}\n` +
  "  --mtu N      only this one; default 1500 and 9000\n";
const TIMEOUT_MS = 1_200_000;
const MEMORY_BYTES = 1 << 30; // the file lies in RAM three times: as it came, to be sent, in wget
const FILE = "/tmp/file";

/** On a thread of its own, so that the emulator's is left to the guest. */
async function startSite() {
  const worker = new Worker(new URL(import.meta.url));
  const port = await new Promise((resolve, reject) => {
    worker.once("error", reject).once("message", resolve);
  });
  return { port, close: () => worker.terminate() };
}

const mbitPerS = (bytes, ms) => (bytes * 8) / ms / 1000;

async function timed(work) {
  const from = performance.now();
  const result = await work();
  return { ms: performance.now() - from, result };
}

/** One guest. @param {import("./cards.js").Card} card */
async function measure(card, { mtu, zeroCopy, bytes }) {
  const options = card.options?.profile === "contract" ? {} : { mtu };
  const world = await World.open({
    card: { ...card, options: { ...card.options, ...options } },
    startSite,
    zeroCopy,
    proxy: { AERO_L2_LAN_MTU: `${mtu}` },
    guest: { append: linuxAppend(card), memoryBytes: MEMORY_BYTES },
  });
  try {
    const { guest, site } = world;
    await guest.waitFor("AERO: ready", BOOT_TIMEOUT_MS);
    await guest.waitFor("aero:/# ", BOOT_TIMEOUT_MS);
    const run = (command) => guest.must(command, TIMEOUT_MS);
    const sum = async (file) => (await run(`sha256sum ${file}`)).split(" ")[0];
    const seen = Number(await run("cat /sys/class/net/eth0/mtu"));
    await run("mount -o remount,size=90% /tmp");
    const down = await timed(() =>
      run(`wget -q -O ${FILE} 'http://${SITE_NAME}/blob?bytes=${bytes}'`),
    );
    const downOk = (await sum(FILE)) === (await sumOfBlob(site, bytes));
    await run(`tr '\\000' '\\001' <${FILE} >${FILE}.up; rm ${FILE}`); // wget ends at a zero byte
    const wanted = await sum(`${FILE}.up`);
    const up = await timed(() =>
      run(`wget -q -O - --post-file=${FILE}.up http://${SITE_NAME}/upload`),
    );
    return {
      mtu: seen,
      zeroCopy: world.nic.zeroCopy,
      down: mbitPerS(bytes, down.ms),
      up: mbitPerS(bytes, up.ms),
      sha256: downOk && up.result === `${bytes} bytes, sha256 ${wanted}\n`,
    };
  } finally {
    await world.close();
  }
}

/** Each row must be what it says: a guest that got another MTU or memory proves another one. */
const isGood = ({ asked, mtu, wanted, zeroCopy, sha256 }) =>
  sha256 && mtu === asked && zeroCopy === wanted;

function print({ card, asked, mtu, wanted, zeroCopy, down, up, sha256 }) {
  const memory = zeroCopy ? "zero-copy" : "callbacks";
  const cells = [
    card.padEnd(22),
    (zeroCopy === wanted ? memory : `${memory}!`).padEnd(11),
    (mtu === asked ? `${mtu}` : `${mtu}, not ${asked}`).padStart(15),
    down.toFixed(0).padStart(13),
    up.toFixed(0).padStart(11),
    (sha256 ? "ok" : "WRONG").padStart(9),
  ];
  process.stdout.write(`${cells.join("")}\n`);
}

async function main() {
  const options = { mb: "100", card: "", mtu: "", json: "" };
  for (let at = 2; at < process.argv.length; at += 2) {
    const name = /^--(mb|card|mtu|json)$/.exec(process.argv[at])?.[1];
    if (name === undefined || at + 1 >= process.argv.length) {
      process.stdout.write(usage);
      process.exit(process.argv[at] === "--help" ? 0 : 2);
    }
    options[name] = process.argv[at + 1];
  }
  const bytes = Number(options.mb) * 1_000_000;
  const mtus = options.mtu ? [Number(options.mtu)] : [1500, 9000];
  const names = options.card ? [options.card] : Object.keys(cards);
  const rows = [];
  process.stdout.write(
    `${"card".padEnd(22)}${"memory".padEnd(11)}${"MTU".padStart(15)}  down Mbit/s  up Mbit/s  SHA-256\n`,
  );
  for (const name of names)
    for (const mtu of mtus)
      for (const zeroCopy of mtu === mtus[0] ? [true, false] : [true]) {
        if (mtu > 1500 && cards[name].options?.profile === "contract") continue; // 1522 at most
        const row = await measure(cards[name], { mtu, zeroCopy, bytes });
        rows.push({ card: name, asked: mtu, wanted: zeroCopy, ...row });
        print(rows.at(-1));
      }
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ matrix: rows }, null, 2)}\n`);
  process.exit(rows.every(isGood) ? 0 : 1);
}

if (isMainThread) await main();
else parentPort.postMessage((await startSampleSite()).port);
