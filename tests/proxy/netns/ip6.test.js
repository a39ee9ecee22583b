// A real Linux guest on IPv6: its own address by SLAAC, then TCP, UDP and pings to IPv6 servers.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, describe, it } from "node:test";
import { expertTest, hasIpv6, isLong, MB, site, useWorld, whyNotHere } from "./world.js";

const here = useWorld({ AERO_L2_IPV6: "1" });
const sockets = [];
after(() => {
  for (const socket of sockets) socket.close();
});
const skip = whyNotHere || (hasIpv6 ? false : "this kernel has no IPv6");

/** Runs the command once the guest's address is no longer tentative. */
const withAddress = (command) => [
  "sh",
  "-ec",
  `until ip -6 address show dev tap0 scope global -tentative | grep -q inet6; do sleep 0.1; done
   exec "$@"`,
  "sh",
  ...command.map(String),
];

/* Each guest needs seconds for its address: all of them at once. */
describe("IPv6", { concurrency: true, skip }, () => {
  it("SLAAC gives an address of our /64 and a default route", async () => {
    const script = "ip -6 address show dev tap0 scope global; ip -6 route show default";
    const { status, output } = await here.world.guest(withAddress(["sh", "-c", script]));
    assert.equal(status, 0, output);
    assert.match(output, /inet6 fd4b:c7f1:9a2e:2:5054:ff:fe12:3456\/64/); // RFC 4291 appendix A
    assert.match(output, /default via fe80::\S+ dev tap0 proto ra/);
  });

  for (const kind of ["down", "up"]) {
    it(`TCP to an IPv6 server ${kind}, hashed`, async () => {
      const where = { host: site.address6, port: here.world.port };
      const bytes = (isLong ? 100 : 10) * MB;
      const command = here.world.load({ kind, bytes, flows: 4, sha256: true, ...where });
      const { output } = await here.world.guest(withAddress(command));
      assert.match(output, /"ok":true,"sha256":true/);
    });
  }

  it("UDP to an IPv6 server: empty, whole and fragmented datagrams", async () => {
    const socket = createSocket("udp6");
    sockets.push(socket);
    socket.on("message", (message, from) => socket.send(message, from.port, from.address));
    socket.bind(0, site.address6);
    await once(socket, "listening");
    const lengths = [0, 1, 1452, 1453, 9000, 60000];
    const words = ["udp", site.address6, socket.address().port, ...lengths];
    const { output } = await here.world.guest(withAddress(here.world.program(words)));
    assert.match(output, /\{"wrong":\[\]\}/);
  });

  it("pings over IPv6 to the gateway and to the world", async () => {
    const pings = ["fd4b:c7f1:9a2e:2::2", site.address6].flatMap((to) =>
      ["56", "1452", "4000"].map((bytes) => `busybox ping -6 -c 1 -W 10 -s ${bytes} ${to}`),
    );
    const { status, output } = await here.world.guest(withAddress(["sh", "-ec", pings.join("\n")]));
    assert.equal(status, 0, output);
    assert.equal(output.match(/ 0% packet loss/g).length, pings.length, output);
  });

  it("a closed port refuses over IPv6, too", async () => {
    const words = ["connect", site.address6, 1];
    const { output } = await here.world.guest(withAddress(here.world.program(words)));
    assert.match(output, /\{"error":"ECONNREFUSED"\}/);
  });

  it("IPv4 goes on beside it", async () => {
    const result = await here.world.transfer({ kind: "down", bytes: MB, sha256: true });
    assert.equal(result.ok, true, JSON.stringify(result));
  });
});

expertTest(here);
