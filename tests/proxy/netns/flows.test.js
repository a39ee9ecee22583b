// How flows begin and end: many at once, half-closed, refused, reset by either side.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  expertTest,
  isLong,
  MB,
  netnsTest,
  openWorld,
  sha256,
  site,
  stream,
  until,
  useWorld,
} from "./world.js";

const here = useWorld();
const build =
  process.env.AERO_BUILD_DIR ?? fileURLToPath(new URL("../../../build", import.meta.url));
const CLOSED_PORT = 1;
const SCANS = 500; // in rounds of a hundred
const RESETS = isLong ? 2000 : 200;

/** One of guest_raw's jobs in a new guest. */
async function raw(job, port, count) {
  const command = [`${build}/tests/guest_raw`, job, site.address, String(port), String(count)];
  const { status, output } = await here.world.guest(command);
  assert.equal(status, 0, output);
  return JSON.parse(output);
}

const idle = () =>
  until("no flow left", async () => (await here.world.metric("l2_tcp_conns_active")) === 0);

for (const flows of [1, 10, 100, 500]) {
  for (const kind of ["down", "up"]) {
    netnsTest(`${flows} flows at once ${kind}, each hashed`, async () => {
      const bytes = (isLong ? 100 : 10) * MB;
      const result = await here.world.transfer({ kind, flows, bytes: bytes / flows, sha256: true });
      assert.equal(result.ok, true, JSON.stringify(result));
      assert.equal(result.sha256, true);
    });
  }
}

netnsTest("a half-closed flow carries the other direction (RFC 9293 §3.6)", async () => {
  const result = await here.world.transfer({ kind: "half", flows: 5, bytes: MB, sha256: true });
  assert.equal(result.ok, true, JSON.stringify(result));
});

netnsTest("a server that closes first still gets all that the guest has to say", async () => {
  const got = [];
  let ended;
  const whole = new Promise((resolve) => {
    ended = resolve;
  });
  const port = await here.world.serve((socket) => {
    socket.end("bye");
    socket.on("data", (chunk) => got.push(chunk)).on("end", ended);
  });
  const guest = here.world.talk(["write", site.address, port, 3 * MB]);
  const said = JSON.parse(await guest.hear());
  await whole;
  await guest.release();
  assert.equal(said.answer, "bye");
  assert.equal(sha256(Buffer.concat(got)), said.sha256);
});

netnsTest("a server that closes first, and at once, is heard to the end", async () => {
  const { data, sha256: hash } = stream(2 * MB);
  const port = await here.world.serve((socket) => socket.end(data));
  const guest = here.world.talk(["read", site.address, port]);
  assert.match(await guest.hear(), /open/);
  const heard = guest.hear();
  guest.say("go\n");
  assert.deepEqual(JSON.parse(await heard), { bytes: data.length, sha256: hash });
  await guest.release();
});

netnsTest("connection refused becomes a reset of the SYN", async () => {
  const before = await here.world.metric("l2_tcp_connect_fail_total");
  const { error } = await here.world.run(["connect", site.address, CLOSED_PORT]);
  assert.equal(error, "ECONNREFUSED");
  assert.equal(await here.world.metric("l2_tcp_connect_fail_total"), before + 1);
});

netnsTest("no route to the host becomes ICMP host unreachable", async () => {
  const { error } = await here.world.run(["connect", site.noRoute, CLOSED_PORT]);
  assert.equal(error, "EHOSTUNREACH");
});

netnsTest("no route to the network becomes ICMP network unreachable", async () => {
  const { error } = await here.world.run(["connect", "198.51.100.1", CLOSED_PORT]);
  assert.equal(error, "ENETUNREACH");
});

netnsTest("a host that never answers: silence, then a reset", async () => {
  const impatient = await openWorld({ AERO_L2_TCP_CONNECT_TIMEOUT_MS: "300" });
  try {
    const { error } = await impatient.run(["connect", site.hole, CLOSED_PORT]);
    assert.equal(error, "ECONNREFUSED");
  } finally {
    await impatient.close();
  }
});

netnsTest("a flood of resets from the guest leaves nothing behind", async () => {
  let open = 0;
  let seen = 0;
  const port = await here.world.serve((socket) => {
    open++;
    seen++;
    socket.resume();
    socket.on("end", () => socket.end());
    socket.on("close", () => open--);
  });
  const { opened } = await here.world.run(["reset", site.address, port, RESETS]);
  assert.equal(opened, RESETS);
  await idle();
  await until("all closed at the server", () => open === 0);
  assert.equal(seen, RESETS);
});

netnsTest("a flood of resets from the server reaches the guest", async () => {
  const port = await here.world.serve((socket) => {
    socket.once("data", () => socket.resetAndDestroy());
  });
  const { reset } = await here.world.run(["resetByServer", site.address, port, RESETS]);
  assert.equal(reset, RESETS);
  await idle();
});

netnsTest("SYN, SYN-ACK, RST: a load balancer's health check", async () => {
  let open = 0;
  const port = await here.world.serve((socket) => {
    open++;
    socket.resume();
    socket.on("end", () => socket.end());
    socket.on("close", () => open--);
  });
  assert.deepEqual(await raw("health", port, RESETS), { answered: RESETS });
  await idle();
  await until("all closed at the server", () => open === 0);
});

netnsTest("SYN, SYN-ACK, RST by a stack that knows of no connection", async () => {
  const port = await here.world.serve((socket) => socket.resume());
  assert.deepEqual(await raw("scan", port, SCANS), { answered: SCANS });
  await idle();
});

netnsTest("none of this was a dropped frame or a bad checksum", async () => {
  const metrics = await here.world.proxy.metrics();
  assert.equal(metrics.get("l2_frames_dropped_total"), 0);
  assert.equal(metrics.get("l2_guest_bad_checksum_total"), 0);
  assert.equal(metrics.get("l2_guest_malformed_total"), 0);
});

expertTest(here);
