// The virtio network card through the package: options, transports, both directions, interrupts,
// link, counters, saved states. Numbers: spec/virtio-net.md.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { createNic } from "../../wasm-glue/src/index.js";
import { numberedFrame } from "./driver.js";
import {
  Common,
  Feature,
  ISR_CONFIG,
  ISR_QUEUE,
  RAM_BYTES,
  VirtioDriver,
} from "./virtio-driver.js";

const make = (options) => createNic({ model: "virtio-net", ...options });

async function machine(options = {}) {
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await make({ memory: ram, ...options });
  return { nic, ram, driver: VirtioDriver.of(nic, ram) };
}

const memoryBar = { index: 0, kind: "memory", bytes: 0x4000 };
const ioBar = { index: 2, kind: "io", bytes: 0x100 };
const lowIoBar = { ...ioBar, index: 0 }; // where legacy drivers look: virtio §4.1.4.10
const highMemoryBar = { ...memoryBar, index: 4 };

for (const [profile, transport, id, bars] of [
  ["standard", "modern", 0x10411af4, [memoryBar]],
  ["standard", "transitional", 0x10001af4, [lowIoBar, highMemoryBar]],
  ["standard", "legacy", 0x10001af4, [lowIoBar]],
  ["contract", "modern", 0x10411af4, [memoryBar]],
  ["contract", "transitional", 0x10001af4, [memoryBar, ioBar]],
  ["contract", "legacy", 0x10001af4, [ioBar]],
])
  test(`§1: ${profile}, transport ${transport}: its identity and its BARs`, async () => {
    const nic = await make({ profile, transport });
    assert.equal(nic.configRead(0, 4), id);
    assert.deepEqual(nic.pci.bars, bars);
    nic.close();
  });

test("§1: modern is the transport when none is named", async () => {
  const nic = await make();
  assert.equal(nic.model, "virtio-net");
  assert.deepEqual(nic.pci.bars, [memoryBar]);
});

test("§1: BAR0 sizing reads FFFFC004, FFFFFFFF", async () => {
  const nic = await make();
  nic.configWrite(0x10, 4, 0xffffffff);
  nic.configWrite(0x14, 4, 0xffffffff);
  assert.equal(nic.configRead(0x10, 4), 0xffffc004);
  assert.equal(nic.configRead(0x14, 4), 0xffffffff);
});

/** Where its capabilities are, by id. */
function capabilities(nic) {
  const found = [];
  for (let at = nic.configRead(0x34, 1); at !== 0; at = nic.configRead(at + 1, 1))
    found.push([nic.configRead(at, 1), at]);
  return found;
}

test("§2.3: without onMessage MSI-X is not offered: the host has INTA only", async () => {
  const found = capabilities(await make());
  assert.ok(found.length >= 4);
  assert.ok(found.every(([id]) => id === 9));
});

