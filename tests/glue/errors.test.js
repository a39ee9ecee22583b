// What a user is told when something is missing or wrong: one clear sentence each.
import assert from "node:assert/strict";
import { test } from "node:test";

import { connectTunnel, createNic } from "../../wasm-glue/src/index.js";
import { Driver, numberedFrame, RAM_BYTES, Reg } from "./driver.js";
import { RAM_BYTES as VIRTIO_RAM_BYTES, VirtioDriver } from "./virtio-driver.js";

const isNode18 = process.versions.node.startsWith("18.");

test("a Nic used after close() says so, whatever is called", async () => {
  const nic = await createNic();
  nic.close();
  nic.close(); // once more is fine
  const message = "this Nic is closed";
  for (const call of [
    () => nic.configRead(0, 4),
    () => nic.configWrite(4, 2, 7),
    () => nic.barRead(0, 8, 4),
    () => nic.barWrite(0, 0, 4, 0),
    () => nic.poll(),
    () => nic.workPending,
    () => nic.irqLevel,
    () => nic.nextEventMs(),
    () => nic.receive(new Uint8Array(60)),
    () => nic.takeFrame(),
    () => nic.setLink(true),
    () => nic.link,
    () => nic.stats(),
    () => nic.reset(),
    () => nic.saveState(),
    () => nic.restoreState(new Uint8Array(1)),
    () => nic.setMemory(new Uint8Array(1)),
    () => connectTunnel(nic, { url: "ws://127.0.0.1:1" }),
  ])
    assert.throws(call, { name: "Error", message });
});

for (const [what, mac, message] of [
  ["short", "52:54:00", 'bad MAC 52:54:00: give six bytes, as in "52:54:00:12:34:56"'],
  [
    "no hex",
    "52:54:00:12:34:5g",
    'bad MAC 52:54:00:12:34:5g: give six bytes, as in "52:54:00:12:34:56"',
  ],
  [
    "five bytes",
    Uint8Array.of(2, 0, 0, 0, 1),
    'bad MAC 2,0,0,0,1: give six bytes, as in "52:54:00:12:34:56"',
  ],
  ["a group address", "01:00:5e:00:00:01", "bad MAC 01:00:5e:00:00:01: a group address"],
  ["all zeros", "00:00:00:00:00:00", "bad MAC 00:00:00:00:00:00: all bytes are zero"],
])
  test(`a bad MAC: ${what}`, async () => {
    await assert.rejects(createNic({ mac }), { name: "TypeError", message });
  });

test("a wrong memory", async () => {
  const message =
    "the memory of a Nic must be { read, write }, a Uint8Array, a function that returns one, or " +
    "{ wasmMemory, guestBase, guestSize }";
  for (const memory of [5, "ram", {}, { read() {} }, new ArrayBuffer(8)])
    await assert.rejects(createNic({ memory }), { name: "TypeError", message });
  await assert.rejects(createNic({ memory: () => null }), {
    name: "TypeError",
    message: "the memory function of a Nic must return a Uint8Array",
  });
  const nic = await createNic();
  assert.throws(() => nic.setMemory({}), { name: "TypeError", message });
  nic.close();
});

test("restoreState() of nothing", async () => {
  const nic = await createNic();
  for (const state of [undefined, null, 5])
    assert.throws(() => nic.restoreState(state), {
      name: "TypeError",
      message: "restoreState() takes the bytes that saveState() returned",
    });
  nic.close();
});

test("a wrong linear memory", async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: 2 });
  const given = { wasmMemory, guestBase: 65536, guestSize: 65536 };
  for (const [change, message] of [
    [{ wasmMemory: {} }, "wasmMemory must be a WebAssembly.Memory"],
    [{ guestBase: 0 }, "guestBase must be an offset above 0"],
    [{ guestSize: 65537 }, "guestBase and guestSize must name a range inside wasmMemory"],
    [{ regionBase: 8 }, "regionBase must be a multiple of 16"],
  ])
    await assert.rejects(createNic({ memory: { ...given, ...change } }), { message });
});

test("host-api.md §2.4, 1: a regionBase where the card cannot be, and guest memory stays as it is", async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: 128, maximum: 128 });
  const [guestBase, guestSize, end] = [0x300000, 0x100000, 128 * 65536];
  new Uint8Array(wasmMemory.buffer).fill(0xa5);
  const nic = await createNic({ ringBytes: 65536 });
  const overlap = /^regionBase \d+ puts the card into guest memory$/;
  const outside = /^there is no room of \d+ bytes for the card at regionBase -?\d+$/;
  for (const [regionBase, message] of [
    [guestBase, overlap],
    [guestBase + 0x80000, overlap],
    [guestBase - 16, overlap],
    [guestBase + guestSize - 16, overlap],
    [end - 16, outside],
    [end, outside],
    [2 ** 40, outside],
    [0, outside],
    [-16, outside],
  ]) {
    const memory = { wasmMemory, guestBase, guestSize, regionBase };
    const error = { name: "RangeError", message };
    await assert.rejects(createNic({ ringBytes: 65536, memory }), error, String(regionBase));
    assert.throws(() => nic.setMemory(memory), error, String(regionBase));
  }
  assert.ok(new Uint8Array(wasmMemory.buffer).every((byte) => byte === 0xa5));
  nic.close();
});

