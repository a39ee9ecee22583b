// VirtioNetPciBridge row by row (spec/host-api.md §4), and the DMA rules of a virtio card (§2.3).
// Every § is a section of it unless virtio-net.md or net-rings.md is named.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import init, { E1000Bridge, VirtioNetPciBridge } from "aero-nic/aero";
import { buildRings, openRing, RingKind } from "aero-nic/ring";

import { emulatorMemory, GUEST_BASE, PAGE, virtioDriver } from "./aero-support.js";
import { numberedFrame } from "./driver.js";
import { Common, Feature, ISR_QUEUE, RAM_BYTES, RX, TX } from "./virtio-driver.js";

const RING_BYTES = 16384;

function ringsOf(txBytes = RING_BYTES, rxBytes = RING_BYTES) {
  const sab = buildRings([
    { kind: RingKind.NET_TX, capacity: txBytes },
    { kind: RingKind.NET_RX, capacity: rxBytes },
  ]);
  const tx = openRing(sab, { kind: RingKind.NET_TX });
  const rx = openRing(sab, { kind: RingKind.NET_RX });
  return { sab, tx, rx };
}

/** Where the words of a ring's header are. */
const headerOf = (sab, kind) => {
  const view = new DataView(sab);
  return new Int32Array(sab, view.getUint32(16 + 16 * kind + 4, true), 4);
};

