// UDP and ICMP as a real kernel sends and takes them: empty, large, refused (l2-proxy.md §5.3, §6.3).
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after } from "node:test";
import { expertTest, netnsTest, site, until, useWorld } from "./world.js";

const here = useWorld({ AERO_L2_UDP_FLOW_IDLE_TIMEOUT_MS: "500" });
const CLOSED_PORT = 1;
const sockets = [];
after(() => {
  for (const socket of sockets) socket.close();
});

async function serveEcho() {
  const socket = createSocket("udp4");
  sockets.push(socket);
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  socket.bind(0, site.address);
  await once(socket, "listening");
  return socket.address().port;
}

/* At MTU 1500: 1472 bytes are the last that fit a frame, 65507 the most there can be. */
const lengths = [0, 1, 512, 1471, 1472, 1473, 2952, 2953, 9000, 32768, 65507];

netnsTest("datagrams of every length come back whole", async () => {
  const port = await serveEcho();
  const { wrong } = await here.world.run(["udp", site.address, port, ...lengths]);
  assert.deepEqual(wrong, []);
});

netnsTest("large datagrams survive an overtaking, doubling line", async () => {
  const port = await serveEcho();
  const line = ["--delay-us", "2000", "--reorder", "200", "--duplicate", "200"];
  const { wrong } = await here.world.run(["udp", site.address, port, ...lengths.slice(5)], line);
  assert.deepEqual(wrong, []);
});

netnsTest("a port nobody listens on becomes ICMP port unreachable", async () => {
  const { error } = await here.world.run(["udpRefused", site.address, CLOSED_PORT]);
  assert.equal(error, "ECONNREFUSED");
});

netnsTest("the gateway and the world answer pings, large ones too", async () => {
  const pings = ["10.0.2.2", site.address].flatMap((to) =>
    ["56", "1472", "8000"].map((bytes) => `busybox ping -c 1 -W 10 -s ${bytes} ${to}`),
  );
  const result = await here.world.guest(["sh", "-ec", pings.join("\n")]);
  assert.equal(result.status, 0, result.output);
  assert.equal(result.output.match(/ 0% packet loss/g).length, pings.length, result.output);
});

netnsTest("a silent flow expires", async () => {
  const port = await serveEcho();
  await here.world.run(["udp", site.address, port, 100]);
  await until("no flow", async () => (await here.world.metric("l2_udp_flows_active")) === 0);
});

expertTest(here);
