// How a guest gets onto the LAN: real DHCP clients, no DHCP at all, and who does not belong there
// (l2-proxy.md §5.1, §5.2).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { expertTest, hasIpv6, MB, netnsTest, site, until, useWorld, whyNotHere } from "./world.js";

const here = useWorld({ AERO_L2_IPV6: "1" });
const build =
  process.env.AERO_BUILD_DIR ?? fileURLToPath(new URL("../../../build", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "aero-lan-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const isThere = (program) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
const testWith = (program, name, body) =>
  isThere(program)
    ? netnsTest(name, body)
    : test(name, { skip: whyNotHere || `${program} is not installed` }, body);

/** What a client calls with each lease: sets the address and tells. */
function leaseScript(name, lines) {
  const path = join(folder, name);
  writeFileSync(path, ["#!/bin/sh", ...lines, ""].join("\n"), { mode: 0o755 });
  return path;
}

const STRANGERS = 20;

/** The lease is told, then used for a hashed download. */
async function leaseAndLoad(client) {
  const port = here.world.port;
  const load = here.world.load({ kind: "down", bytes: MB, sha256: true, host: site.address, port });
  const script = `${client} 2>&1; ip route; exec ${load.join(" ")}`;
  const { status, output } = await here.world.guest(["sh", "-c", script], ["--address", "none"]);
  assert.equal(status, 0, output);
  assert.match(output, /"ok":true,"sha256":true/);
  assert.match(output, /default via 10\.0\.2\.2/);
  return output;
}

testWith("busybox", "busybox udhcpc gets the lease, and it works", async () => {
  const told = leaseScript("udhcpc", [
    '[ "$1" = bound ] || exit 0',
    'ip address add "$ip/$mask" dev "$interface"',
    'ip route add default via "$router"',
    'echo "lease $ip/$mask router $router dns $dns time $lease server $serverid"',
  ]);
  const output = await leaseAndLoad(`busybox udhcpc -f -q -n -t 5 -i tap0 -s ${told}`);
  const lease =
    /lease 10\.0\.2\.15\/24 router 10\.0\.2\.2 dns 10\.0\.2\.2 time 86400 server 10\.0\.2\.2/;
  assert.match(output, lease);
});

testWith("busybox", "udhcpc renews its lease and gives it back", async () => {
  const told = leaseScript("udhcpc-renew", [
    'case "$1" in bound) ip address add "$ip/$mask" dev "$interface" ;; esac',
    `echo "$1" >>${folder}/events`,
  ]);
  const client = `busybox udhcpc -f -R -t 5 -i tap0 -s ${told}`;
  const event = (word) => `until grep -qx ${word} ${folder}/events; do sleep 0.05; done`;
  const script = [
    `: >${folder}/events; ${client} 2>/dev/null & client=$!`,
    event("bound"),
    "kill -USR1 $client",
    event("renew"),
    "kill -USR2 $client",
    event("deconfig"),
    "kill $client; wait $client || true",
  ];
  const guest = ["sh", "-ec", script.join("\n")];
  const { status, output } = await here.world.guest(guest, ["--address", "none"]);
  assert.equal(status, 0, output);
});

testWith("dhclient", "ISC dhclient gets the lease, and it works", async () => {
  const told = leaseScript("dhclient", [
    'case "$reason" in BOUND | REBOOT) ;; *) exit 0 ;; esac',
    'ip address add "$new_ip_address/24" dev "$interface"',
    'ip route add default via "$new_routers"',
    'echo "lease $new_ip_address mask $new_subnet_mask dns $new_domain_name_servers"',
  ]);
  const files = `-lf ${folder}/leases -pf ${folder}/pid -cf /dev/null`;
  const output = await leaseAndLoad(`timeout 30 dhclient -1 -d -sf ${told} ${files} tap0 &
    until ip route | grep -q default; do sleep 0.05; done; kill $!; wait $!`);
  assert.match(output, /lease 10\.0\.2\.15 mask 255\.255\.255\.0 dns 10\.0\.2\.2/);
});

const testWith6 = hasIpv6
  ? testWith
  : (_program, name) => test(name, { skip: whyNotHere || "this kernel has no IPv6" });

testWith6("dhclient", "stateless DHCPv6 tells ISC dhclient the name server", async () => {
  const told = leaseScript("dhclient6", ['echo "dns $new_dhcp6_name_servers"']);
  const files = `-lf ${folder}/leases6 -pf ${folder}/pid6 -cf /dev/null`;
  const script = `until ip -6 address show dev tap0 scope link -tentative | grep -q inet6; do
    sleep 0.1; done
    exec timeout 20 dhclient -6 -S -1 -d -sf ${told} ${files} tap0`;
  const { output } = await here.world.guest(["sh", "-c", script]);
  assert.match(output, /dns fd4b:c7f1:9a2e:2::2/);
});

netnsTest("a static 10.0.2.15 without any DHCP is served", async () => {
  const result = await here.world.transfer({ kind: "up", bytes: MB, sha256: true });
  assert.equal(result.ok, true, JSON.stringify(result));
});

netnsTest("any other static address is not", async () => {
  const before = await here.world.metric("l2_guest_before_lease_total");
  const ignored = async () => (await here.world.metric("l2_guest_before_lease_total")) > before;
  const script = `ip address add 10.0.2.77/24 dev tap0; ip route add default via 10.0.2.2
    echo x >/dev/udp/${site.address}/${here.world.port}; echo sent; exec cat`;
  const guest = here.world.hold(["bash", "-c", script], ["--address", "none"]);
  await guest.hear();
  await until("an ignored frame", ignored);
  assert.equal(await here.world.metric("l2_udp_flows_active"), 0);
  await guest.release();
});

netnsTest("a second station behind the tunnel is ignored and counted", async () => {
  const socket = createSocket("udp4");
  const heard = [];
  socket.on("message", (message) => heard.push(message.toString()));
  socket.bind(0, site.address);
  await once(socket, "listening");
  const before = await here.world.metric("l2_guest_frames_ignored_total");
  const { port } = socket.address();
  const tool = `${build}/tests/guest_raw`;
  const command = [tool, "stranger", site.address, String(port), String(STRANGERS)];
  const { status, output } = await here.world.guest(command);
  assert.equal(status, 0, output);
  await until("the last datagram", () => heard.includes("end"));
  socket.close();
  assert.deepEqual(heard, ["begin", "end"]);
  const ignored = (await here.world.metric("l2_guest_frames_ignored_total")) - before;
  assert.ok(ignored >= 3 * STRANGERS, `${ignored} frames ignored`);
});

expertTest(here);