describe("§2.3: with onMessage", () => {
  const TABLE = 0x3100;
  const CONTROL_ENABLE = 0x8000;
  const CONFIG_VECTOR = 0x10;
  const QUEUE_VECTOR = 0x1a;
  const [FOR_CONFIG, FOR_RX, FOR_TX] = [0, 1, 2];
  const MSIX = 0x11;
  const ADDRESS = 0x1_fee0_0000; // above 32 bits

  /** As a driver does: three vectors, one for each queue and one for configuration changes. */
  function mapVectors(nic, driver) {
    const [[, at]] = capabilities(nic).filter(([id]) => id === MSIX);
    nic.configWrite(at + 2, 2, CONTROL_ENABLE);
    for (const vector of [FOR_CONFIG, FOR_RX, FOR_TX]) {
      const entry = TABLE + 16 * vector;
      driver.put(entry, 4, (ADDRESS % 2 ** 32) + 16 * vector);
      driver.put(entry + 4, 4, Math.floor(ADDRESS / 2 ** 32));
      driver.put(entry + 8, 4, 0xdeadbee0 + vector);
      driver.put(entry + 12, 4, 0); // not masked
    }
    driver.put(CONFIG_VECTOR, 2, FOR_CONFIG);
    for (const [queue, vector] of [
      [0, FOR_RX],
      [1, FOR_TX],
    ]) {
      driver.put(Common.QUEUE_SELECT, 2, queue);
      driver.put(QUEUE_VECTOR, 2, vector);
      assert.equal(driver.get(QUEUE_VECTOR, 2), vector);
    }
  }
  const message = (vector) => [ADDRESS + 16 * vector, 0xdeadbee0 + vector];

  async function withMessages(options = {}) {
    const messages = [];
    const levels = [];
    const { nic, driver } = await machine({
      onMessage: (address, data) => messages.push([address, data]),
      onInterrupt: (level) => levels.push(level),
      ...options,
    });
    return { nic, driver, messages, levels };
  }

  test("each vector is delivered with the address and data programmed, INTA is silent", async () => {
    const { nic, driver, messages, levels } = await withMessages();
    driver.start();
    mapVectors(nic, driver);
    driver.post(4);
    driver.send(numberedFrame(1));
    nic.poll();
    assert.deepEqual(messages.splice(0), [message(FOR_TX)]);
    nic.receive(numberedFrame(2));
    nic.poll();
    assert.deepEqual(messages.splice(0), [message(FOR_RX)]);
    assert.deepEqual(driver.received(), [numberedFrame(2)]);
    nic.setLink(false);
    assert.deepEqual(messages.splice(0), [message(FOR_CONFIG)]);
    assert.deepEqual([levels, nic.irqLevel, driver.isr()], [[], false, 0]);
    nic.close();
  });

  test("a masked vector is delivered by the write that unmasks it", async () => {
    const { nic, driver, messages } = await withMessages();
    driver.start();
    mapVectors(nic, driver);
    driver.put(TABLE + 16 * FOR_TX + 12, 4, 1);
    driver.send(numberedFrame(1));
    nic.poll();
    assert.deepEqual(messages, []);
    driver.put(TABLE + 16 * FOR_TX + 12, 4, 0);
    assert.deepEqual(messages, [message(FOR_TX)]);
  });

  test("a driver that leaves MSI-X alone has INTA", async () => {
    const { nic, driver, messages, levels } = await withMessages();
    driver.start();
    driver.send(numberedFrame(1));
    nic.poll();
    assert.deepEqual([messages, levels, nic.irqLevel], [[], [true], true]);
  });

  test("it is the same in the emulator's own memory, and after a move there and back", async () => {
    const wasmMemory = new WebAssembly.Memory({ initial: 128, maximum: 1024 });
    const guestBase = 0x20000;
    const linear = { wasmMemory, guestBase, guestSize: RAM_BYTES };
    const ram = () => new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES);
    const inside = await withMessages({ memory: linear, ringBytes: 65536 });
    const moved = await withMessages({ memory: undefined, ringBytes: 65536 });
    moved.nic.setMemory(linear);
    for (const { nic, messages } of [inside, moved]) {
      const driver = VirtioDriver.of(nic, ram().fill(0));
      driver.start();
      mapVectors(nic, driver);
      driver.send(numberedFrame(1));
      nic.poll();
      assert.deepEqual(messages.splice(0), [message(FOR_TX)]);
    }
    const { nic, messages } = moved;
    nic.setMemory(ram()); // its vectors come along
    nic.setLink(false);
    assert.deepEqual(messages, [message(FOR_CONFIG)]);
  });

  test("what it throws comes out of the call that led to it", async () => {
    const onMessage = () => {
      throw new Error("no such processor");
    };
    const { nic, driver } = await withMessages({ onMessage });
    driver.start();
    mapVectors(nic, driver);
    driver.send(numberedFrame(1));
    assert.throws(() => nic.poll(), { message: "no such processor" });
    assert.equal(driver.get(Common.STATUS, 1), 15);
  });

  test("the legacy transport has no MSI-X, whose table is in the memory BAR", async () => {
    const nic = await make({ transport: "legacy", onMessage: () => {} });
    assert.ok(capabilities(nic).every(([id]) => id !== MSIX));
  });

  test("an E1000 is refused: it has no MSI-X", async () => {
    await assert.rejects(createNic({ model: "e1000", onMessage: () => {} }), {
      name: "TypeError",
      message: "onMessage is for virtio-net: an e1000 has no MSI-X",
    });
  });
});

