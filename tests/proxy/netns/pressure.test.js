// Back-pressure, both ways: who does not read is not written for, the proxy keeps nothing, and the
// other flows go on (l2-proxy.md §6.2; RFC 9293 §3.8.6).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { expertTest, isLong, MB, netnsTest, site, stream, until, useWorld } from "./world.js";

const here = useWorld();
const BIG_BYTES = (isLong ? 500 : 50) * MB; // more than all the kernel's buffers
const KEPT_MAX_BYTES = 16 * MB; // what the proxy may grow by while a flow stands still

/** The proxy grew by little since. */
function assertBounded(before) {
  const grown = here.world.memory().most - before.now;
  assert.ok(grown < KEPT_MAX_BYTES, `the proxy grew by ${grown} bytes`);
}

/** Writes the same block again and again, as fast as it is taken. */
function writeForever(socket, block, bytes) {
  const progress = { written: 0, ended: false };
  const more = () => {
    while (progress.written < bytes) {
      const taken = socket.write(block);
      progress.written += block.length;
      if (!taken) return;
    }
    if (!progress.ended) socket.end();
    progress.ended = true;
  };
  socket.on("drain", more);
  more();
  return progress;
}

/** Nothing moves any more: twice the same count, some probes or acknowledgments apart. */
async function untilStill(look) {
  let before = -1;
  await until("a standstill", async () => {
    const now = await look();
    const still = now === before;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return still && now > 0;
  });
}

async function otherFlows() {
  for (const kind of ["down", "up"]) {
    const other = await here.world.transfer({ kind, flows: 3, bytes: 2 * MB, sha256: true });
    assert.equal(other.ok, true, JSON.stringify(other));
  }
}

netnsTest("a guest that closes its window, stays away and comes back", async () => {
  const { data } = stream(MB);
  const hash = createHash("sha256");
  for (let i = 0; i < BIG_BYTES / MB; i++) hash.update(data);
  let progress;
  const port = await here.world.serve((socket) => {
    progress = writeForever(socket, data, BIG_BYTES);
  });
  const before = here.world.memory();
  const probes = await here.world.metric("l2_tcp_zero_window_probes_total");
  const guest = here.world.talk(["read", site.address, port]);
  assert.match(await guest.hear(), /open/);
  await until(
    "zero-window probes",
    async () => (await here.world.metric("l2_tcp_zero_window_probes_total")) >= probes + 3,
  );
  assert.ok(progress.written < BIG_BYTES, "the server was held back");
  assertBounded(before);
  await otherFlows();
  assertBounded(before);
  const heard = guest.hear();
  guest.say("go\n");
  assert.deepEqual(JSON.parse(await heard), { bytes: BIG_BYTES, sha256: hash.digest("hex") });
  await guest.release();
});

netnsTest("the same guest's other flow moves while one stands still", async () => {
  const { data } = stream(MB);
  const port = await here.world.serve((socket) => writeForever(socket, data, BIG_BYTES));
  const script = [
    `exec 3<>/dev/tcp/${site.address}/${port}`, // never read
    `for i in 1 2 3; do timeout 30 cat </dev/tcp/${site.address}/${port} | sha256sum; done`,
  ];
  const result = await here.world.guest(["bash", "-c", script.join("\n")]);
  const hash = createHash("sha256");
  for (let i = 0; i < BIG_BYTES / MB; i++) hash.update(data);
  assert.equal(result.output, `${hash.digest("hex")}  -\n`.repeat(3));
});

netnsTest("a server that does not read holds the guest back, not the proxy's memory", async () => {
  const hash = createHash("sha256");
  let server;
  let bytes = 0;
  const port = await here.world.serve(
    (socket) => {
      server = socket;
    },
    { pauseOnConnect: true },
  );
  const before = here.world.memory();
  const writing = here.world.run(["write", site.address, port, BIG_BYTES]);
  await until("the connection", () => server !== undefined);
  await untilStill(() => here.world.metric("l2_bytes_rx_total"));
  assert.ok((await here.world.metric("l2_bytes_rx_total")) > 0);
  assertBounded(before);
  await otherFlows();
  assertBounded(before);
  server.on("data", (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  server.on("end", () => server.end(String(bytes)));
  server.resume();
  const said = await writing;
  assert.equal(said.answer, String(BIG_BYTES));
  assert.equal(said.sha256, hash.digest("hex"));
});

netnsTest("a server that reads in sips gets every byte", async () => {
  const hash = createHash("sha256");
  const sipBytes = 64 * 1024;
  const pauseMs = 2;
  const port = await here.world.serve((socket) => {
    let fresh = 0;
    socket.on("data", (chunk) => {
      hash.update(chunk);
      fresh += chunk.length;
      if (fresh < sipBytes) return;
      fresh = 0;
      socket.pause();
      setTimeout(() => socket.resume(), pauseMs);
    });
    socket.on("end", () => socket.end("all"));
  });
  const said = await here.world.run(["write", site.address, port, 20 * MB]);
  assert.equal(said.answer, "all");
  assert.equal(said.sha256, hash.digest("hex"));
});

netnsTest("no flow is left behind", async () => {
  await until("no flow", async () => (await here.world.metric("l2_tcp_conns_active")) === 0);
  assert.equal(await here.world.metric("l2_sessions_closed_backpressure_total"), 0);
});

expertTest(here);
