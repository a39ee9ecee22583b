/*
 * status.js - writes what is known into the hops, the counters and the rates.
 */
import { bytes, count, mbits, milliseconds } from "./format.js";

const byId = (id) => document.getElementById(id);

function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/** @param {"guest"|"card"|"tunnel"|"proxy"} hop  @param {"wait"|"good"|"off"|"bad"} health */
export function setHop(hop, health, value, detail) {
  byId(`hop-${hop}`).dataset.health = health;
  write(hop === "guest" ? "lease" : hop === "card" ? "link" : hop, value);
  if (detail !== undefined) write(`${hop}-detail`, detail);
}

/** Whether frames move on a hop; its line to the next one shows it. */
export function setFlow(down, up) {
  const hops = document.querySelector(".hops");
  hops.dataset.down = String(down > 0);
  hops.dataset.up = String(up > 0);
}

/** Sums the counters of frames that `prefix` begins; bytes and second names do not count. */
function sum(counters, prefix) {
  let total = 0;
  for (const [name, value] of Object.entries(counters ?? {})) {
    if (!name.startsWith(prefix) || name.endsWith("Bytes")) continue;
    if (name === "txDroppedTunnelBackpressure") continue; // another name of txDroppedSendError
    total += value;
  }
  return total;
}

/** Frames lost on the way to and from the guest, by card, rings and tunnel together. */
export function dropsOf({ card, tunnel }) {
  const lost = (prefix) => sum(card, prefix) + sum(tunnel?.drops, prefix);
  return { rx: lost("rxDropped"), tx: lost("txDropped") };
}

/** Shows one report of the worker and the rates since the one before. */
export function showStats(stats, rates, peaks) {
  const { card, tunnel } = stats;
  write("rx-frames", count(card.rxFrames ?? 0));
  write("tx-frames", count(card.txFrames ?? 0));
  write("rx-bytes", bytes(card.rxBytes ?? 0));
  write("tx-bytes", bytes(card.txBytes ?? 0));
  const drops = dropsOf(stats);
  write("rx-drops", count(drops.rx));
  write("tx-drops", count(drops.tx));
  write("rtt", typeof tunnel?.rttMs === "number" ? milliseconds(tunnel.rttMs) : "–");
  write("mips", rates.instructions > 0 ? `${count(rates.instructions / 1e6)} M instr/s` : "–");
  write("rate-down", mbits(rates.down));
  write("rate-up", mbits(rates.up));
  write("peak-down", mbits(peaks.down));
  write("peak-up", mbits(peaks.up));
}

/** The table behind "Every counter"; built only while it is open. */
export function showAllCounters(stats) {
  const list = byId("all-counters");
  if (!list.parentElement.open) return;
  const { client, drops, ...tunnel } = stats.tunnel ?? {}; // drops repeats what tunnel has
  const rows = [];
  for (const [part, counters] of Object.entries({ card: stats.card, tunnel, client })) {
    for (const [name, value] of Object.entries(counters ?? {})) {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const data = document.createElement("dd");
      term.textContent = `${part}.${name}`;
      data.textContent = typeof value === "number" ? count(value) : String(value ?? "–");
      row.append(term, data);
      rows.push(row);
    }
  }
  list.replaceChildren(...rows);
}
