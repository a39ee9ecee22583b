// A client that takes small frames only: spec/l2-extensions.md §1 (tag 1) and §4, with a download.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { ProxyProcess } from "../support/proxy.js";
import { ACK, ANNOUNCE, FIN, message, parse, SYN, segment } from "./guest-tcp.js";
import { binary, OPEN, RawTunnel } from "./raw.js";

const LIMIT = 600;

const helloOf = (limit) =>
  binary(`a2031000 01000000 0104 ${limit.toString(16).padStart(8, "0")} 0204 00040000`);

/** A web page that is downloaded through a proxy, by a guest that checks each frame's length. */
async function download({ environment = {}, begin, mss, page = randomBytes(300_000), during }) {
  const server = createServer((socket) => {
    socket.on("error", () => {}); // the guest leaves without a farewell
    socket.end(page);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy = await ProxyProcess.start({
    ...OPEN,
    AERO_L2_TCP_FORWARD: `203.0.113.10:80=127.0.0.1:${server.address().port}`,
    ...environment,
  });
  const tunnel = await RawTunnel.open(proxy);
  const state = { limit: 2048, longest: 0, hello: undefined };
  const nextTcp = async () => {
    for (;;) {
      const wire = Buffer.from(await tunnel.message(), "hex");
      if (wire[2] === 0x10) {
        state.hello = wire.toString("hex");
        state.limit = state.announced;
        continue;
      }
      const bytes = wire.subarray(4);
      assert.ok(bytes.length <= state.limit, `a frame of ${bytes.length} bytes`);
      state.longest = Math.max(state.longest, bytes.length);
      if (bytes.readUInt16BE(12) === 0x0800) return parse(bytes);
    }
  };

  if (begin !== undefined) {
    tunnel.send(helloOf(begin));
    state.hello = await tunnel.message();
    state.limit = begin;
  }
  tunnel.send(binary(`a2030000 ${ANNOUNCE} 000000000000 0a00020f`));
  tunnel.send(
    message(segment(SYN, 1000, 0, { options: `0204${mss.toString(16).padStart(4, "0")}` })),
  );
  const answer = await nextTcp();
  assert.equal(answer.flags, SYN | ACK);
  state.mss = answer.tcp.readUInt16BE(22); // its MSS option

  const hash = createHash("sha256");
  let next = (answer.seq + 1) >>> 0;
  let got = 0;
  tunnel.send(message(segment(ACK, 1001, next)));
  for (let ended = false; !ended; ) {
    const { flags, seq, data } = await nextTcp();
    if (seq === next) {
      hash.update(data);
      got += data.length;
      ended = (flags & FIN) !== 0;
      next = (next + data.length + (ended ? 1 : 0)) >>> 0;
    }
    if (got > page.length / 2) during?.(tunnel, state);
    tunnel.send(message(segment(ACK, 1001, next)));
  }
  assert.equal(hash.digest("hex"), createHash("sha256").update(page).digest("hex"));
  const metrics = await proxy.metrics();
  assert.equal(metrics.get("l2_frames_dropped_total"), 0);
  tunnel.destroy();
  assert.equal(await proxy.stop(), 0, proxy.output);
  server.close();
  return state;
}

/** Tag 6: the MTU of the LAN this client gets. */
const mtuOf = (hello) => Number.parseInt(/0602(\w{4})$/.exec(hello)[1], 16);

test("§1: a client that takes frames of 600 bytes gets its download, in such frames", async () => {
  const { hello, mss, longest } = await download({ begin: LIMIT, mss: 1460 });
  assert.equal(mtuOf(hello), LIMIT - 14);
  assert.equal(mss, LIMIT - 14 - 40);
  assert.equal(longest, LIMIT);
});

test("§4: on a jumbo LAN a client of long frames gets them", async () => {
  for (const [mtu, limit] of [
    [9000, 65550],
    [65520, 65550],
    [65520, 9014],
  ]) {
    const { hello, mss, longest } = await download({
      environment: { AERO_L2_LAN_MTU: String(mtu) },
      begin: limit,
      mss: 65480,
      page: randomBytes(3_000_000),
    });
    const most = Math.min(mtu, limit - 14);
    assert.equal(mtuOf(hello), most);
    assert.equal(mss, most - 40);
    assert.equal(longest, most + 14);
  }
});

test("§4: on a jumbo LAN a client of the base protocol gets frames of Ethernet's size", async () => {
  const environment = { AERO_L2_LAN_MTU: "65520" };
  const { mss, longest } = await download({ environment, mss: 65480 });
  assert.equal(mss, 1460);
  assert.equal(longest, 1514);
});

test("§4: one long frame fits the shortest outbound queue", async () => {
  const environment = { AERO_L2_LAN_MTU: "65520", AERO_L2_WS_SEND_BUFFER: "1" };
  const { longest } = await download({ environment, begin: 65550, mss: 65480 });
  assert.equal(longest, 65534);
});

test("§1: a limit that comes late binds the flows that are there", async () => {
  const { hello, longest } = await download({
    mss: 1460,
    page: randomBytes(3_000_000),
    during: (tunnel, state) => {
      if (state.announced === undefined) tunnel.send(helloOf(LIMIT));
      state.announced = LIMIT;
    },
  });
  assert.equal(mtuOf(hello), LIMIT - 14);
  assert.equal(longest, 1514);
});
