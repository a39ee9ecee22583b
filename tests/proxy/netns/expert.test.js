// Would tshark tell? A capture of real traffic, spoiled in one place at a time, must be found out.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { inspect, whyNot } from "./expert.js";
import { MB, netnsTest, site, stream, useWorld, whyNotHere } from "./world.js";

const here = useWorld();
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const ETH_BYTES = 14;
const IP_BYTES = 20;
const skip = whyNotHere || whyNot || false;

netnsTest("there is a capture with TCP, UDP, ICMP and DHCP in it", async () => {
  const { world } = here;
  const { data } = stream(MB / 10);
  const port = await world.serve((socket) => socket.end(data));
  const script = [
    "busybox udhcpc -f -q -n -t 5 -i tap0 -s /bin/true >/dev/null",
    `timeout 10 bash -c 'cat </dev/tcp/${site.address}/${port}' >/dev/null`,
    "busybox nslookup nothing.test 10.0.2.2 >/dev/null",
    "busybox ping -c 1 -W 10 10.0.2.2",
  ];
  const result = await world.guest(["bash", "-c", script.join("\n")]);
  assert.equal(result.status, 0, result.output);
});

/** Where the frames of a capture are. */
function* frames(capture) {
  for (let at = FILE_HEADER_BYTES; at < capture.length; ) {
    const bytes = capture.readUInt32LE(at + 8);
    at += RECORD_HEADER_BYTES;
    yield capture.subarray(at, at + bytes);
    at += bytes;
  }
}

const isIpv4 = (frame) => frame[6] === 2 && frame.readUInt16BE(12) === 0x0800;
const carries = (protocol) => (frame) => isIpv4(frame) && frame[ETH_BYTES + 9] === protocol;
const l4 = (frame) => frame.subarray(ETH_BYTES + IP_BYTES);
const fromPort = (port) => (frame) => carries(17)(frame) && l4(frame).readUInt16BE(0) === port;
const flip = (at) => (frame) => {
  frame[at] ^= 0x40;
};
const DHCP_OPTION_LENGTH_AT = ETH_BYTES + IP_BYTES + 8 + 240 + 1;

const faults = [
  { name: "an IPv4 header checksum", which: isIpv4, spoil: flip(ETH_BYTES + 10) },
  { name: "a TCP checksum", which: carries(6), spoil: flip(ETH_BYTES + IP_BYTES + 16) },
  {
    name: "a TCP payload",
    which: (frame) => carries(6)(frame) && frame.length > 200,
    spoil: flip(150),
  },
  { name: "a UDP checksum", which: carries(17), spoil: flip(ETH_BYTES + IP_BYTES + 6) },
  { name: "an ICMP checksum", which: carries(1), spoil: flip(ETH_BYTES + IP_BYTES + 2) },
  {
    name: "a DNS answer that ends early",
    which: fromPort(53),
    spoil(frame) {
      l4(frame).writeUInt16BE(0, 6); // no checksum: only the content is wrong
      l4(frame).writeUInt16BE(9, 8 + 4); // nine questions
    },
  },
  {
    name: "a DHCP option that ends early",
    which: fromPort(67),
    spoil(frame) {
      l4(frame).writeUInt16BE(0, 6);
      frame[DHCP_OPTION_LENGTH_AT] = 0; // a message type of no bytes
    },
  },
];

test("tshark finds nothing in what the proxy really sent", { skip }, () => {
  assert.deepEqual(inspect(here.world.captures).faults, []);
});

for (const { name, which, spoil } of faults) {
  test(`tshark finds ${name} when it is wrong`, { skip }, () => {
    const [file] = here.world.captures;
    const capture = readFileSync(file);
    const frame = [...frames(capture)].find(which);
    assert.ok(frame, "the capture holds no such frame");
    spoil(frame);
    const spoiled = `${file}.spoiled`;
    writeFileSync(spoiled, capture);
    assert.equal(inspect([spoiled]).faults.length, 1);
  });
}
