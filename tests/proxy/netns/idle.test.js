// Flows with nothing to say: they stay, unless their guest is gone (RFC 1122 §4.2.3.6). Ten real
// minutes in the long campaign (AERO_NETNS_LONG=1), a short keepalive otherwise.
import assert from "node:assert/strict";
import {
  assertNoFaults,
  expertTest,
  isLong,
  netnsTest,
  openWorld,
  site,
  until,
  useWorld,
} from "./world.js";

const KEEPALIVE_MS = 400;
const LONG_MS = 10 * 60_000 + 15_000; // past the default keepalive
const PROBES = 5;

const here = useWorld({ AERO_L2_TCP_KEEPALIVE_MS: String(KEEPALIVE_MS) });

/** A server that repeats what it hears. */
async function serveEcho(world, seen = []) {
  return world.serve((socket) => {
    seen.push(socket);
    socket.pipe(socket);
  });
}

async function openFlow(world, port) {
  const guest = world.talk(["talk", site.address, port]);
  assert.match(await guest.hear(), /^echo/);
  return guest;
}

async function sayAgain(guest) {
  const heard = guest.hear();
  guest.say("go\n");
  assert.match(await heard, /^echo/);
}

netnsTest("a quiet flow is probed, answers, and carries on", async () => {
  const guest = await openFlow(here.world, await serveEcho(here.world));
  const sent = await here.world.metric("l2_frames_tx_total");
  await until(
    "keepalive probes",
    async () => (await here.world.metric("l2_frames_tx_total")) >= sent + PROBES,
  );
  assert.equal(await here.world.metric("l2_tcp_conns_active"), 1);
  await sayAgain(guest);
  await guest.release();
});

netnsTest("a guest that went silent gives its flow up, and the server is told", async () => {
  const seen = [];
  const port = await serveEcho(here.world, seen);
  const guest = await openFlow(here.world, port);
  const ended = new Promise((resolve) => seen[0].once("close", resolve)); // by a reset
  guest.freeze();
  await ended;
  assert.equal(await here.world.metric("l2_tcp_conns_active"), 0);
  assert.equal(await here.world.metric("l2_sessions_active"), 1); // the tunnel itself stays
  guest.thaw();
  assert.notEqual(await guest.release(), null);
});

netnsTest("a half-closed quiet flow stays as long as its guest answers", async () => {
  const port = await here.world.serve((socket) => socket.end("bye"));
  const guest = here.world.talk(["read", site.address, port]);
  assert.match(await guest.hear(), /open/);
  const sent = await here.world.metric("l2_frames_tx_total");
  await until(
    "keepalive probes",
    async () => (await here.world.metric("l2_frames_tx_total")) >= sent + PROBES,
  );
  const heard = guest.hear();
  guest.say("go\n");
  assert.equal(JSON.parse(await heard).bytes, 3);
  await guest.release();
});

if (isLong) {
  netnsTest("ten idle minutes with everything at its default", async () => {
    const world = await openWorld();
    try {
      const guests = [];
      const port = await serveEcho(world);
      for (let i = 0; i < PROBES; i++) guests.push(await openFlow(world, port));
      await new Promise((resolve) => setTimeout(resolve, LONG_MS));
      assert.equal(await world.metric("l2_tcp_conns_active"), PROBES);
      for (const guest of guests) await sayAgain(guest);
      await Promise.all(guests.map((guest) => guest.release()));
      assertNoFaults(world);
    } finally {
      await world.close();
    }
  });
}

expertTest(here);