test("§3: profile contract offers exactly its bits, standard more", async () => {
  const { driver } = await machine({ profile: "contract" });
  driver.bus.command(7);
  assert.deepEqual(driver.offered(), [0x10010020, 1]);
  const standard = await machine();
  standard.driver.bus.command(7);
  const [low, high] = standard.driver.offered();
  assert.equal((low & 0x10010020) >>> 0, 0x10010020);
  assert.equal(high & 1, 1);
  assert.ok((low & Feature.MTU[0]) !== 0);
});

test("§2.4: MAC, link status and MTU are in the device configuration", async () => {
  const { driver } = await machine({ mac: "52:54:00:aa:bb:cc", mtu: 9000 });
  driver.bus.command(7);
  assert.equal(driver.get(0x3000, 4), 0xaa005452);
  assert.equal(driver.get(0x3004, 2), 0xccbb);
  assert.equal(driver.get(0x3006, 2), 1);
  assert.equal(driver.get(0x300a, 2), 9000);
});

test("§2.1: queueSize is what the queues offer; 256 when it is left out", async () => {
  for (const [options, size] of [
    [{}, 256],
    [{ queueSize: 1024 }, 1024],
    [{ queueSize: 2 }, 2],
  ]) {
    const { driver } = await machine(options);
    driver.bus.command(7);
    assert.equal(driver.get(Common.QUEUE_SIZE, 2), size);
  }
});

for (const [headerMode, headerBytes] of [
  ["default", 12],
  ["10", 10],
  [10, 10],
  [12, 12],
])
  test(`§6.1: headerMode ${headerMode}: ${headerBytes} bytes in front of a frame`, async () => {
    const { nic, driver } = await machine({ headerMode });
    driver.headerBytes = headerBytes;
    driver.start();
    driver.post(1);
    driver.send(numberedFrame(1, 100));
    nic.receive(numberedFrame(2, 60));
    nic.poll();
    assert.deepEqual(nic.takeFrame(), numberedFrame(1, 100));
    assert.deepEqual(driver.received(), [numberedFrame(2, 60)]);
  });

for (const isolated of [false, true])
  describe(isolated ? "in shared memory" : "in memory of its own thread", () => {
    test("§2: a notify does no DMA, the poll after it does", async () => {
      const { nic, driver } = await machine({ isolated });
      driver.start();
      driver.send(numberedFrame(1, 1514));
      assert.equal(nic.takeFrame(), null);
      assert.equal(nic.workPending, true);
      assert.equal(nic.poll(), false);
      assert.deepEqual(nic.takeFrame(), numberedFrame(1, 1514));
      assert.deepEqual(driver.used(1), [[0, 0]]);
      assert.equal(nic.stats().txFrames, 1);
      assert.equal(nic.stats().txPushedBytes, 1514);
    });

    test("§2.3: a received frame raises INTA, reading ISR lowers it", async () => {
      const levels = [];
      const { nic, driver } = await machine({ isolated, onInterrupt: (up) => levels.push(up) });
      driver.start();
      driver.post(4);
      nic.receive(numberedFrame(7, 600));
      nic.poll();
      assert.equal(nic.irqLevel, true);
      assert.deepEqual(driver.received(), [numberedFrame(7, 600)]);
      assert.equal(driver.isr(), ISR_QUEUE);
      assert.equal(nic.irqLevel, false);
      assert.deepEqual(levels, [true, false]);
      assert.equal(nic.stats().rxFrames, 1);
    });
  });

test("§6.3, 1: bus mastering switched on is worth another try, as a kick is", async () => {
  const { nic, driver } = await machine();
  driver.start();
  driver.post(1);
  nic.poll();
  nic.configWrite(4, 2, 2);
  nic.receive(numberedFrame(1));
  nic.poll();
  assert.equal(nic.workPending, false);
  nic.configWrite(4, 2, 6);
  assert.equal(nic.workPending, true);
  nic.poll();
  assert.deepEqual(driver.received(), [numberedFrame(1)]);
});

