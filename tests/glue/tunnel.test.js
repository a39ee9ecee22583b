// The client's behaviour at the wire and in time (spec/l2-tunnel.md §2, §5, §7, §8, §9).
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";

import { connectTunnel, createNic } from "../../wasm-glue/src/index.js";
import { tunnelPort } from "../../wasm-glue/src/nic.js";
import { Ring } from "../../wasm-glue/src/ring-core.js";
import { Session } from "../../wasm-glue/src/session.js";
import { clientOptions, TunnelClient } from "../../wasm-glue/src/tunnel.js";
import { Driver, numberedFrame, RAM_BYTES } from "./driver.js";
import { message, ProxyStub, Type } from "./proxy-stub.js";

const webSocketModule = new URL("../node_modules/ws/wrapper.mjs", import.meta.url).href;

/** The next event of that type whose detail passes. */
function event(tunnel, type, wanted = (_detail) => true) {
  return new Promise((resolve) => {
    tunnel.addEventListener(type, function listener({ detail }) {
      if (!wanted(detail)) return;
      tunnel.removeEventListener(type, listener);
      resolve(detail);
    });
  });
}

/** NET_TX and NET_RX at the tunnel's end. */
function ringsOf(nic) {
  const { memory, txAt, rxAt, capacity } = nic[tunnelPort].rings;
  return [txAt, rxAt].map((at) => new Ring(memory, at, capacity));
}

/** The memory of an emulator, for a card to move into. @param {boolean} shared */
function emulatorMemory(shared) {
  const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 1024, shared });
  const guestBase = 0x20000;
  const allocate = (bytes) => wasmMemory.grow(bytes / 65536) * 65536;
  const ram = () => new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES);
  return { linear: { wasmMemory, guestBase, guestSize: RAM_BYTES, allocate }, ram };
}

const soon = (ms = 30) => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (done) => {
  while (!done()) await soon(1);
};