for (const shared of [false, true]) {
  describe(`VirtioNetPciBridge in ${shared ? "shared" : "unshared"} memory`, () => {
    async function machine(transport, options, rings = ringsOf()) {
      const memory = emulatorMemory(shared, RAM_BYTES);
      await init({ memory });
      const bridge = new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, rings.sab, transport, options);
      const ram = new Uint8Array(memory.buffer, GUEST_BASE, RAM_BYTES);
      const driver = virtioDriver(bridge, ram);
      if (options?.headerMode === undefined && options?.profile !== "standard")
        driver.headerBytes = 12; // auto takes what the first descriptor has
      return { memory, bridge, ram, driver, ...rings };
    }

    test("3 and 4 arguments; the fifth carries the MAC and the header mode", async () => {
      const memory = emulatorMemory(shared, RAM_BYTES);
      await init({ memory });
      const { sab } = ringsOf();
      const mac = (bridge) => {
        bridge.set_pci_command(2);
        const bytes = [0, 1, 2, 3, 4, 5].map((at) => bridge.mmio_read(0x3000 + at, 1));
        bridge.free();
        return bytes;
      };
      const usual = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]; // virtio-net.md §2.4, [US]
      assert.deepEqual(mac(new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab)), usual);
      assert.deepEqual(mac(new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab, undefined)), usual);
      const own = Uint8Array.of(2, 0, 0, 0, 0, 9);
      const options = { mac: own, headerMode: 10 };
      assert.deepEqual(mac(new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab, null, options)), [
        ...own,
      ]);
      const { driver, bridge, tx } = await machine("modern", options);
      driver.headerBytes = 10;
      driver.start();
      driver.send(numberedFrame(1));
      bridge.poll();
      assert.deepEqual(tx.pop(), numberedFrame(1));
    });

    test("transportMode: every form of the table, anything else is an error", async () => {
      const memory = emulatorMemory(shared, RAM_BYTES);
      await init({ memory });
      const { sab } = ringsOf();
      const answers = (mode) => {
        const bridge = new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab, mode);
        bridge.set_pci_command(3);
        const modern = bridge.mmio_read(Common.NUM_QUEUES, 2) === 2;
        const legacy = bridge.legacy_io_read(0, 4) !== 0xffffffff;
        bridge.free();
        return `${modern ? "modern" : ""}${legacy ? "legacy" : ""}`;
      };
      for (const mode of [undefined, null, false, 0, "modern", "modern-only", "", "MODERN_Only"])
        assert.equal(answers(mode), "modern", String(mode));
      for (const mode of [true, 1, "transitional", "Transitional"])
        assert.equal(answers(mode), "modernlegacy", String(mode));
      for (const mode of [2, "legacy", "legacy-only", "LEGACY_ONLY"])
        assert.equal(answers(mode), "legacy", String(mode));
      for (const mode of [3, -1, Number.NaN, "pci", "both", {}, [], Symbol("modern")])
        assert.throws(() => answers(mode), {
          name: "Error",
          message: `bad transportMode ${String(mode)}: give modern, transitional or legacy`,
        });
    });

    test("what the constructor refuses, it refuses with a sentence, and nothing leaks", async () => {
      const memory = emulatorMemory(shared, RAM_BYTES);
      await init({ memory });
      const { sab } = ringsOf();
      const refuses = (args, message) =>
        assert.throws(
          () => new VirtioNetPciBridge(...args),
          (error) => {
            assert.ok(error instanceof Error);
            assert.match(error.message, message);
            return !error.message.includes("\n");
          },
        );
      const good = [GUEST_BASE, RAM_BYTES];
      refuses([0, RAM_BYTES, sab], /^guest_base must be non-zero$/);
      refuses([memory.buffer.byteLength + PAGE, 0, sab], /outside the linear memory$/);
      refuses([GUEST_BASE, 0xffffffff, sab], /outside the linear memory$/);
      refuses([...good], /needs an ArrayBuffer, SharedArrayBuffer/);
      refuses([...good, new SharedArrayBuffer(64)], /bad magic/);
      refuses(
        [...good, buildRings([{ kind: RingKind.NET_TX, capacity: 64 }])],
        /no ring 0 of kind 3/,
      );
      refuses([...good, sab, 0, { mac: new Uint8Array(5) }], /^mac must have 6 bytes, not 5$/);
      refuses([...good, sab, 0, { mac: Uint8Array.of(1, 0, 0, 0, 0, 0) }], /unicast/);
      refuses([...good, sab, 0, { headerMode: 11 }], /^bad headerMode 11: give one of default/);
      refuses([...good, sab, 0, { profile: "x" }], /^bad profile x: give one of/);
      refuses([...good, ringsOf(64 << 20).sab], /^there is no room of \d+ bytes/);
      for (let i = 0; i < 3; i++) new VirtioNetPciBridge(...good, sab).free();
    });

    test("mmio_read: size 0 gives 0, a size not 1, 2, 4 all ones", async () => {
      const { bridge } = await machine();
      bridge.set_pci_command(2);
      assert.equal(bridge.mmio_read(Common.NUM_QUEUES, 2), 2);
      assert.equal(bridge.mmio_read(Common.NUM_QUEUES, 1), 2);
      assert.equal(bridge.mmio_read(Common.NUM_QUEUES, 4), 2); // with the status behind it
      assert.equal(bridge.mmio_read(Common.NUM_QUEUES, 0), 0);
      for (const size of [3, 5, 8, -1, 2 ** 31])
        assert.equal(bridge.mmio_read(Common.NUM_QUEUES, size), 0xffffffff);
      for (const offset of [0x4000, 0x3ffe, 0xffffffff, -1])
        assert.equal(bridge.mmio_read(offset, 4), 0xffffffff);
    });

    test("mmio_write: register effect only; bad size or range ignored", async () => {
      const { bridge, driver, tx } = await machine();
      driver.start();
      driver.send(numberedFrame(1));
      assert.equal(tx.hasData, false); // kicked, no DMA
      const before = bridge.save_state();
      for (const size of [0, 3, 8]) bridge.mmio_write(Common.STATUS, size, 0);
      for (const offset of [0x4000, 0x3ffd, 0xfffffffc]) bridge.mmio_write(offset, 4, 0);
      assert.deepEqual(bridge.save_state(), before);
      bridge.poll();
      assert.deepEqual(tx.pop(), numberedFrame(1));
    });

    test("§4: either interface of a standard card, whatever BARs it has them behind", async () => {
      const { bridge } = await machine("transitional", { profile: "standard" });
      bridge.set_pci_command(3);
      assert.equal(bridge.mmio_read(0x12, 2), 3); // num_queues
      assert.equal(bridge.legacy_io_read(0x0c, 2), 256); // queue size
    });

    test("legacy_io_read, legacy_io_write, io_read, io_write: BAR2; all ones when not enabled", async () => {
      const modern = await machine("modern");
      modern.bridge.set_pci_command(7);
      assert.equal(modern.bridge.legacy_io_read(0, 4), 0xffffffff);
      const { bridge } = await machine("transitional");
      // The wrapper's probe: command 1, offset 0, then command 0 again.
      assert.equal(bridge.legacy_io_read(0, 4), 0xffffffff);
      bridge.set_pci_command(1);
      assert.equal(bridge.legacy_io_read(0, 4), 0x10010020);
      assert.equal(bridge.io_read(0, 4), 0x10010020);
      assert.equal(bridge.legacy_io_read(0x0c, 2), 256);
      for (const offset of [0x100, 0xfd, -4, 0xffffffff])
        assert.equal(bridge.legacy_io_read(offset, 4), 0xffffffff);
      for (const size of [3, 8, -1]) assert.equal(bridge.legacy_io_read(0, size), 0xffffffff);
      assert.equal(bridge.legacy_io_read(0, 0), 0);
      bridge.legacy_io_write(0x0e, 2, 1);
      assert.equal(bridge.legacy_io_read(0x0e, 2), 1);
      bridge.io_write(0x0e, 2, 0);
      assert.equal(bridge.io_read(0x0e, 2), 0);
      bridge.set_pci_command(0);
      for (const size of [1, 2, 4]) assert.equal(bridge.legacy_io_read(0, size), 0xffffffff);
    });

    test("set_pci_command: gates decoding (0, 1), DMA (2) and INTx (10)", async () => {
      const { bridge, driver, tx, rx } = await machine();
      driver.start();
      driver.post(1);
      driver.send(numberedFrame(1));
      bridge.set_pci_command(0x10003); // its low 16 bits: no bus master
      rx.push(numberedFrame(2));
      bridge.poll();
      bridge.tick(8);
      assert.equal(tx.hasData, false);
      assert.equal(bridge.irq_asserted(), false);
      bridge.set_pci_command(7);
      bridge.poll();
      assert.deepEqual(tx.pop(), numberedFrame(1));
      assert.deepEqual(driver.received(), [numberedFrame(2)]);
      assert.equal(bridge.irq_asserted(), true);
      assert.equal(bridge.irq_level(), true);
      bridge.set_pci_command(0x0407);
      assert.equal(bridge.irq_asserted(), false);
      bridge.set_pci_command(0x0005);
      assert.equal(bridge.mmio_read(Common.NUM_QUEUES, 2), 0xffff);
      bridge.set_pci_command(0x0007);
      assert.equal(driver.isr(), ISR_QUEUE);
      assert.equal(bridge.irq_asserted(), false);
    });

    test("poll: ring traffic both ways, in order; tick(nowMs) is another name", async () => {
      const { bridge, driver, tx, rx } = await machine();
      driver.start();
      driver.post(64);
      const numbers = Array.from({ length: 50 }, (_, number) => number);
      for (const round of [0, 1, 2, 3, 4]) {
        const frames = numbers.slice(0, 10).map((n) => numberedFrame(10 * round + n, 1000));
        for (const frame of frames) {
          driver.send(frame);
          assert.equal(rx.push(frame), true);
        }
        if (round % 2 === 0) bridge.poll();
        else bridge.tick(8 * round);
        assert.deepEqual(driver.received(), frames);
        for (const frame of frames) assert.deepEqual(tx.pop(), frame);
        assert.equal(tx.hasData, false);
        assert.equal(rx.hasData, false);
      }
    });

    test("virtio-net.md §6.3, 1: frames stay in NET_RX until the driver has posted buffers", async () => {
      const { bridge, driver, rx } = await machine();
      rx.push(numberedFrame(1));
      driver.start();
      bridge.poll();
      assert.equal(rx.hasData, true);
      driver.post(2);
      bridge.poll();
      assert.equal(rx.hasData, false);
      assert.deepEqual(driver.received(), [numberedFrame(1)]);
    });

    test("net-rings.md §5: what NET_RX's owner drains never reaches the guest, what follows does", async () => {
      const { bridge, driver, rx } = await machine();
      driver.start();
      let number = 0;
      const next = () => numberedFrame(++number, 60 + ((number * 397) % 1400));
      // Around the ring several times, with a refill shorter and longer than what was drained.
      for (let round = 0; round < 30; round++) {
        for (let i = 0; i < 2 + (round % 3); i++) assert.equal(rx.push(next()), true);
        bridge.poll(); // no buffers: the frames wait
        rx.drain();
        if (round % 2 === 0) bridge.poll();
        assert.equal(rx.hasData, false, `round ${round}`);
        const fresh = Array.from({ length: 1 + (round % 5) }, next);
        for (const frame of fresh) assert.equal(rx.push(frame), true);
        if (round % 4 < 2) bridge.poll();
        driver.post(fresh.length);
        bridge.poll();
        assert.deepEqual(driver.received(), fresh, `round ${round}`);
        assert.equal(rx.hasData, false);
      }
      const { rx_corrupt, rx_broken } = bridge.virtio_net_stats();
      assert.deepEqual([rx_corrupt, rx_broken], [0n, false]);
    });

    test("virtio_net_stats: every counter of the table a BigInt, rx_broken a boolean", async () => {
      const { bridge, driver, tx, rx } = await machine();
      driver.start();
      driver.post(8);
      driver.send(numberedFrame(1, 100));
      rx.push(numberedFrame(2, 60));
      rx.push(new Uint8Array(2049));
      bridge.poll();
      assert.deepEqual(bridge.virtio_net_stats(), {
        tx_pushed_frames: 1n,
        tx_pushed_bytes: 100n,
        tx_dropped_oversize: 0n,
        tx_dropped_oversize_bytes: 0n,
        tx_dropped_full: 0n,
        tx_dropped_full_bytes: 0n,
        rx_popped_frames: 1n,
        rx_popped_bytes: 60n,
        rx_dropped_oversize: 1n,
        rx_dropped_oversize_bytes: 2049n,
        rx_corrupt: 0n,
        rx_broken: false,
      });
      for (let number = 0; number < 15; number++) driver.send(numberedFrame(number, 1400));
      bridge.poll();
      const stats = bridge.virtio_net_stats();
      assert.equal(stats.tx_pushed_frames, 1n + 11n); // 16384 bytes hold one and 11 of them
      assert.equal(stats.tx_dropped_full, 4n);
      assert.equal(stats.tx_dropped_full_bytes, 4n * 1400n);
      assert.equal(driver.used(TX).length, 16); // the guest goes on all the same
      tx.drain();
      driver.send(numberedFrame(3));
      bridge.poll();
      assert.deepEqual(tx.pop(), numberedFrame(3));
    });

    for (const [what, word, value] of [
      ["a tail beyond the ring", 2, 0x7ffffff0],
      ["a misaligned tail", 2, 6],
    ])
      test(`net-rings.md §3.6: ${what}: rx_corrupt, rx_broken, transmit goes on`, async () => {
        const { bridge, driver, sab, tx } = await machine();
        driver.start();
        driver.post(4);
        Atomics.store(headerOf(sab, 1), word, value);
        bridge.poll();
        bridge.poll();
        const { rx_corrupt, rx_broken } = bridge.virtio_net_stats();
        assert.deepEqual([rx_corrupt, rx_broken], [1n, true]);
        driver.send(numberedFrame(1));
        bridge.poll();
        assert.deepEqual(tx.pop(), numberedFrame(1));
      });

    test("net-rings.md §3.6: whatever the far end writes, nothing hangs and nothing traps", async () => {
      const { bridge, driver, sab } = await machine();
      driver.start();
      driver.post(64);
      const words = [headerOf(sab, 0), headerOf(sab, 1)];
      let seed = 1;
      const random = () => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return seed;
      };
      for (let round = 0; round < 2000; round++) {
        const value = random() % 3 === 0 ? random() : random() % (2 * RING_BYTES);
        words[random() % 2][random() % 4] = value;
        if (random() % 4 === 0) driver.send(numberedFrame(round, 60 + (round % 1400)));
        bridge.poll();
      }
      bridge.virtio_net_stats();
    });

    test("save_state, load_state: another bridge goes on where this one was", async () => {
      const { bridge, driver, sab, tx, rx } = await machine();
      driver.start();
      driver.post(3);
      rx.push(numberedFrame(1));
      bridge.poll();
      driver.send(numberedFrame(2)); // not sent yet
      const state = bridge.save_state();
      assert.deepEqual(bridge.save_state(), state);
      const header = Buffer.from(state.subarray(0, 16)).toString("hex");
      assert.equal(header, "4145524f010000005650434901000200"); // virtio-net.md §9
      const other = new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab);
      other.load_state(state);
      assert.equal(other.irq_asserted(), true);
      rx.push(numberedFrame(3));
      other.poll();
      assert.deepEqual(tx.pop(), numberedFrame(2));
      assert.deepEqual(driver.received(), [numberedFrame(1), numberedFrame(3)]);
    });

    test("load_state throws on invalid data and then changes nothing", async () => {
      const { bridge, driver } = await machine();
      driver.start();
      const before = bridge.save_state();
      const e1000 = new E1000Bridge(GUEST_BASE, RAM_BYTES);
      for (const bytes of [
        new Uint8Array(0),
        before.subarray(0, before.length - 1),
        e1000.save_state(),
        new Uint8Array((2 << 20) + 1),
        undefined,
        null,
      ])
        assert.throws(() => bridge.load_state(bytes), {
          name: "Error",
          message: "this is not a saved state of this virtio network card",
        });
      assert.deepEqual(bridge.save_state(), before);
    });

    test("camelCase names are the same methods; .call(bridge, ...) works", async () => {
      const { bridge } = await machine();
      for (const name of [
        "mmio_read mmio_write legacy_io_read legacy_io_write io_read io_write set_pci_command poll",
        "tick irq_asserted irq_level virtio_net_stats save_state load_state free",
      ].flatMap((names) => names.split(" "))) {
        const alias = name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
        assert.equal(typeof bridge[name], "function", name);
        assert.equal(bridge[alias], bridge[name], alias);
      }
      bridge.set_pci_command(2);
      const { mmioRead } = bridge;
      assert.equal(mmioRead.call(bridge, Common.NUM_QUEUES, 2), 2);
    });

    test("free: later calls are errors, its place is given to the next", async () => {
      const { bridge, sab } = await machine();
      const others = [];
      assert.throws(() => {
        for (;;) others.push(new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab));
      }, /no room/);
      bridge.free();
      for (const name of Object.getOwnPropertyNames(VirtioNetPciBridge.prototype))
        if (name !== "constructor")
          assert.throws(
            () => bridge[name](0, 4, 0),
            { name: "Error", message: "this VirtioNetPciBridge was freed" },
            name,
          );
      new VirtioNetPciBridge(GUEST_BASE, RAM_BYTES, sab).free();
    });

    test("§9: what the guest or the network supplies throws nowhere", async () => {
      const { bridge, driver } = await machine("transitional");
      driver.start();
      for (const value of [0, 1, -1, 2 ** 31, 2 ** 40, 0.5, Number.NaN, undefined])
        for (const size of [1, 2, 4, value]) {
          bridge.mmio_read(value, size);
          bridge.mmio_write(value, size, value);
          bridge.io_read(value, size);
          bridge.io_write(value, size, value);
          bridge.set_pci_command(value);
          bridge.poll();
        }
    });

    describe("§2.3: DMA", () => {
      const HOLE = 0xb0000000;
      /** Sends a frame whose buffer lies at `gpa`; what arrives, and whether the chain came back. */
      async function sendFrom(gpa, bytes) {
        const { bridge, driver, tx } = await machine(0, { profile: "standard" });
        driver.start([Feature.VERSION_1]);
        const table = driver.queueAt(TX);
        driver.send(numberedFrame(1, 60));
        driver.view.setUint32(table + 8, 12, true); // the header where it was,
        driver.view.setUint16(table + 12, 1, true);
        driver.view.setUint16(table + 14, 1, true);
        driver.view.setBigUint64(table + 16, BigInt(gpa), true); // the frame elsewhere
        driver.view.setUint32(table + 24, bytes, true);
        driver.view.setUint32(table + 28, 0, true);
        bridge.poll();
        assert.deepEqual(driver.used(TX), [[0, 0]]);
        return tx.pop();
      }

      test("read in the hole: 0xFF", async () => {
        assert.deepEqual(await sendFrom(HOLE, 60), new Uint8Array(60).fill(0xff));
      });
      test("read out of range: the chain fails", async () => {
        assert.equal(await sendFrom(RAM_BYTES, 60), undefined);
      });
      test("read across a boundary: the chain fails", async () => {
        assert.equal(await sendFrom(RAM_BYTES - 30, 60), undefined);
        assert.equal(await sendFrom(0x100000000 - 30, 60), undefined);
      });
      test("address + length overflows: the chain fails", async () => {
        assert.equal(await sendFrom(2n ** 64n - 30n, 60), undefined);
      });
      test("a write out of range loses the frame; the queue goes on", async () => {
        const { bridge, driver, rx } = await machine(0, { profile: "standard" });
        driver.start([Feature.VERSION_1]);
        driver.post(1);
        driver.view.setUint32(driver.queueAt(RX), RAM_BYTES - 8, true);
        rx.push(numberedFrame(1));
        bridge.poll();
        assert.deepEqual(driver.used(RX), [[0, 0]]);
        driver.post(1);
        rx.push(numberedFrame(2));
        bridge.poll();
        assert.deepEqual(driver.received(), [numberedFrame(2)]);
      });
    });
  });
}
