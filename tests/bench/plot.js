// Draws throughput against round-trip time from the JSON of proxy.js (or of scripts/bench).
//
//   plot.js FIGURES.json docs/throughput.svg
import { readFileSync, writeFileSync } from "node:fs";

const [from, to] = process.argv.slice(2);
if (!to) {
  console.error("usage: plot.js FIGURES.json OUTPUT.svg");
  process.exit(2);
}
const { proxy } = JSON.parse(readFileSync(from, "utf8"));

const MTU = 1500;
const size = { width: 840, height: 420 };
const area = { left: 84, right: 560, top: 56, bottom: 328 };
const least = 1; // Mbit/s; the scale is logarithmic
const most = 10_000;
const lines = [
  { path: "proxy", what: "down", color: "#0b63ce", dash: "", name: "aero-l2-proxy, down" },
  { path: "proxy", what: "up", color: "#0b63ce", dash: "6 4", name: "aero-l2-proxy, up" },
  { path: "slirp4netns", what: "down", color: "#c2410c", dash: "", name: "slirp4netns, down" },
  { path: "slirp4netns", what: "up", color: "#c2410c", dash: "6 4", name: "slirp4netns, up" },
];

const isPoint = (row) => row.mtu === MTU && row.flows === 1 && row.gbitPerS > 0;
const points = ({ path, what }) =>
  proxy.rows
    .filter((row) => isPoint(row) && row.path === path && row.what === what)
    .map((row) => ({ rttMs: row.rttMs, mbit: row.gbitPerS * 1000 }))
    .sort((a, b) => a.rttMs - b.rttMs);
const longestMs = Math.max(...lines.flatMap((line) => points(line).map(({ rttMs }) => rttMs)));

const x = (rttMs) => area.left + ((area.right - area.left) * rttMs) / longestMs;
const y = (mbit) =>
  area.bottom -
  ((area.bottom - area.top) * Math.log10(Math.max(mbit, least) / least)) / Math.log10(most / least);
const at = (point) => `${x(point.rttMs).toFixed(1)},${y(point.mbit).toFixed(1)}`;
const text = (left, top, words, more = "") =>
  `<text x="${left.toFixed(1)}" y="${top.toFixed(1)}"${more}>${words}</text>`;
const rate = (mbit) => (mbit >= 1000 ? `${mbit / 1000} Gbit/s` : `${mbit} Mbit/s`);

const out = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" ` +
    `font-family="system-ui, sans-serif" font-size="12" fill="#222">`,
  `<title>One TCP flow of a guest: throughput against round-trip time</title>`,
  `<rect width="${size.width}" height="${size.height}" fill="#fff"/>`,
  text(
    area.left,
    28,
    "One TCP flow, MTU 1500: throughput against the guest's round-trip time",
    ' font-size="15" font-weight="600"',
  ),
];
for (let mbit = least; mbit <= most; mbit *= 10) {
  const level = y(mbit).toFixed(1);
  out.push(`<path d="M${area.left} ${level}H${area.right}" stroke="#ddd"/>`);
  out.push(text(area.left - 8, y(mbit) + 4, rate(mbit), ' text-anchor="end"'));
}
for (const { rttMs } of points(lines[0])) {
  out.push(`<path d="M${x(rttMs).toFixed(1)} ${area.top}V${area.bottom}" stroke="#eee"/>`);
  out.push(text(x(rttMs), area.bottom + 18, `${rttMs} ms`, ' text-anchor="middle"'));
}
lines.forEach((line, i) => {
  const path = points(line);
  const stroke = `stroke="${line.color}" stroke-width="2" stroke-dasharray="${line.dash}"`;
  const level = area.top + 14 + 22 * i;
  out.push(`<polyline points="${path.map(at).join(" ")}" fill="none" ${stroke}/>`);
  for (const point of path)
    out.push(
      `<circle cx="${x(point.rttMs).toFixed(1)}" cy="${y(point.mbit).toFixed(1)}" r="3.5" ` +
        `fill="${line.color}"><title>${line.name}, ${point.rttMs} ms: ` +
        `${point.mbit.toFixed(0)} Mbit/s</title></circle>`,
    );
  out.push(`<path d="M576 ${level}h24" ${stroke}/>`, text(606, level + 4, line.name));
});
const load = `${proxy.load.toFixed(1)} to ${proxy.loadAtEnd.toFixed(1)} on ${proxy.cores} cores`;
out.push(
  text(
    24,
    size.height - 44,
    "Whole transfers, slow start included; a Linux guest with " +
      "default buffers; the delay sits between guest and proxy.",
  ),
  text(
    24,
    size.height - 26,
    `Measured ${proxy.date.slice(0, 10)} in one run; ` +
      `load average ${load}, shared with the guest and the server.`,
  ),
  "</svg>",
);
writeFileSync(to, `${out.join("\n")}\n`);