for (const worker of [false, true]) {
  const options = worker ? { worker, webSocketModule } : { WebSocket };
  describe(worker ? "in a worker" : "on the card's thread", () => {
    let stub;
    let nic;
    before(async () => {
      stub = await ProxyStub.start();
      nic = await createNic({ isolated: worker, memory: new Uint8Array(RAM_BYTES) });
    });
    after(async () => {
      nic.close();
      await stub.stop();
    });

    async function opened(more = {}) {
      const states = [];
      const onEvent = (type, detail) => type === "state" && states.push(detail);
      const tunnel = connectTunnel(nic, { url: stub.url, ...options, onEvent, ...more });
      assert.equal(tunnel.state, "connecting");
      await tunnel.opened;
      return { tunnel, states };
    }

    test("§2, §9.2: it asks for /l2 and offers the subprotocol and the token", async () => {
      const { tunnel, states } = await opened({ token: "s3cr3t", tokenTransport: "both" });
      const request = stub.requests.at(-1);
      assert.equal(request.url, "/l2?token=s3cr3t");
      assert.equal(
        request.headers["sec-websocket-protocol"].replace(/\s/g, ""),
        "aero-l2-tunnel-v1,aero-l2-token.s3cr3t",
      );
      assert.equal(request.headers["sec-websocket-extensions"], undefined); // no compression
      tunnel.close();
      tunnel.close(); // once more is fine
      assert.deepEqual(states, ["open", "stopped"]);
      assert.equal(tunnel.state, "stopped");
    });

    test("§7: close() ends the connection with 1000", async () => {
      const { tunnel } = await opened();
      const closed = once(stub.socket, "close");
      tunnel.close();
      assert.equal((await closed)[0], 1000);
    });

    test("§8: a PING is answered at once with an identical PONG", async () => {
      const { tunnel } = await opened();
      const pongs = [];
      stub.onMessage = (wire) => wire[2] === Type.PONG && pongs.push(wire.toString("hex"));
      const answered = new Promise((resolve) => {
        stub.socket.on("message", () => pongs.length === 2 && resolve());
      });
      stub.socket.send(Buffer.from("a20301000000000000000001", "hex"));
      stub.socket.send(Buffer.from("a2030100", "hex"));
      await answered;
      assert.deepEqual(pongs, ["a20302000000000000000001", "a2030200"]);
      stub.onMessage = () => {};
      tunnel.close();
    });

    test("§8: the keepalive's PONG gives the round trip", async () => {
      const { tunnel } = await opened({ keepaliveMinMs: 20, keepaliveMaxMs: 40 });
      await new Promise((resolve) => {
        const poll = setInterval(() => {
          if (tunnel.stats().rttMs === null) return;
          clearInterval(poll);
          resolve();
        }, 20);
      });
      const { rttMs } = tunnel.stats();
      assert.ok(rttMs >= 0 && rttMs < 1000);
      tunnel.close();
    });

    for (const [wire, text] of [
      [
        "0006 0013 627974652071756f7461206578636565646564",
        "l2 tunnel error (6): quota exceeded (bytes)",
      ],
      ["0001 0000", "l2 tunnel error (1): protocol error"],
      ["0002 0000", "l2 tunnel error (2): authentication required"],
      ["0003 0000", "l2 tunnel error (3): invalid authentication token"],
      ["0004 0000", "l2 tunnel error (4): missing Origin"],
      ["0005 0000", "l2 tunnel error (5): Origin denied"],
      ["0007 0000", "l2 tunnel error (7): quota exceeded (fps)"],
      ["0008 0000", "l2 tunnel error (8): quota exceeded (connections)"],
      ["0009 0000", "l2 tunnel error (9): backpressure"],
      ["1234 0000", "l2 tunnel error (4660)"],
      ["676f2061776179", "l2 tunnel error (unstructured payload, 7 bytes)"],
    ])
      test(`§5: ${text}`, async () => {
        const { tunnel } = await opened({ errorIntervalMs: 0 });
        const reported = event(tunnel, "error");
        stub.socket.send(message(Type.ERROR, Buffer.from(wire.replaceAll(" ", ""), "hex")));
        assert.equal((await reported).message, text);
        assert.equal(tunnel.state, "open"); // reported, not closed
        if (!worker) assert.equal(tunnel.stats().lastError, text);
        tunnel.close();
      });

    test("§6: garbage is an error, the tunnel stays", async () => {
      const { tunnel } = await opened({ errorIntervalMs: 0 });
      const reported = event(tunnel, "error");
      stub.socket.send("text is dropped silently");
      stub.socket.send(Buffer.from("00", "hex"));
      assert.equal((await reported).message, "the proxy sent a message that cannot be decoded");
      assert.equal(tunnel.state, "open");
      tunnel.close();
    });

    test("a lost connection comes back, and frames flow again", async () => {
      const { tunnel, states } = await opened();
      const again = event(tunnel, "state", (state) => state === "open");
      stub.socket.terminate();
      await again;
      assert.deepEqual(states, ["open", "closed", "connecting", "open"]);
      assert.equal(tunnel.stats().reconnects, 1);
      const ram = new Uint8Array(RAM_BYTES);
      nic.setMemory(ram);
      const driver = new Driver(nic, ram);
      driver.start();
      const arrived = new Promise((resolve) => {
        stub.onFrame = (frame) => resolve(Uint8Array.from(frame));
      });
      driver.queue(numberedFrame(5));
      nic.poll();
      assert.deepEqual(await arrived, numberedFrame(5));
      stub.onFrame = () => {};
      tunnel.close();
    });

    test("§9.5: pause() drops what waits, resume() connects anew", async () => {
      const { tunnel } = await opened();
      const stopped = event(tunnel, "state", (state) => state === "stopped");
      tunnel.pause();
      await stopped;
      const again = event(tunnel, "state", (state) => state === "open");
      tunnel.resume();
      await again;
      tunnel.close();
    });

    for (const moves of [false, true])
      test(`§9.5: pause() closes the tunnel and empties both rings${moves ? " of a card that moved" : ""}`, async () => {
        const { tunnel } = await opened();
        const emulator = emulatorMemory(worker);
        const ram = moves ? null : new Uint8Array(RAM_BYTES);
        nic.setMemory(ram ?? emulator.linear);
        nic.reset();
        const driver = new Driver(nic, ram ?? emulator.ram());
        const [tx, rx] = ringsOf(nic);
        const seen = [];
        stub.onFrame = (frame) => seen.push(Uint8Array.from(frame));
        driver.start();
        driver.write(0x2818, driver.read(0x2810)); // RDT: no buffers, so that frames wait
        const say = (number) => stub.socket.send(message(Type.FRAME, numberedFrame(number)));
        for (const number of [1, 2, 3]) say(number);
        await until(() => rx.hasData);
        nic.poll();
        const closed = once(stub.socket, "close");
        const paused = tunnel.pause();
        for (const number of [4, 5]) say(number); // they come too late
        await paused;
        assert.equal(tunnel.state, "stopped");
        assert.deepEqual([tx.hasData, rx.hasData], [false, false]);
        await closed;
        // A machine that runs on all the same: what it sends is lost.
        driver.write(0x2818, (driver.read(0x2810) + 63) % 64);
        driver.queue(numberedFrame(6));
        nic.poll();
        await soon();
        nic.poll();
        assert.deepEqual(driver.received(), []);
        tunnel.resume();
        await event(tunnel, "state", (state) => state === "open");
        say(7);
        await until(() => rx.hasData);
        nic.poll();
        assert.deepEqual(driver.received(), [numberedFrame(7)]);
        driver.queue(numberedFrame(8));
        nic.poll();
        await until(() => seen.length > 0);
        assert.deepEqual(seen, [numberedFrame(8)]);
        stub.onFrame = () => {};
        nic.setMemory(new Uint8Array(RAM_BYTES));
        tunnel.close();
      });

    test("§9.5: pause() holds while the tunnel is still starting", async () => {
      const before = stub.requests.length;
      const tunnel = connectTunnel(nic, { url: stub.url, ...options });
      const [tx] = ringsOf(nic);
      const driver = new Driver(nic, new Uint8Array(RAM_BYTES));
      nic.setMemory(driver.ram);
      nic.reset();
      driver.start();
      driver.queue(numberedFrame(1));
      nic.poll();
      await tunnel.pause();
      assert.equal(tunnel.state, "stopped");
      assert.equal(tx.hasData, false);
      await soon(100);
      assert.equal(stub.requests.length, before);
      tunnel.resume();
      await tunnel.opened;
      tunnel.close();
    });

    test("pause() and resume() in any order: the last one counts, each pause() ends", async () => {
      const tunnel = connectTunnel(nic, { url: stub.url, ...options });
      const pauses = [tunnel.pause(), tunnel.pause()];
      tunnel.resume();
      await Promise.all(pauses);
      await tunnel.opened;
      const again = tunnel.pause();
      tunnel.resume();
      const last = tunnel.pause();
      await Promise.all([again, last]);
      assert.equal(tunnel.state, "stopped");
      await soon();
      assert.equal(tunnel.state, "stopped");
      const closing = tunnel.pause();
      tunnel.close();
      await closing;
      await tunnel.pause(); // of a closed one: at once
    });

    test("a proxy that is not there: an error that says where, then another try", async () => {
      const nobody = await ProxyStub.start();
      await nobody.stop();
      const tunnel = connectTunnel(nic, { url: `${nobody.url}/x?token=s3cr3t`, ...options });
      const { message: text } = await event(tunnel, "error");
      assert.ok(text.startsWith(`cannot connect to ${nobody.url}/x/l2: `), text);
      assert.match(text, /ECONNREFUSED/);
      assert.doesNotMatch(text, /s3cr3t/);
      const back = await ProxyStub.start({ port: nobody.port });
      await tunnel.opened;
      tunnel.close();
      await back.stop();
    });
  });
}