test("§6.3, 1: nothing is lost before the driver is ready or has posted buffers", async () => {
  const { nic, driver } = await machine();
  nic.receive(numberedFrame(1));
  nic.poll();
  driver.start();
  nic.poll();
  assert.equal(nic.stats().rxPoppedFrames, 0);
  assert.equal(nic.workPending, false); // it waits for a register write
  driver.post(1);
  nic.receive(numberedFrame(2));
  nic.poll();
  assert.deepEqual(driver.received(), [numberedFrame(1)]);
  driver.post(1);
  nic.poll();
  assert.deepEqual(driver.received(), [numberedFrame(2)]);
  assert.equal(nic.workPending, false);
  assert.equal(nic.stats().rxDroppedOff, 0); // a frame that waits is not a dropped one
});

test("§2.4: the cable: status, generation and the configuration interrupt", async () => {
  const { nic, driver } = await machine();
  driver.start();
  driver.post(2);
  const generation = driver.get(Common.CONFIG_GENERATION, 1);
  nic.setLink(false);
  assert.equal(nic.link, false);
  assert.equal(nic.irqLevel, true);
  assert.equal(driver.isr(), ISR_CONFIG);
  assert.equal(driver.get(0x3006, 2), 0);
  assert.equal(driver.get(Common.CONFIG_GENERATION, 1), (generation + 1) & 0xff);
  nic.receive(numberedFrame(1)); // meets no cable
  nic.poll();
  assert.equal(nic.stats().rxDroppedOff, 1);
  nic.setLink(true);
  nic.receive(numberedFrame(2));
  nic.poll();
  assert.deepEqual(driver.received(), [numberedFrame(2)]);
});

test("§9: a saved state makes another card go on where this one was", async () => {
  const { nic, driver, ram } = await machine();
  driver.start();
  driver.post(3);
  driver.send(numberedFrame(1));
  const state = nic.saveState();
  const other = await make({ memory: ram });
  other.restoreState(state);
  driver.bus = VirtioDriver.of(other, ram).bus;
  other.receive(numberedFrame(2));
  other.poll();
  assert.deepEqual(other.takeFrame(), numberedFrame(1));
  assert.deepEqual(driver.received(), [numberedFrame(2)]);
});

test("§9: a state that is cut, longer, or another card's is refused whole", async () => {
  const { nic, driver } = await machine();
  driver.start();
  const state = nic.saveState();
  const e1000 = await createNic();
  for (const wrong of [
    state.subarray(0, state.length - 1),
    Uint8Array.of(...state, 0),
    new Uint8Array(0),
    e1000.saveState(),
  ]) {
    assert.throws(() => nic.restoreState(wrong), {
      message: "this is not a saved state of this card",
    });
    assert.deepEqual(nic.saveState(), state);
  }
});

test("a state of a card with other options is refused, or means what it says", async () => {
  const { nic, driver } = await machine({ queueSize: 1024 });
  driver.start();
  const { nic: smaller } = await machine({ queueSize: 16 });
  const before = smaller.saveState();
  assert.throws(() => smaller.restoreState(nic.saveState()));
  assert.deepEqual(smaller.saveState(), before);
});

for (const form of ["a Uint8Array", "a function", "the emulator's own memory"])
  test(`host-api.md §2.3: with ${form} a read wholly in the PCI hole gives FFh, others fail`, async () => {
    const HOLE = 0xb0000000;
    const wasmMemory = new WebAssembly.Memory({ initial: 128, maximum: 256 });
    const guestBase = 0x20000;
    const ram = () => new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES);
    const memory = {
      "a Uint8Array": ram(),
      "a function": ram,
      "the emulator's own memory": { wasmMemory, guestBase, guestSize: RAM_BYTES },
    }[form];
    const nic = await make({ memory, ringBytes: 65536 });
    const driver = VirtioDriver.of(nic, ram());
    driver.start();
    for (const [gpa, bytes, arrives] of [
      [HOLE, 60, true],
      [0xffffffff - 1513, 1514, true],
      [HOLE - 30, 60, false],
      [0x100000000 - 30, 60, false],
      [RAM_BYTES, 60, false],
      [RAM_BYTES - 30, 60, false],
    ]) {
      const slot = driver.avail[1] % driver.size;
      const table = driver.queueAt(1) + 16 * slot;
      driver.send(numberedFrame(1));
      driver.view.setUint32(table + 8, 12, true); // the header where it was,
      driver.view.setUint16(table + 12, 1, true);
      driver.view.setUint16(table + 14, 100, true);
      const rest = driver.queueAt(1) + 16 * 100;
      driver.view.setBigUint64(rest, BigInt(gpa), true); // the frame elsewhere
      driver.view.setUint32(rest + 8, bytes, true);
      driver.view.setUint32(rest + 12, 0, true);
      nic.poll();
      const frame = arrives ? new Uint8Array(bytes).fill(0xff) : null;
      assert.deepEqual(nic.takeFrame(), frame, gpa.toString(16));
    }
    // Writes are ignored there.
    driver.post(1);
    driver.view.setUint32(driver.queueAt(0), HOLE, true);
    nic.receive(numberedFrame(2));
    nic.poll();
    assert.deepEqual(driver.used(0), [[0, 72]]);
    nic.close();
  });

