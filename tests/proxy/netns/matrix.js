// The matrix: what a real Linux TCP moves through the real proxy over which line, both ways, each
// byte compared and both ends' SHA-256, too. Rows are lines; run by netns/space (scripts/matrix).
//
//   matrix.js [--quick] [--json FILE]
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { MB, openWorld, whyNotHere } from "./world.js";

/**
 * A line: the round trip, and what befalls frames in either direction, per cent.
 * @typedef {object} Line
 * @property {number} rttMs
 * @property {number} [loss]
 * @property {number} [reorder]
 * @property {number} [duplicate]
 * @property {number} [mbit]  what it carries, with 100 KB of queue
 * @property {number} [flows]
 * @property {boolean} [uncut]  TCP in super-frames, as a card with TSO has it (l2-extensions.md §6)
 * @property {number} bytes  in all, each way
 * @property {number} [short]  bytes in the quick run and in ctest; none: not part of these
 */

/** @type {Line[]} */
export const lines = [
  { rttMs: 0, bytes: 200 * MB, short: 50 * MB },
  { rttMs: 0, loss: 1, bytes: 50 * MB, short: 10 * MB },
  { rttMs: 0, loss: 5, bytes: 20 * MB },
  { rttMs: 20, bytes: 200 * MB },
  { rttMs: 20, loss: 1, bytes: 10 * MB },
  { rttMs: 20, loss: 5, bytes: 3 * MB, short: MB / 2 },
  { rttMs: 50, bytes: 200 * MB, short: 30 * MB },
  { rttMs: 50, loss: 1, bytes: 5 * MB },
  { rttMs: 50, loss: 5, bytes: 2 * MB },
  { rttMs: 100, bytes: 200 * MB },
  { rttMs: 100, loss: 1, bytes: 3 * MB },
  { rttMs: 100, loss: 5, bytes: MB },
  { rttMs: 200, bytes: 200 * MB },
  { rttMs: 200, loss: 1, bytes: 2 * MB },
  { rttMs: 200, loss: 5, bytes: MB },
  { rttMs: 20, reorder: 1, bytes: 20 * MB },
  { rttMs: 20, reorder: 10, bytes: 10 * MB, short: 5 * MB },
  { rttMs: 20, duplicate: 10, bytes: 20 * MB, short: 5 * MB },
  { rttMs: 50, loss: 1, reorder: 5, duplicate: 2, bytes: 3 * MB },
  { rttMs: 20, loss: 5, reorder: 5, duplicate: 5, flows: 4, bytes: 4 * MB, short: MB },
  { rttMs: 20, mbit: 10, bytes: 5 * MB },
  { rttMs: 20, mbit: 100, bytes: 25 * MB, short: 10 * MB },
  { rttMs: 50, mbit: 50, loss: 1, bytes: 5 * MB },
  { rttMs: 200, mbit: 1, bytes: MB },
  { rttMs: 0, flows: 10, bytes: 100 * MB, short: 20 * MB },
  { rttMs: 0, flows: 100, bytes: 100 * MB },
  { rttMs: 0, flows: 500, bytes: 100 * MB },
  { rttMs: 50, loss: 1, flows: 100, bytes: 20 * MB },
  { rttMs: 0, uncut: true, bytes: 500 * MB, short: 100 * MB },
  { rttMs: 20, loss: 5, uncut: true, bytes: 10 * MB, short: MB },
  { rttMs: 0, flows: 50, uncut: true, bytes: 200 * MB, short: 50 * MB },
];

export function describe(line) {
  const bad = ["loss", "reorder", "duplicate"].filter((what) => line[what]);
  return [
    `${line.rttMs} ms`,
    ...bad.map((what) => `${line[what]} % ${what}`),
    ...(line.mbit ? [`${line.mbit} Mbit/s`] : []),
    ...(line.flows ? [`${line.flows} flows`] : []),
    ...(line.uncut ? ["super-frames"] : []),
  ].join(", ");
}

function peerOptions({ rttMs, loss = 0, reorder = 0, duplicate = 0, mbit = 0, uncut = false }) {
  const options = {
    "--delay-us": rttMs * 500,
    "--loss": loss * 10,
    "--reorder": reorder * 10,
    "--duplicate": duplicate * 10,
    "--rate-kbit": mbit * 1000,
    "--super": Number(uncut),
  };
  return Object.entries(options)
    .filter(([, value]) => value > 0)
    .flatMap(([name, value]) => [name, String(value)]);
}

/**
 * One direction over one line.
 * @returns {Promise<object>}  tcp_load's, with mbitPerS and what the proxy sent again
 */
export async function moveOver(world, line, kind) {
  const { flows = 1, bytes } = line;
  const before = await world.metric("l2_tcp_retransmits_total");
  const result = await world.transfer({
    kind,
    flows,
    bytes: Math.ceil(bytes / flows),
    options: peerOptions(line),
    sha256: true,
  });
  return {
    ...result,
    mbitPerS: result.ok ? (result.bytes * 8) / result.seconds / 1e6 : 0,
    retransmits: (await world.metric("l2_tcp_retransmits_total")) - before,
  };
}

export const shortLines = lines
  .filter((line) => line.short)
  .map((line) => ({ ...line, bytes: line.short }));

const columns = ["RTT ms", "loss %", "reorder %", "dup %", "line Mbit/s", "flows", "super", "MB"];
const results = ["down Mbit/s", "SHA-256", "resent", "up Mbit/s", "SHA-256", "early"];

function print(cells) {
  const widths = [6, 6, 9, 5, 11, 5, 5, 5, 11, 7, 6, 9, 7, 6];
  const padded = cells.map((cell, i) => String(cell ?? "-").padStart(widths[i]));
  console.log(`| ${padded.join(" | ")} |`);
}

const verdict = (result) => (result.ok && result.sha256 ? "ok" : "FAILED");

async function main() {
  if (whyNotHere) throw new Error(whyNotHere);
  const chosen = process.argv.includes("--quick") ? shortLines : lines;
  const world = await openWorld();
  const rows = [];
  try {
    print([...columns, ...results]);
    print([...columns, ...results].map(() => "--:"));
    for (const line of chosen) {
      const down = await moveOver(world, line, "down");
      const early = await world.metric("l2_tcp_out_of_order_total");
      const up = await moveOver(world, line, "up");
      up.outOfOrder = (await world.metric("l2_tcp_out_of_order_total")) - early;
      rows.push({ ...line, down, up });
      print([
        ...[line.rttMs, line.loss, line.reorder, line.duplicate, line.mbit, line.flows ?? 1],
        ...[
          line.uncut ? "yes" : "-",
          line.bytes / MB,
          down.mbitPerS.toFixed(1),
          verdict(down),
          down.retransmits,
        ],
        ...[up.mbitPerS.toFixed(1), verdict(up), up.outOfOrder],
      ]);
    }
  } finally {
    await world.close();
  }
  const file = process.argv[process.argv.indexOf("--json") + 1];
  if (process.argv.includes("--json"))
    writeFileSync(file, `${JSON.stringify({ matrix: rows }, null, 2)}\n`);
  const failed = rows.filter(({ down, up }) => verdict(down) !== "ok" || verdict(up) !== "ok");
  for (const { down, up, ...line } of failed)
    console.error(`failed: ${describe(line)}: ${JSON.stringify({ down, up })}`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main();