test("§9.5: pause() in the middle of a poll empties NET_RX when the poll is over", async () => {
  const stub = await ProxyStub.start();
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ isolated: false, memory: ram });
  const tunnel = connectTunnel(nic, { url: stub.url, WebSocket });
  await tunnel.opened;
  const driver = new Driver(nic, ram);
  const [, rx] = ringsOf(nic);
  driver.start();
  for (let number = 0; number < 4; number++) nic.receive(numberedFrame(number));
  driver.write(0x2818, 2);
  let paused;
  nic.onInterrupt = (level) => {
    if (level) paused = tunnel.pause();
  };
  nic.poll();
  assert.equal(rx.hasData, false);
  await paused;
  assert.equal(tunnel.state, "stopped");
  tunnel.close();
  nic.close();
  await stub.stop();
});

test("a tunnel that cannot be has nothing to pause but its rings", async () => {
  const nic = await createNic({ isolated: false });
  const tunnel = connectTunnel(nic, { url: "ftp://127.0.0.1", WebSocket });
  await assert.rejects(tunnel.opened);
  nic.receive(numberedFrame(1));
  await tunnel.pause();
  assert.deepEqual(
    ringsOf(nic).map((ring) => ring.hasData),
    [false, false],
  );
  tunnel.close();
  nic.close();
});

test("§2, 3: without the subprotocol the client closes with 1002 and never opens", async () => {
  const stub = await ProxyStub.start({ select: false });
  const nic = await createNic({ isolated: false });
  // The ws package refuses such a handshake itself, as browsers do: one that does not is needed.
  class Lenient extends WebSocket {
    constructor(url, _protocols, options) {
      super(url, options);
    }
  }
  const states = [];
  const tunnel = connectTunnel(nic, {
    url: stub.url,
    WebSocket: Lenient,
    onEvent: (type, detail) => type === "state" && states.push(detail),
  });
  const socket = await stub.connected();
  const [code] = await once(socket, "close");
  assert.equal(code, 1002);
  assert.ok(!states.includes("open"));
  assert.equal(tunnel.stats().lastError, "the server did not select aero-l2-tunnel-v1");
  tunnel.close();
  nic.close();
  await stub.stop();
});