/** Callbacks over `ram`, of which one fails while `broken` names it. */
function breakable(ram) {
  const host = { broken: "", errors: 0 };
  const may = (name) => {
    if (host.broken === name) throw new Error(`${name} failed, ${++host.errors}`);
  };
  host.memory = {
    read(gpa, bytes) {
      may("read");
      bytes.set(ram.subarray(gpa, gpa + bytes.length));
      return true;
    },
    write(gpa, bytes) {
      may("write");
      ram.set(bytes, gpa);
      return true;
    },
  };
  host.onInterrupt = () => may("onInterrupt");
  return host;
}

for (const broken of ["read", "write", "onInterrupt"]) {
  test(`what ${broken}() throws comes out of the call that led to it, and an E1000 goes on`, async () => {
    const ram = new Uint8Array(RAM_BYTES);
    const host = breakable(ram);
    const nic = await createNic({ isolated: false, ...host });
    const driver = new Driver(nic, ram);
    driver.start();
    nic.receive(numberedFrame(1));
    driver.queue(numberedFrame(2));
    host.broken = broken;
    assert.throws(() => nic.poll(), { message: `${broken} failed, 1` }); // the first one
    if (broken === "onInterrupt") {
      assert.throws(() => driver.read(Reg.ICR), { message: /^onInterrupt failed/ });
      assert.equal(nic.irqLevel, false);
    }
    host.broken = "";
    assert.equal(driver.read(Reg.STATUS), 0x80000083);
    nic.reset();
    assert.equal(driver.read(Reg.RCTL), 0);
    const again = new Driver(nic, ram.fill(0));
    again.start();
    again.queue(numberedFrame(3));
    nic.receive(numberedFrame(4));
    nic.poll();
    assert.deepEqual(again.received().at(-1), numberedFrame(4));
    nic.close();
  });

  test(`what ${broken}() throws leaves a virtio card working`, async () => {
    const ram = new Uint8Array(VIRTIO_RAM_BYTES);
    const host = breakable(ram);
    const nic = await createNic({ model: "virtio-net", isolated: false, ...host });
    const driver = VirtioDriver.of(nic, ram);
    driver.start();
    driver.post(1);
    driver.send(numberedFrame(1));
    nic.receive(numberedFrame(2));
    host.broken = broken;
    assert.throws(() => nic.poll(), { message: `${broken} failed, 1` });
    host.broken = "";
    assert.notEqual(driver.get(0x14, 1), 0xff); // the status register answers
    nic.reset();
    const again = VirtioDriver.of(nic, ram.fill(0));
    again.start();
    again.post(1);
    nic.receive(numberedFrame(4));
    nic.poll();
    nic.poll();
    assert.ok(again.received().length > 0);
    nic.close();
  });
}

test("what written() throws comes out of poll(), and the card goes on", async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 256 });
  const guestBase = 0x20000;
  let broken = true;
  const written = () => {
    if (broken) throw new Error("written failed");
  };
  const memory = { wasmMemory, guestBase, guestSize: RAM_BYTES, written };
  const nic = await createNic({ ringBytes: 65536, memory });
  const driver = new Driver(nic, new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES));
  driver.start();
  nic.receive(numberedFrame(1));
  assert.throws(() => nic.poll(), { message: "written failed" });
  broken = false;
  assert.deepEqual(driver.received(), [numberedFrame(1)]);
  assert.equal(driver.read(Reg.STATUS), 0x80000083);
  nic.close();
});

test("a Uint8Array over memory that has grown: poll() says so, the card goes on with a function", async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: 32, maximum: 64 });
  const view = () => new Uint8Array(wasmMemory.buffer, 0, RAM_BYTES);
  const nic = await createNic({ memory: view() });
  new Driver(nic, view()).start();
  wasmMemory.grow(1);
  const driver = new Driver(nic, view());
  driver.queue(numberedFrame(1));
  assert.throws(() => nic.poll(), TypeError);
  nic.setMemory(view);
  nic.reset();
  driver.start();
  driver.queue(numberedFrame(2));
  driver.queue(numberedFrame(3));
  nic.poll();
  assert.deepEqual(nic.takeFrame(), numberedFrame(1)); // the slot it was queued in
  nic.close();
});

test("an unknown model", async () => {
  await assert.rejects(createNic({ model: "ne2000" }), {
    name: "TypeError",
    message: "unknown model ne2000: give one of e1000, virtio-net",
  });
});