test("reset() forgets what the driver programmed", async () => {
  const { nic, driver } = await machine();
  driver.start();
  assert.equal(driver.get(Common.STATUS, 1), 15);
  nic.reset();
  assert.equal(nic.configRead(4, 2), 0);
  driver.bus.command(7);
  assert.equal(driver.get(Common.STATUS, 1), 0);
});

describe("an option that cannot be", () => {
  const sizes = "2, 4, 8, 16, 32, 64, 128, 256, 512, 1024";
  for (const [options, message] of [
    [{ profile: "windows" }, "bad profile windows: give one of standard, contract"],
    [{ profile: 0 }, "bad profile 0: give one of standard, contract"],
    [{ profile: "" }, "bad profile string: give one of standard, contract"],
    [{ transport: "pci" }, "bad transport pci: give one of modern, transitional, legacy"],
    [{ transport: ["modern"] }, "bad transport object: give one of modern, transitional, legacy"],
    [{ headerMode: 11 }, "bad headerMode 11: give one of default, 10, 12, auto"],
    [{ headerMode: Symbol("10") }, "bad headerMode symbol: give one of default, 10, 12, auto"],
    [{ queueSize: 100 }, `bad queueSize 100: give one of ${sizes}`],
    [{ queueSize: 2048 }, `bad queueSize 2048: give one of ${sizes}`],
    [{ queueSize: Number.NaN }, `bad queueSize NaN: give one of ${sizes}`],
    [{ mtu: 67 }, "bad mtu 67: give a whole number from 68 to 65535"],
    [{ mtu: 65536 }, "bad mtu 65536: give a whole number from 68 to 65535"],
    [{ mtu: 1500.5 }, "bad mtu 1500.5: give a whole number from 68 to 65535"],
    [{ mtu: "1500" }, "bad mtu 1500: give a whole number from 68 to 65535"],
    [{ mtu: Number.POSITIVE_INFINITY }, "bad mtu Infinity: give a whole number from 68 to 65535"],
    [{ mtu: true }, "bad mtu boolean: give a whole number from 68 to 65535"],
    [{ model: "e1000", mtu: 17000 }, "bad mtu 17000: give a whole number from 68 to 16366"],
    [
      { model: Symbol("virtio-net") },
      "unknown model Symbol(virtio-net): give one of e1000, virtio-net",
    ],
    [{ model: "toString" }, "unknown model toString: give one of e1000, virtio-net"],
  ])
    test(`${message.split(":")[0]}`, async () => {
      await assert.rejects(make(options), { name: "TypeError", message });
    });

  test("a module of the other card", async () => {
    const { readFileSync } = await import("node:fs");
    const url = new URL("../../wasm-glue/dist/e1000-plain.wasm", import.meta.url);
    const wasmModule = new WebAssembly.Module(readFileSync(url));
    await assert.rejects(make({ wasmModule }), {
      message: "this wasm module has no virtio-net, only e1000",
    });
  });

  test("null and undefined are left out", async () => {
    const nic = await make({ profile: null, transport: undefined, mtu: null, headerMode: null });
    assert.deepEqual(nic.pci.bars, [memoryBar]);
  });
});