describe("§9.4: reconnect, on a clock of the test's own", () => {
  class Clock {
    ms = 0;
    waiting = [];
    random = () => 0.5; // factor 1
    now = () => this.ms;
    setTimeout = (fn, delay) => {
      const timer = { fn, at: this.ms + delay };
      this.waiting.push(timer);
      return timer;
    };
    clearTimeout = (timer) => {
      this.waiting = this.waiting.filter((other) => other !== timer);
    };
    async advance(ms) {
      const end = this.ms + ms;
      for (;;) {
        const due = this.waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        this.clearTimeout(due);
        this.ms = due.at;
        due.fn();
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.ms = end;
    }
  }

  async function session(change = {}) {
    const clock = Object.assign(new Clock(), change.clock);
    const tries = [];
    const states = [];
    const errors = [];
    class FakeWebSocket {
      bufferedAmount = 0;
      protocol = "aero-l2-tunnel-v1";
      constructor() {
        tries.push({ at: clock.ms, ws: this });
      }
      send() {}
      close() {}
    }
    const options = {
      url: "ws://gw.example",
      keepaliveMinMs: 0,
      keepaliveMaxMs: 0,
      ...change.options,
    };
    const it = new Session({
      client: await TunnelClient.create(clientOptions(options)),
      options,
      WebSocket: FakeWebSocket,
      timers: clock,
      on: {
        state: (state) => states.push(state),
        frame: () => {},
        frames: () => {},
        error: (error) => errors.push(error.message),
        fatal: (error) => errors.push(`fatal: ${error.message}`),
      },
    });
    it.start();
    await new Promise((resolve) => setImmediate(resolve));
    return { it, clock, tries, states, errors };
  }

  test("the delay doubles from 250 ms and stops at 30 s", async () => {
    const { clock, tries } = await session();
    for (let n = 0; n < 10; n++) {
      const { ws } = tries.at(-1);
      ws.onclose({ code: 1006 });
      await clock.advance(40000);
    }
    // Each advance() ends 40 s after the loss, so the delay is what precedes it.
    const delays = tries.slice(1).map(({ at }, n) => at - n * 40000);
    assert.deepEqual(delays, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test("times a random factor in [0.8, 1.2]", async () => {
    for (const [random, delay] of [
      [0, 200],
      [0.9999999, 300],
    ]) {
      const { clock, tries } = await session({ clock: { random: () => random } });
      tries[0].ws.onclose({ code: 1006 });
      await clock.advance(1000);
      assert.equal(Math.round(tries[1].at), delay);
    }
  });

  test("the attempt counter is reset when a tunnel opens", async () => {
    const { clock, tries } = await session();
    for (let n = 0; n < 3; n++) {
      tries.at(-1).ws.onclose({ code: 1006 });
      await clock.advance(10000);
    }
    tries.at(-1).ws.onopen();
    tries.at(-1).ws.onclose({ code: 1006 });
    const lost = clock.ms;
    await clock.advance(10000);
    assert.equal(tries.at(-1).at - lost, 250);
  });

  test("stop() while it waits ends it for good", async () => {
    const { it, clock, tries, states } = await session();
    tries[0].ws.onclose({ code: 1006 });
    it.stop();
    await clock.advance(60000);
    assert.equal(tries.length, 1);
    assert.deepEqual(states, ["connecting", "closed", "stopped"]);
  });

  test("6: silence for 2 x keepaliveMaxMs tears the tunnel down", async () => {
    const { clock, tries, states, errors } = await session({
      options: { keepaliveMinMs: 100000, keepaliveMaxMs: 100000 },
    });
    tries[0].ws.onopen();
    const frame = Uint8Array.from(Buffer.from("a2030000aa", "hex")).buffer;
    await clock.advance(150000);
    tries[0].ws.onmessage({ data: frame }); // re-arms it
    await clock.advance(199000);
    assert.equal(states.at(-1), "open");
    await clock.advance(2000);
    assert.ok(states.includes("closed"), states.join());
    assert.equal(errors.length, 1);
  });

  test("6: error events are throttled", async () => {
    const { clock, tries, errors } = await session();
    for (let n = 0; n < 3; n++) {
      tries.at(-1).ws.onclose({ code: 1006 });
      await clock.advance(250 * 2 ** n);
    }
    assert.equal(errors.length, 1); // three losses within 750 ms
    await clock.advance(1000);
    tries.at(-1).ws.onclose({ code: 1006 });
    assert.equal(errors.length, 2);
  });
});