test("an unreachable .wasm: the address and the reason", async () => {
  const wasmUrl = new URL("nothing.wasm", import.meta.url);
  await assert.rejects(createNic({ wasmUrl }), (error) => {
    assert.ok(error.message.startsWith(`aero-nic cannot load ${wasmUrl}: ENOENT`), error.message);
    return true;
  });
  await assert.rejects(createNic({ wasmUrl: new URL(import.meta.url) }), (error) => {
    assert.match(error.message, /^aero-nic cannot load file:.*errors\.test\.js: .*magic/);
    return true;
  });
});

test("a .wasm that is not ours", async () => {
  const wasmModule = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  await assert.rejects(createNic({ wasmModule }), {
    message: "this is not a wasm module of aero-nic",
  });
});

test("no WebAssembly", async () => {
  const { WebAssembly: kept } = globalThis;
  delete globalThis.WebAssembly;
  try {
    await assert.rejects(createNic(), {
      message: "aero-nic needs WebAssembly, which is not available here",
    });
  } finally {
    globalThis.WebAssembly = kept;
  }
});

test("isolated where there is no SharedArrayBuffer", async () => {
  const { SharedArrayBuffer: kept } = globalThis;
  delete globalThis.SharedArrayBuffer;
  try {
    await assert.rejects(createNic({ isolated: true }), {
      message: "isolated: true needs SharedArrayBuffer: serve the page cross-origin isolated",
    });
    const nic = await createNic(); // without the wish it just works
    assert.equal(nic.link, true);
    nic.close();
  } finally {
    globalThis.SharedArrayBuffer = kept;
  }
});

test("connectTunnel: what is missing or out of range", async () => {
  const nic = await createNic({ isolated: false });
  const url = "ws://127.0.0.1:9";
  class FakeSocket {}
  for (const [options, error] of [
    [undefined, { name: "TypeError", message: "connectTunnel() needs the url of a proxy" }],
    [{}, { name: "TypeError", message: "connectTunnel() needs the url of a proxy" }],
    [
      { url, tokenTransport: "header" },
      {
        name: "RangeError",
        message: "tokenTransport must be query, subprotocol or both, not header",
      },
    ],
    [
      { url, token: "a b", tokenTransport: "subprotocol" },
      {
        name: "RangeError",
        message: 'this token cannot be sent as a subprotocol: use tokenTransport: "query"',
      },
    ],
    [
      { url, maxFrameSize: -1 },
      { name: "RangeError", message: "maxFrameSize must be a whole number from 0 up, not -1" },
    ],
    [
      { url, keepaliveMinMs: 2, keepaliveMaxMs: 1 },
      { name: "RangeError", message: "keepaliveMinMs must not exceed keepaliveMaxMs" },
    ],
    [
      { url, worker: true },
      { message: "worker: true needs a Nic in shared memory: see the isolated option" },
    ],
    [
      { url, worker: true, WebSocket: FakeSocket },
      { message: "a WebSocket constructor cannot go to a worker: give webSocketModule" },
    ],
  ])
    assert.throws(() => connectTunnel(nic, options), error);
  nic.close();
});

test("a bad URL stops the tunnel for good", async () => {
  const nic = await createNic({ isolated: false });
  for (const [url, message] of [
    ["/l2", "bad tunnel URL: /l2"],
    ["ftp://127.0.0.1/l2", "bad tunnel URL: ftp: is not http, https, ws or wss"],
  ]) {
    const tunnel = connectTunnel(nic, { url, WebSocket: class {} });
    await assert.rejects(tunnel.opened, { name: "TypeError", message });
    assert.equal(tunnel.state, "stopped");
    assert.equal(tunnel.stats().lastError, message);
    tunnel.close();
  }
  nic.close();
});

test("no WebSocket in this Node", {
  skip: !isNode18 && typeof WebSocket === "function",
}, async () => {
  const nic = await createNic();
  const tunnel = connectTunnel(nic, { url: "ws://127.0.0.1:9" });
  await assert.rejects(tunnel.opened, {
    message: "there is no WebSocket here: give the option WebSocket or webSocketModule",
  });
  nic.close();
});

test("one card, one tunnel; and its frames are the tunnel's", async () => {
  const nic = await createNic({ isolated: false });
  const options = {
    url: "ws://127.0.0.1:9",
    WebSocket: class {
      close() {}
    },
  };
  const tunnel = connectTunnel(nic, options);
  assert.throws(() => connectTunnel(nic, options), { message: "this Nic has a tunnel already" });
  assert.throws(() => nic.takeFrame(), { message: "a tunnel takes the frames of this Nic" });
  tunnel.close();
  assert.equal(nic.takeFrame(), null);
  await assert.rejects(tunnel.opened, { message: "the tunnel was closed" });
  nic.close();
});
