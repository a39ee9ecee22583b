// What somebody sees in a page: the demo page in headless Chromium, its Debian guest with each of our cards,
// moves files down and up. Guest, pump worker, browser, proxy and web server share this machine.
import { writeFileSync } from "node:fs";
import { startDemo } from "../browser/support.js";
import { Page } from "./chromium.js";
import { steady } from "./steady.js";

const usage = "usage: node tests/bench/browser.js [--json FILE] [--quick | --mb N]\n";
const CARDS = ["e1000", "virtio-net"];
const CONSOLE = "#console textarea";
const SCREEN = 'document.querySelector("#console .xterm-rows").textContent';

const options = { json: "", mb: 64 };
for (let at = 2; at < process.argv.length; at++) {
  if (process.argv[at] === "--quick") {
    options.mb = 16;
    continue;
  }
  const name = /^--(json|mb)$/.exec(process.argv[at])?.[1];
  if (name === undefined || at + 1 >= process.argv.length) {
    process.stderr.write(usage);
    process.exit(process.argv[at] === "--help" ? 0 : 2);
  }
  options[name] = name === "mb" ? Number(process.argv[++at]) : process.argv[++at];
}
const bytes = options.mb << 20;

let serial = 0;

/** Runs a command in the guest; the seconds it took by the guest's own clock. */
async function timed(page, command) {
  const mark = `mark${++serial}`;
  // The quotes keep the mark out of the terminal's echo of this very line.
  await page.type(CONSOLE, `clear; time ${command}; echo ma""rk${serial}`);
  const screen = await page.until(`${SCREEN}.includes("${mark}") && ${SCREEN}`);
  const real = /real\s*(\d+)m ([\d.]+)s/.exec(screen);
  if (real === null) throw new Error(`no time on the console:\n${screen}`);
  return 60 * Number(real[1]) + Number(real[2]);
}

const rate = (seconds) => ({ mbitPerS: (bytes * 8) / seconds / 1e6 });

async function measure(demo, card) {
  const page = await Page.open(demo.address.replace("/#", `/?card=${card}&memory=512#`));
  try {
    await page.until('document.getElementById("do-fetch")?.disabled === false');
    const blob = `http://web.test/blob?bytes=${bytes}`;
    const down = await steady(async () => rate(await timed(page, `wget -qO /dev/null ${blob}`)));
    await timed(page, `wget -qO- ${blob} | tr '\\0' . >/tmp/up`); // wget posts no zeros
    const up = await steady(async () =>
      rate(await timed(page, "wget -qO- --post-file=/tmp/up http://web.test/upload")),
    );
    const drops = await page.evaluate(
      '["rx-drops", "tx-drops"].map((id) => document.getElementById(id).textContent).join(" ")',
    );
    return { card, down, up, drops };
  } finally {
    await page.close();
  }
}

const demo = await startDemo();
const results = {};
try {
  for (const card of CARDS) {
    process.stderr.write(`${card} in a page …\n`);
    results[card] = await measure(demo, card);
  }
} finally {
  await demo.stop();
}
process.stdout.write("card        down Mbit/s  (first)  up Mbit/s  (first)  drops in, out\n");
for (const { card, down, up, drops } of Object.values(results)) {
  const cells = [
    down.mbitPerS.toFixed(0).padStart(13),
    down.firstMbitPerS.toFixed(0).padStart(9),
    up.mbitPerS.toFixed(0).padStart(11),
    up.firstMbitPerS.toFixed(0).padStart(9),
    drops.padStart(15),
  ];
  process.stdout.write(`${card.padEnd(10)}${cells.join("")}\n`);
}
if (options.json) writeFileSync(options.json, `${JSON.stringify({ browser: results }, null, 2)}\n`);
