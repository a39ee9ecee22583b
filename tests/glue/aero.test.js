// The drop-in module of spec/host-api.md: its entry (§6.1), E1000Bridge (§3) row by row, rings (§6).
// Every § is a section of it unless e1000.md is named.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import init, {
  E1000Bridge,
  guest_ram_layout,
  mem_load_u32,
  mem_store_u32,
  open_ring_by_kind,
  SharedRingBuffer,
} from "aero-nic/aero";
import { buildRings, RingKind } from "aero-nic/ring";

import { asCard, GUEST_BASE, emulatorMemory as memoryFor, PAGE } from "./aero-support.js";
import { Driver, numberedFrame, RAM_BYTES, Reg } from "./driver.js";

const wasmUrl = (variant) => new URL(`../../wasm-glue/dist/e1000-${variant}.wasm`, import.meta.url);
const emulatorMemory = (shared) => memoryFor(shared, RAM_BYTES);

for (const shared of [false, true]) {
  describe(`E1000Bridge in ${shared ? "shared" : "unshared"} memory`, () => {
    async function machine(...mac) {
      const memory = emulatorMemory(shared);
      await init({ memory });
      const bridge = new E1000Bridge(GUEST_BASE, RAM_BYTES, ...mac);
      const ram = new Uint8Array(memory.buffer, GUEST_BASE, RAM_BYTES);
      const driver = new Driver(asCard(bridge), ram);
      return { memory, bridge, ram, driver };
    }

    test("the 3-argument form, also with undefined, and the 2-argument form work", async () => {
      const usual = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
      for (const form of [[], [undefined]])
        assert.deepEqual([...(await machine(...form)).bridge.mac_addr()], usual);
      const mac = Uint8Array.of(2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee);
      assert.deepEqual((await machine(mac)).bridge.mac_addr(), mac);
    });

    test("guestSize 0 is the rest of memory", async () => {
      const memory = emulatorMemory(shared);
      await init({ memory });
      const bridge = new E1000Bridge(GUEST_BASE, 0);
      const bytes = memory.buffer.byteLength - GUEST_BASE;
      const ram = new Uint8Array(memory.buffer, GUEST_BASE, bytes);
      const driver = new Driver(asCard(bridge), ram);
      driver.start();
      driver.queue(new Uint8Array(60));
      ram.fill(0x77, bytes - 60);
      driver.view.setUint32(0x1000, bytes - 60, true); // the frame is the end of RAM
      bridge.poll();
      assert.deepEqual(bridge.pop_tx_frame(), new Uint8Array(60).fill(0x77));
    });

    test("what the constructor refuses, it refuses with a sentence", async () => {
      const memory = emulatorMemory(shared);
      const { byteLength } = memory.buffer;
      await init({ memory });
      const refuses = (args, message) =>
        assert.throws(() => new E1000Bridge(...args), { name: "Error", message });
      refuses([0, RAM_BYTES], "guest_base must be non-zero");
      refuses([2 ** 32, RAM_BYTES], "guest_base must be non-zero"); // values are >>> 0
      refuses([byteLength + PAGE, 0], /outside the linear memory$/);
      refuses([GUEST_BASE, byteLength], /outside the linear memory$/);
      refuses([GUEST_BASE, 0xffffffff], /^guest RAM of 3758096384 bytes .* outside/); // clamped
      refuses([byteLength, 0], /guest_size is 0/);
      refuses([GUEST_BASE, RAM_BYTES, new Uint8Array(5)], "mac must have 6 bytes, not 5");
      refuses([GUEST_BASE, RAM_BYTES, new Uint8Array(7)], "mac must have 6 bytes, not 7");
      refuses([PAGE, PAGE], /^there is no room of \d+ bytes for a card below guest_base$/);
      for (let i = 0; i < 3; i++) new E1000Bridge(GUEST_BASE, RAM_BYTES).free(); // nothing leaked
    });

    test("mmio_read: size 1, 2, 4, else 0; beyond 0x20000 all ones", async () => {
      const { bridge } = await machine();
      assert.equal(bridge.mmio_read(Reg.STATUS, 4), 0x80000083);
      assert.equal(bridge.mmio_read(Reg.STATUS, 2), 0x0083);
      assert.equal(bridge.mmio_read(Reg.STATUS + 3, 1), 0x80);
      for (const size of [0, 3, 5, 8, -1, 2 ** 31]) assert.equal(bridge.mmio_read(8, size), 0);
      for (const offset of [0x20000, 0x1fffd, 0xffffffff, -1])
        assert.equal(bridge.mmio_read(offset, 4), 0xffffffff);
    });

    test("mmio_write: register effect only; bad size or range ignored", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      driver.queue(numberedFrame(1));
      assert.equal(bridge.pop_tx_frame(), undefined); // TDT moved, no DMA
      assert.equal(driver.txDone(0), false);
      const before = bridge.save_state();
      for (const size of [0, 3, 8]) bridge.mmio_write(Reg.RCTL, size, 0xffffffff);
      for (const offset of [0x20000, 0x1fffd, 0xfffffffc]) bridge.mmio_write(offset, 4, 0xffffffff);
      assert.deepEqual(bridge.save_state(), before);
      bridge.mmio_write(Reg.TDBAL, 4, -16); // values are >>> 0
      assert.equal(bridge.mmio_read(Reg.TDBAL, 4), 0xfffffff0);
    });

    test("io_read, io_write: the I/O BAR of 0x40 bytes, same rules", async () => {
      const { bridge } = await machine();
      bridge.io_write(0, 4, Reg.STATUS);
      assert.equal(bridge.io_read(0, 4), Reg.STATUS);
      assert.equal(bridge.io_read(4, 4), 0x80000083);
      assert.equal(bridge.io_read(4, 3), 0);
      assert.equal(bridge.io_read(0x40, 4), 0xffffffff);
      bridge.io_write(0x40, 4, 0x10);
      bridge.io_write(0, 8, 0x10);
      assert.equal(bridge.io_read(0, 4), Reg.STATUS);
    });

    test("set_pci_command: low 16 bits; poll does nothing without bus master", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      bridge.set_pci_command(0x10003);
      driver.queue(numberedFrame(1));
      bridge.poll();
      assert.equal(bridge.pop_tx_frame(), undefined);
      bridge.set_pci_command(7);
      bridge.poll();
      assert.deepEqual(bridge.pop_tx_frame(), numberedFrame(1));
    });

    test("irq_level: (ICR & IMS) behind the INTx-disable gate", async () => {
      const { bridge, driver } = await machine();
      assert.equal(bridge.irq_level(), false);
      driver.start();
      driver.queue(numberedFrame(1));
      bridge.poll();
      assert.equal(bridge.irq_level(), true);
      bridge.set_pci_command(0x0407);
      assert.equal(bridge.irq_level(), false);
      bridge.set_pci_command(0x0007);
      assert.equal(bridge.irq_level(), true);
      assert.notEqual(driver.read(Reg.ICR), 0);
      assert.equal(bridge.irq_level(), false);
    });

    test("pci_config_write: size 1, 2, 4 inside 256 bytes, else ignored", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      bridge.pci_config_write(0x04, 2, 0x0003); // the bus master bit goes
      driver.queue(numberedFrame(1));
      bridge.poll();
      assert.equal(bridge.pop_tx_frame(), undefined);
      const before = bridge.save_state();
      for (const [offset, size] of [
        [0x04, 3],
        [0x04, 0],
        [0x04, 8],
        [253, 4],
        [256, 1],
        [-1, 1],
      ])
        bridge.pci_config_write(offset, size, 0x07070707);
      assert.deepEqual(bridge.save_state(), before);
      bridge.pci_config_write(0x04, 1, 0x07);
      bridge.poll();
      assert.deepEqual(bridge.pop_tx_frame(), numberedFrame(1));
    });

    test("receive_frame: 14..1522 bytes, queued, no DMA before poll", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      for (const bytes of [0, 13, 1523, 100_000]) bridge.receive_frame(new Uint8Array(bytes));
      for (const none of [undefined, null, 7, {}]) bridge.receive_frame(none);
      bridge.receive_frame(numberedFrame(1, 1514));
      assert.deepEqual(driver.received(), []);
      bridge.poll();
      assert.deepEqual(driver.received(), [numberedFrame(1, 1514)]);
      bridge.poll();
      assert.deepEqual(driver.received(), []);
    });

    test("pop_tx_frame: frames in order, each a copy owned by the caller", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      for (let number = 0; number < 3; number++) driver.queue(numberedFrame(number, 100));
      bridge.poll();
      const frames = [bridge.pop_tx_frame(), bridge.pop_tx_frame(), bridge.pop_tx_frame()];
      assert.deepEqual(
        frames,
        [0, 1, 2].map((number) => numberedFrame(number, 100)),
      );
      assert.ok(frames.every((frame) => frame.buffer instanceof ArrayBuffer));
      assert.equal(bridge.pop_tx_frame(), undefined);
    });

    test("§8: at most 256 frames wait each way; e1000.md §7: the guest's others stay its own", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      const sent = Array.from({ length: 300 }, (_, number) => numberedFrame(number));
      sent.forEach((frame, number) => {
        driver.queue(frame);
        if (number % 50 === 49) bridge.poll();
      });
      assert.equal(driver.idle, false);
      bridge.load_state(bridge.save_state()); // so many the snapshot takes
      sent.forEach((frame, number) => {
        if (number === 256) {
          assert.equal(bridge.pop_tx_frame(), undefined);
          bridge.poll();
        }
        assert.deepEqual(bridge.pop_tx_frame(), frame);
      });
      assert.equal(driver.idle, true);
      for (let number = 0; number < 300; number++) bridge.receive_frame(numberedFrame(number));
      bridge.load_state(bridge.save_state());
    });

    test("save_state, load_state: another bridge goes on where this one was", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      driver.queue(numberedFrame(1));
      driver.queue(numberedFrame(2));
      bridge.poll();
      driver.queue(numberedFrame(3)); // not sent yet
      bridge.receive_frame(numberedFrame(4)); // not delivered yet
      const state = bridge.save_state();
      assert.deepEqual(bridge.save_state(), state); // deterministic, and takes nothing away
      assert.deepEqual(bridge.snapshot_state(), state);
      const header = Buffer.from(state.subarray(0, 16)).toString("hex");
      assert.equal(header, "4145524f0100000045314b3001000000"); // e1000.md §10.1

      const other = new E1000Bridge(GUEST_BASE, RAM_BYTES);
      other.load_state(state);
      assert.deepEqual(other.save_state(), state);
      other.poll();
      for (const number of [1, 2, 3]) assert.deepEqual(other.pop_tx_frame(), numberedFrame(number));
      assert.equal(other.pop_tx_frame(), undefined);
      assert.deepEqual(driver.received(), [numberedFrame(4)]);
      other.restore_state(state); // the frames of before are gone, those of the state are back
      assert.deepEqual(other.pop_tx_frame(), numberedFrame(1));
    });

    test("load_state throws on invalid data and then changes nothing", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      driver.queue(numberedFrame(1));
      bridge.poll();
      const before = bridge.save_state();
      const bad = before.slice();
      bad[8] ^= 1; // the device's name
      const refused = { name: "Error", message: "this is not a saved state of an E1000" };
      for (const bytes of [
        new Uint8Array(0),
        before.subarray(0, 15),
        before.subarray(0, before.length - 1),
        bad,
        new Uint8Array((2 << 20) + 1),
        undefined,
      ])
        assert.throws(() => bridge.load_state(bytes), refused);
      assert.throws(() => bridge.restore_state(bad), refused);
      assert.deepEqual(bridge.save_state(), before);
      assert.deepEqual(bridge.pop_tx_frame(), numberedFrame(1));
    });

    test("camelCase names are the same methods; .call(bridge, ...) works", async () => {
      const { bridge } = await machine();
      for (const name of [
        "mmio_read mmio_write io_read io_write set_pci_command pci_config_write poll receive_frame",
        "pop_tx_frame irq_level mac_addr save_state load_state snapshot_state restore_state free",
      ].flatMap((names) => names.split(" "))) {
        const alias = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
        assert.equal(typeof bridge[name], "function", name);
        assert.equal(bridge[alias], bridge[name], alias);
      }
      const { mmioRead } = bridge;
      assert.equal(mmioRead.call(bridge, Reg.STATUS, 4), 0x80000083);
    });

    test("free: later calls are errors, its place is given to the next", async () => {
      const { memory, bridge } = await machine();
      const others = [];
      assert.throws(() => {
        for (;;) others.push(new E1000Bridge(GUEST_BASE, RAM_BYTES));
      }, /no room/);
      bridge.free();
      for (const name of Object.getOwnPropertyNames(E1000Bridge.prototype))
        if (name !== "constructor")
          assert.throws(
            () => bridge[name](0, 4, 0),
            { name: "Error", message: /was freed$/ },
            name,
          );
      const next = new E1000Bridge(GUEST_BASE, RAM_BYTES);
      assert.equal(next.mmio_read(Reg.RCTL, 4), 0);
      if (!shared) memory.grow(1); // as an emulator may at any time
      assert.equal(next.mmio_read(Reg.STATUS, 4), 0x80000083);
    });

    test("§9: what the guest or the network supplies throws nowhere", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      for (const value of [0, 1, -1, 2 ** 31, 2 ** 40, 0.5, Number.NaN, undefined])
        for (const size of [1, 2, 4, value]) {
          bridge.mmio_read(value, size);
          bridge.mmio_write(value, size, value);
          bridge.io_read(value, size);
          bridge.io_write(value, size, value);
          bridge.pci_config_write(value, size, value);
          bridge.set_pci_command(value);
          bridge.poll();
        }
    });

    test("§2.4, 1 and §6.1: outside its region and guest RAM not a byte changes", async () => {
      const memory = emulatorMemory(shared);
      await init({ memory });
      const end = GUEST_BASE + RAM_BYTES;
      const bytes = () => new Uint8Array(memory.buffer);
      bytes().fill(0xa5);
      const first = new E1000Bridge(GUEST_BASE, RAM_BYTES);
      const region = [bytes().findIndex((byte) => byte !== 0xa5), 0];
      region[1] = Math.floor((GUEST_BASE - 64) / PAGE) * PAGE;
      bytes().fill(0xa5, 0, region[0]);
      const driver = new Driver(asCard(first), bytes().subarray(GUEST_BASE, end));
      driver.start();
      driver.queue(numberedFrame(1, 1514));
      first.receive_frame(numberedFrame(2, 1514));
      first.poll();
      first.load_state(first.save_state());
      const untouched = (from, to) =>
        bytes()
          .subarray(from, to)
          .every((byte) => byte === 0xa5);
      assert.equal(region[0] % PAGE, 0);
      assert.ok(untouched(0, region[0]));
      assert.ok(untouched(region[1], GUEST_BASE));
      assert.ok(untouched(end, bytes().length));
    });

    test("regionBase: the host assigns the place, upwards", async () => {
      const memory = emulatorMemory(shared);
      await init({ memory, regionBase: 0x10000 });
      new Uint8Array(memory.buffer).fill(0xa5);
      new E1000Bridge(GUEST_BASE, RAM_BYTES);
      assert.equal(mem_load_u32(0x10000 - 4), 0xa5a5a5a5);
      assert.notEqual(mem_load_u32(0x10000), 0xa5a5a5a5);
      await init({ memory, regionBase: GUEST_BASE });
      assert.throws(() => new E1000Bridge(GUEST_BASE, PAGE), /into guest memory$/);
    });
  });
}

