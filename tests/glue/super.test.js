// Super-frames through the whole chain (spec/l2-extensions.md §6): a TSO send of a card arrives at a
// peer that announced SUPER as one message, at any other as the frames it stands for; and the way back.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { WebSocket } from "ws";

import { connectTunnel, createNic } from "../../wasm-glue/src/index.js";
import { ProxyStub, superMessage, Type } from "./proxy-stub.js";
import { Feature, RAM_BYTES, RX, TX, VirtioDriver } from "./virtio-driver.js";

const webSocketModule = import.meta.resolve
  ? import.meta.resolve("ws")
  : new URL("../node_modules/ws/wrapper.mjs", import.meta.url).href;

const MSS = 1460;
const HEADERS = 54; // Ethernet, IPv4, TCP
const PAYLOAD = 60_000;
const SEGMENTS = Math.ceil(PAYLOAD / MSS);
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const SUPER_FEATURES = [
  Feature.VERSION_1,
  Feature.MAC,
  Feature.STATUS,
  [0x1 | 0x2 | (1 << 7) | (1 << 11) | (1 << 15), 0], // CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG
];

/** A TCP packet over IPv4 whose payload tells every byte's place. */
function tcpPacket(payloadBytes) {
  const frame = Buffer.alloc(HEADERS + payloadBytes);
  frame.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 1, 8, 0]);
  frame[14] = 0x45;
  frame.writeUInt16BE(frame.length - 14, 16);
  frame[22] = 64;
  frame[23] = 6;
  frame.set([10, 0, 2, 15, 203, 0, 113, 10], 26);
  frame.writeUInt16BE(40000, 34);
  frame.writeUInt16BE(80, 36);
  frame.writeUInt32BE(1000, 38); // sequence number
  frame[46] = 0x50;
  frame[47] = 0x10;
  for (let i = 0; i < payloadBytes; i++) frame[HEADERS + i] = (i * 7 + (i >> 8)) & 0xff;
  return frame;
}

const payloadOf = (frame) => Buffer.from(frame).subarray(HEADERS);

/** The header of a TSO send (virtio-net.md §6.5). */
function tsoHeader() {
  const header = Buffer.alloc(12);
  header[0] = NEEDS_CSUM;
  header[1] = GSO_TCPV4;
  header.writeUInt16LE(HEADERS, 2);
  header.writeUInt16LE(MSS, 4);
  header.writeUInt16LE(34, 6);
  header.writeUInt16LE(16, 8);
  return header;
}

/** The one's-complement sum over a region; 0xffff where the checksum in it is right. */
function sum(bytes, seed = 0) {
  let total = seed;
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}
function assertChecksums(frame) {
  const bytes = Buffer.from(frame);
  const tcpBytes = bytes.length - 34;
  assert.equal(sum(bytes.subarray(14, 34)), 0xffff, "IP header checksum");
  assert.equal(
    sum(bytes.subarray(34), sum(bytes.subarray(26, 34)) + 6 + tcpBytes),
    0xffff,
    "TCP checksum",
  );
}

