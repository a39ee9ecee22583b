// Issue goal: a tunnel that is up and quiet costs at most 16 KB of the proxy's memory.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { ProxyProcess } from "../support/proxy.js";
import { binary, OPEN, RawTunnel } from "./raw.js";

const FIRST = 20; // tunnels that fill what is there once per process or worker
const MORE = 100;
const GOAL_BYTES = 16_384;
const SHADOW_KB = 1e9; // address space only a sanitizer takes

/** A line of /proc/<pid>/<file>, in KB. */
function kilobytes(pid, file, name) {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/${file}`))[1],
  );
}

/** Up: upgraded, and its ARP request answered. */
async function join(proxy) {
  const tunnel = await RawTunnel.open(proxy);
  const mac = "525400123456";
  const arp = `ffffffffffff${mac}08060001080006040001${mac}0a00020f0000000000000a000202`;
  tunnel.send(binary(`a2030000${arp}`));
  await tunnel.message();
  return tunnel;
}

test("an idle tunnel costs at most 16 KB of private memory", async (t) => {
  const proxy = await ProxyProcess.start({ ...OPEN, AERO_L2_MAX_CONNECTIONS: "0" });
  t.after(() => proxy.stop());
  if (kilobytes(proxy.pid, "status", "VmSize") > SHADOW_KB) {
    t.skip("a sanitizer's memory, not the proxy's");
    return;
  }
  const tunnels = [];
  const used = () => 1024 * kilobytes(proxy.pid, "smaps_rollup", "Private_Dirty");
  for (let i = 0; i < FIRST; i++) tunnels.push(await join(proxy));
  const before = used();
  for (let i = 0; i < MORE; i++) tunnels.push(await join(proxy));
  const perTunnel = Math.round((used() - before) / MORE);
  for (const tunnel of tunnels) tunnel.destroy();
  t.diagnostic(`${perTunnel} bytes a tunnel`);
  assert.ok(perTunnel <= GOAL_BYTES, `${perTunnel} bytes`);
});

/** Sockets that more than one descriptor of the process names. */
function socketsHeldTwice(pid) {
  const links = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // closed meanwhile
    }
  });
  return links.filter((link, at) => link.startsWith("socket:") && links.indexOf(link) !== at);
}

// The request's 16 KiB and its descriptor are let go with the upgrade, not with the next request.
test("a lone tunnel is held once", async (t) => {
  const proxy = await ProxyProcess.start(OPEN);
  t.after(() => proxy.stop());
  const tunnel = await join(proxy);
  for (let left = 500; left > 0 && socketsHeldTwice(proxy.pid).length > 0; left--) await delay(10);
  assert.deepEqual(socketsHeldTwice(proxy.pid), []);
  tunnel.destroy();
});