describe("the module entry (§6.1)", () => {
  const plain = readFileSync(wasmUrl("plain"));

  test("the loader's three forms, with every kind of input", async () => {
    const memory = emulatorMemory(false);
    for (const args of [
      [],
      [{}],
      [{ module_or_path: wasmUrl("plain"), module: undefined, memory }],
      [{ module: String(wasmUrl("plain")), memory }],
      [{ module_or_path: new WebAssembly.Module(plain), memory }],
      [wasmUrl("plain"), memory],
      [plain, memory],
      [plain.buffer.slice(plain.byteOffset, plain.byteOffset + plain.length), memory],
      [Promise.resolve(new Response(plain)), memory],
      [wasmUrl("plain")],
    ]) {
      const entered = await init(...args);
      if (args[1] || args[0]?.memory) assert.equal(entered.memory, memory);
      else assert.equal(entered.memory.buffer.byteLength, 128 << 20);
    }
  });

  test("a card whose module is not there or was not asked for says so when it is made", async () => {
    const memory = emulatorMemory(false);
    await init({ memory, models: ["virtio-net"] });
    assert.throws(() => new E1000Bridge(GUEST_BASE, RAM_BYTES), {
      message: "init() of aero-nic/aero was not asked for e1000",
    });
    await init({ memory, module: plain, models: [] });
    new E1000Bridge(GUEST_BASE, RAM_BYTES).free();
  });

  test("a form that cannot work is rejected, and what was set up before stays", async () => {
    const memory = emulatorMemory(false);
    await init({ memory });
    const shared = emulatorMemory(true);
    for (const args of [
      [plain, shared], // the other kind of memory
      [new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), memory], // no module of ours
      [new Uint8Array(3), memory],
      [new URL("file:///nowhere/nic.wasm"), memory],
      [{ memory: {} }],
    ])
      await assert.rejects(init(...args), (error) => error instanceof Error);
    new E1000Bridge(GUEST_BASE, RAM_BYTES).free();
  });

  for (const shared of [false, true]) {
    test(`the wiring test below guest_base, ${shared ? "shared" : "unshared"}`, async () => {
      const memory = emulatorMemory(shared);
      await init(undefined, memory);
      const bridge = new E1000Bridge(GUEST_BASE, RAM_BYTES);
      const view = new DataView(memory.buffer);
      for (const at of [GUEST_BASE - 64, GUEST_BASE - 4]) {
        view.setUint32(at, 0x89abcdef, true);
        assert.equal(mem_load_u32(at), 0x89abcdef);
        mem_store_u32(at, -2);
        assert.equal(view.getUint32(at, true), 0xfffffffe);
      }
      assert.equal(bridge.mmio_read(Reg.STATUS, 4), 0x80000083);
      assert.throws(() => mem_load_u32(0xfffffff0), RangeError);
    });
  }

  test("§2.1: guest_ram_layout rounds up to 64 KiB and clamps", () => {
    const layout = (guest_size) => ({
      guest_base: 0x08000000,
      guest_size,
      runtime_reserved: 0x08000000,
    });
    assert.deepEqual(guest_ram_layout(), layout(512 << 20));
    assert.deepEqual(guest_ram_layout(1), layout(PAGE));
    assert.deepEqual(guest_ram_layout(PAGE), layout(PAGE));
    assert.deepEqual(guest_ram_layout(PAGE + 1), layout(2 * PAGE));
    assert.deepEqual(guest_ram_layout(0xffffffff), layout(0xe0000000));
    assert.deepEqual(guest_ram_layout(2 ** 40), layout(0xe0000000));
  });
});