for (const [where, made, connect] of [
  ["on the card's thread", { isolated: false }, { WebSocket }],
  ["with a worker", { isolated: true }, { worker: true, webSocketModule }],
])
  describe(where, () => {
    async function world(t, stubOptions, features = SUPER_FEATURES, options = {}) {
      const stub = await ProxyStub.start(stubOptions);
      const ram = new Uint8Array(RAM_BYTES);
      const nic = await createNic({ model: "virtio-net", memory: ram, ...made });
      const tunnel = connectTunnel(nic, { url: stub.url, ...connect, ...options });
      t.after(async () => {
        tunnel.close();
        nic.close();
        await stub.stop();
      });
      const hello = new Promise((resolve) => {
        stub.onMessage = (wire) => {
          stub.wires.push(Buffer.from(wire));
          if (wire[2] === Type.HELLO) resolve(wire);
        };
      });
      await tunnel.opened;
      await hello;
      // An answer to a ping says that the HELLO before it has been taken in.
      stub.socket.send(Buffer.of(0xa2, 0x03, Type.PING, 0, 1, 2, 3, 4, 5, 6, 7, 8));
      const until = async (done) => {
        while (!done()) {
          nic.poll();
          await turn();
        }
      };
      await until(() => stub.wires.some((wire) => wire[2] === Type.PONG));
      const driver = VirtioDriver.of(nic, ram);
      driver.start(features);
      return { stub, nic, driver, tunnel, until };
    }

    test("a TSO send of 60 KB arrives at a SUPER peer as one message of type 0x12", async (t) => {
      const { stub, driver, until } = await world(t, { supers: true });
      const packet = tcpPacket(PAYLOAD);
      driver.send(packet, tsoHeader());
      const first = () => stub.wires.find((wire) => wire[2] === Type.SUPER);
      await until(first);
      const wire = first();
      assert.equal(wire.readUInt16BE(4), MSS);
      assert.equal(wire.length, 6 + packet.length);
      assert.deepEqual(payloadOf(wire.subarray(6)), payloadOf(packet));
      assert.equal(wire.readUInt16BE(6 + 16), packet.length - 14); // IP length covers the whole
      assert.equal(stub.wires.filter((w) => [Type.FRAME, Type.BATCH].includes(w[2])).length, 0);
      assert.deepEqual(driver.used(TX), [[0, 0]]);
    });

    for (const [peer, stubOptions, options] of [
      ["a SUPER peer, but maxFrameSize is below it,", { supers: true }, { maxFrameSize: 1514 }],
      ["a peer without SUPER", {}],
      ["a peer of the base protocol", { batches: false }],
    ])
      test(`at ${peer} it arrives as ordinary frames`, async (t) => {
        const { stub, driver, until } = await world(t, stubOptions, SUPER_FEATURES, options);
        const frames = [];
        stub.onFrame = (frame) => frames.push(Buffer.from(frame));
        const packet = tcpPacket(PAYLOAD);
        driver.send(packet, tsoHeader());
        await until(() => frames.length >= SEGMENTS);
        assert.equal(frames.length, SEGMENTS);
        assert.ok(frames.every((frame) => frame.length <= HEADERS + MSS));
        assert.deepEqual(Buffer.concat(frames.map(payloadOf)), payloadOf(packet));
        frames.forEach((frame, i) => {
          assertChecksums(frame);
          assert.equal(frame.readUInt32BE(38), 1000 + i * MSS);
        });
      });

    test("a super-frame of the peer reaches a guest with large receive whole", async (t) => {
      const { stub, driver, nic, until } = await world(t, { supers: true });
      driver.post(32);
      const packet = tcpPacket(PAYLOAD);
      stub.socket.send(superMessage(MSS, packet));
      await until(() => nic.stats().rxFrames >= 1);
      const used = driver.used(RX);
      const whole = Buffer.concat(
        used.map(([id, bytes]) => {
          const at = driver.bufferAt(RX, id);
          return Buffer.from(driver.ram.slice(at, at + bytes));
        }),
      );
      assert.equal(whole[1], GSO_TCPV4);
      assert.equal(whole.readUInt16LE(4), MSS);
      assert.equal(whole.readUInt16LE(10), used.length); // num_buffers
      assert.deepEqual(payloadOf(whole.subarray(12)), payloadOf(packet));
    });

    test("a guest without it gets the frames", async (t) => {
      const plain = [Feature.VERSION_1, Feature.MAC, Feature.STATUS];
      const { stub, driver, nic, until } = await world(t, { supers: true }, plain);
      driver.post(64);
      const packet = tcpPacket(PAYLOAD);
      stub.socket.send(superMessage(MSS, packet));
      await until(() => nic.stats().rxFrames >= SEGMENTS);
      const frames = driver.received();
      assert.equal(frames.length, SEGMENTS);
      frames.forEach(assertChecksums);
      assert.deepEqual(Buffer.concat(frames.map(payloadOf)), payloadOf(packet));
    });

    test("order with ordinary frames is kept", async (t) => {
      const { stub, driver, until } = await world(t, { supers: true });
      driver.send(tcpPacket(100));
      driver.send(tcpPacket(4000), tsoHeader());
      driver.send(tcpPacket(200));
      const arrived = () =>
        stub.wires.flatMap((wire) => {
          if (wire[2] === Type.SUPER) return [`super ${wire.length - 6 - HEADERS}`];
          if (wire[2] === Type.FRAME) return [`frame ${wire.length - 4 - HEADERS}`];
          return [];
        });
      await until(() => arrived().length === 3);
      assert.deepEqual(arrived(), ["frame 100", "super 4000", "frame 200"]);
    });
  });

test("without a tunnel takeFrame() gives the frames of a TSO send", async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ model: "virtio-net", memory: ram });
  const driver = VirtioDriver.of(nic, ram);
  driver.start(SUPER_FEATURES);
  const packet = tcpPacket(PAYLOAD);
  driver.send(packet, tsoHeader());
  nic.poll();
  const frames = [];
  for (let frame = nic.takeFrame(); frame; frame = nic.takeFrame()) frames.push(frame);
  assert.equal(frames.length, SEGMENTS);
  frames.forEach(assertChecksums);
  assert.deepEqual(Buffer.concat(frames.map(payloadOf)), payloadOf(packet));
});