describe("rings (§6)", () => {
  const sab = () =>
    buildRings([
      { kind: RingKind.NET_TX, capacity: 64 },
      { kind: RingKind.NET_RX, capacity: 128 },
    ]);

  test("open_ring_by_kind and new(sab, offset) open the same ring", () => {
    const buffer = sab();
    const ring = open_ring_by_kind(buffer, RingKind.NET_RX, 0);
    assert.ok(ring instanceof SharedRingBuffer);
    assert.equal(ring.capacity_bytes(), 128);
    const offset = new DataView(buffer).getUint32(16 + 16 + 4, true);
    assert.equal(ring.try_push(Uint8Array.of(1, 2, 3)), true);
    assert.deepEqual(new SharedRingBuffer(buffer, offset).try_pop(), Uint8Array.of(1, 2, 3));
    assert.equal(ring.tryPop(), undefined);
  });

  for (const [fault, at, value, message] of [
    ["bad magic", 0, 1, /magic/],
    ["version", 4, 2, /version/],
    ["length mismatch", 8, 12, /length/],
    ["reserved is not 0", 16 + 12, 1, /reserved/],
    ["misaligned", 16 + 4, 50, /misaligned/],
    ["out of bounds", 16 + 4, 0x10000, /bounds/],
    ["capacity mismatch", 16 + 8, 32, /capacity/],
  ])
    test(`a text for a layout fault: ${fault}`, () => {
      const buffer = sab();
      new DataView(buffer).setUint32(at, value, true);
      assert.throws(() => open_ring_by_kind(buffer, RingKind.NET_TX, 0), message);
    });

  test("a text when the kind is not found", () => {
    assert.throws(() => open_ring_by_kind(sab(), RingKind.NET_TX, 1), /no ring 1 of kind 2/);
  });

  test("try_push: false when full or too large; push_blocking throws if it can never fit", () => {
    const ring = open_ring_by_kind(sab(), RingKind.NET_TX, 0);
    assert.equal(ring.try_push(new Uint8Array(61)), false);
    assert.throws(() => ring.push_blocking(new Uint8Array(61)), RangeError);
    assert.equal(ring.try_push(new Uint8Array(60)), true);
    assert.equal(ring.try_push(new Uint8Array(1)), false);
  });

  test("try_pop drops a corrupt backlog", () => {
    const buffer = sab();
    const ring = open_ring_by_kind(buffer, RingKind.NET_TX, 0);
    ring.push_blocking(new Uint8Array(8));
    ring.push_blocking(new Uint8Array(8));
    const header = new DataView(buffer).getUint32(16 + 4, true);
    new DataView(buffer).setUint32(header + 16, 0x7ffffff0, true); // the first record's length
    assert.equal(ring.try_pop(), undefined);
    ring.push_blocking(Uint8Array.of(9));
    assert.deepEqual(ring.pop_blocking(), Uint8Array.of(9));
  });

  test("wait_for_data and pop_blocking block until another thread pushes", async () => {
    const buffer = sab();
    const echo = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ open_ring_by_kind }) => {
        const from = open_ring_by_kind(workerData.buffer, 2, 0);
        const to = open_ring_by_kind(workerData.buffer, 3, 0);
        parentPort.postMessage("ready");
        for (let i = 0; i < 20; i++) to.push_blocking(from.pop_blocking());
      });`;
    const module = import.meta.resolve?.("aero-nic/aero") ?? wasmUrl("../src/aero.js").href;
    const worker = new Worker(echo, { eval: true, workerData: { buffer, module } });
    const tx = open_ring_by_kind(buffer, RingKind.NET_TX, 0);
    const rx = open_ring_by_kind(buffer, RingKind.NET_RX, 0);
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    await new Promise((resolve) => worker.once("message", resolve)); // it loads no more: we may block
    for (let i = 0; i < 20; i++) {
      tx.push_blocking(new Uint8Array(40).fill(i));
      rx.wait_for_data();
      assert.deepEqual(rx.try_pop(), new Uint8Array(40).fill(i));
    }
    assert.equal(await ended, 0);
  });

  test("after free() every call throws", () => {
    const ring = open_ring_by_kind(sab(), RingKind.NET_TX, 0);
    ring.free();
    for (const call of [() => ring.capacity_bytes(), () => ring.try_pop(), () => ring.free()])
      assert.throws(call, { message: "this SharedRingBuffer was freed" });
  });
});
