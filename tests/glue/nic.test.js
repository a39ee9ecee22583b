// The card through the package: registers, both directions of DMA, interrupts, every form of
// guest memory, both memory kinds. Numbers: spec/e1000.md.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { createNic } from "../../wasm-glue/src/index.js";
import { tunnelPort } from "../../wasm-glue/src/nic.js";
import { Ring } from "../../wasm-glue/src/ring-core.js";
import { Driver, numberedFrame, RAM_BYTES, Reg } from "./driver.js";

for (const isolated of [false, true]) {
  describe(isolated ? "in shared memory" : "in memory of its own thread", () => {
    async function machine(options = {}) {
      const ram = new Uint8Array(RAM_BYTES);
      const nic = await createNic({ memory: ram, isolated, ...options });
      return { nic, ram, driver: new Driver(nic, ram) };
    }

    test("§1: a PCI function 8086:100E with a memory and an I/O BAR", async () => {
      const { nic } = await machine();
      assert.equal(nic.configRead(0, 4), 0x100e8086);
      assert.deepEqual(nic.pci.bars, [
        { index: 0, kind: "memory", bytes: 0x20000 },
        { index: 1, kind: "io", bytes: 0x40 },
      ]);
      nic.configWrite(0x10, 4, 0xffffffff);
      assert.equal(nic.configRead(0x10, 4), 0xfffe0000);
    });

    test("§3.1, §4: registers read as the tables say, as unsigned numbers", async () => {
      const { nic, driver } = await machine();
      assert.equal(driver.read(Reg.STATUS), 0x80000083);
      assert.equal(driver.read(Reg.CTRL), 0x00140240);
      driver.write(Reg.EERD, 0x00000101);
      assert.equal(driver.read(Reg.EERD), 0x12000110);
      nic.barWrite(1, 0, 4, Reg.STATUS); // IOADDR, then IODATA (§2)
      assert.equal(nic.barRead(1, 4, 4), 0x80000083);
    });

    test("§4: the EEPROM carries the MAC that was asked for", async () => {
      const { nic, driver } = await machine({ mac: "02:aa:bb:cc:dd:ee" });
      assert.equal(nic.mac, "02:aa:bb:cc:dd:ee");
      driver.write(Reg.EERD, 1);
      assert.equal(driver.read(Reg.EERD), 0xaa020010);
      const bytes = await createNic({ mac: Uint8Array.of(2, 0, 0, 0, 0, 1), isolated });
      assert.equal(bytes.mac, "02:00:00:00:00:01");
    });

    test("§2: a doorbell does no DMA, the poll after it does", async () => {
      const { nic, driver } = await machine();
      driver.start();
      const frame = numberedFrame(1, 1514);
      driver.queue(frame);
      assert.equal(nic.takeFrame(), null);
      assert.equal(nic.workPending, true);
      assert.equal(nic.poll(), false);
      assert.deepEqual(nic.takeFrame(), frame);
      assert.equal(nic.takeFrame(), null);
      assert.equal(driver.txDone(0), true);
      assert.equal(nic.stats().txFrames, 1);
      assert.equal(nic.stats().txPushedBytes, 1514);
    });

    test("a received frame reaches the guest's buffer, and INTA rises and falls", async () => {
      const levels = [];
      const { nic, driver } = await machine({ onInterrupt: (level) => levels.push(level) });
      driver.start();
      assert.equal(nic.receive(numberedFrame(7, 600)), true);
      nic.poll();
      assert.equal(nic.irqLevel, true);
      assert.deepEqual(driver.received(), [numberedFrame(7, 600)]);
      assert.notEqual(driver.read(Reg.ICR), 0);
      assert.equal(nic.irqLevel, false);
      assert.deepEqual(levels, [true, false]);
      assert.equal(nic.stats().rxFrames, 1);
    });

    test("onWork is called once for frames that arrive together", async () => {
      const { nic, driver } = await machine();
      driver.start();
      let calls = 0;
      nic.onWork = () => calls++;
      nic.receive(numberedFrame(1));
      nic.receive(numberedFrame(2));
      await Promise.resolve();
      assert.equal(calls, 1);
    });

    test("guest.md §4: frames wait for the guest's buffers, in order, and none is lost", async () => {
      const { nic, driver } = await machine();
      driver.start();
      const sent = [];
      for (let number = 0; number < 200; number++) {
        sent.push(numberedFrame(number));
        assert.equal(nic.receive(sent[number]), true);
      }
      while (nic.poll());
      assert.equal(nic.workPending, false); // held: nothing happens until RDT moves
      assert.ok(nic.stats().rxHeld > 0);
      const got = [];
      for (let turn = 0; turn < 10 && got.length < sent.length; turn++) {
        got.push(...driver.received());
        assert.equal(nic.workPending, got.length < sent.length);
        nic.poll();
      }
      assert.deepEqual(got, sent);
      assert.equal(nic.stats().rxPoppedFrames, 200);
    });

    test("design.md §6: NET_TX full loses the newest frames, and the guest goes on", async () => {
      const { nic, driver } = await machine({ ringBytes: 8192 });
      driver.start();
      for (let number = 0; number < 12; number++) driver.queue(numberedFrame(number, 1514));
      nic.poll();
      assert.equal(driver.idle, true);
      const stats = nic.stats();
      assert.equal(stats.txPushedFrames, 5); // 5 records of 1520 bytes, with 592 left over
      assert.equal(stats.txDroppedFull, 7);
      for (let number = 0; number < 5; number++)
        assert.deepEqual(nic.takeFrame(), numberedFrame(number, 1514));
    });

    test("net-rings.md §4: a frame the rings do not carry is refused whole", async () => {
      const { nic } = await machine({ ringBytes: 65536 });
      assert.equal(nic.receive(new Uint8Array(2049)), false);
      assert.equal(nic.receive(new Uint8Array(2048)), true);
    });

    test("l2-extensions.md §4: rings with room for them carry frames of 65550 bytes", async () => {
      const { nic } = await machine();
      assert.equal(nic.receive(new Uint8Array(65551)), false);
      assert.equal(nic.receive(new Uint8Array(65550)), true);
    });

    test("the cable: STATUS.LU follows", async () => {
      const { nic, driver } = await machine();
      assert.equal(nic.link, true);
      nic.setLink(false);
      assert.equal(nic.link, false);
      assert.equal(driver.read(Reg.STATUS) & 2, 0);
      nic.setLink(true);
      assert.equal(driver.read(Reg.STATUS) & 2, 2);
    });

    test("§9: reset() forgets what the driver programmed", async () => {
      const { nic, driver } = await machine();
      driver.start();
      assert.notEqual(driver.read(Reg.RCTL), 0);
      nic.reset();
      assert.equal(driver.read(Reg.RCTL), 0);
      assert.equal(nic.configRead(4, 2) & 4, 0);
    });

    test("§10: a saved state makes another card go on where this one was", async () => {
      const { nic, driver, ram } = await machine();
      driver.start();
      driver.queue(numberedFrame(1));
      const state = nic.saveState();
      assert.deepEqual(state, nic.saveState()); // deterministic
      assert.equal(
        Buffer.from(state.subarray(0, 16)).toString("hex"),
        "4145524f0100000045314b3001000000",
      );
      const other = await createNic({ memory: ram, isolated });
      other.restoreState(state);
      assert.equal(other.barRead(0, Reg.RCTL, 4), driver.read(Reg.RCTL));
      other.poll();
      assert.deepEqual(other.takeFrame(), numberedFrame(1));
      const message = "this is not a saved state of this card";
      assert.throws(() => other.restoreState(new Uint8Array(3)), { message });
      assert.throws(() => other.restoreState(state.subarray(0, 100)), { message });
      assert.equal(other.barRead(0, Reg.RCTL, 4), driver.read(Reg.RCTL));
    });

    test("nothing the guest writes throws", async () => {
      const { nic, driver } = await machine();
      driver.start();
      for (const offset of [0, 1, 3, 0x3818, 0x1ffff, 0x20000, 0xffffffff])
        for (const size of [0, 1, 2, 3, 4, 8]) {
          nic.barWrite(0, offset, size, 0xffffffff);
          nic.barWrite(5, offset, size, 0xffffffff);
          nic.barRead(0, offset, size);
          nic.configWrite(offset, size, 0xffffffff);
          nic.configRead(offset, size);
        }
      assert.equal(nic.barRead(7, 0, 4), 0xffffffff);
      nic.poll();
    });
  });
}

test("memory as a function is asked for each access, as callbacks it gets numbers", async () => {
  for (const form of ["function", "callbacks"]) {
    const ram = new Uint8Array(RAM_BYTES);
    const inside = (gpa, bytes) => gpa + bytes.length <= ram.length;
    const memory =
      form === "function"
        ? () => ram
        : {
            read: (gpa, bytes) =>
              inside(gpa, bytes) && !bytes.set(ram.subarray(gpa, gpa + bytes.length)),
            write: (gpa, bytes) => inside(gpa, bytes) && !ram.set(bytes, gpa),
          };
    const nic = await createNic();
    nic.setMemory(memory);
    const driver = new Driver(nic, ram);
    driver.start();
    driver.queue(numberedFrame(3, 100));
    nic.receive(numberedFrame(4, 100));
    nic.poll();
    assert.deepEqual(nic.takeFrame(), numberedFrame(3, 100));
    assert.deepEqual(driver.received(), [numberedFrame(4, 100)]);
  }
});

test("host-api.md §2.3: beyond RAM the card reads zeros, in the PCI hole ones", async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ memory: ram });
  const driver = new Driver(nic, ram);
  driver.start();
  for (const [address, filler] of [
    [0x10000000, 0x00],
    [0xb0000000, 0xff],
    [RAM_BYTES - 4, 0x00], // its first four bytes are RAM
  ]) {
    driver.queue(new Uint8Array(64));
    driver.view.setUint32(0x1000 + ((driver.tail + 63) % 64) * 16, address, true);
    nic.poll();
    assert.equal(nic.takeFrame()[32], filler);
  }
});

test("a card that moves into an emulator's memory goes on there, and its tunnel's rings stay", async () => {
  for (const isolated of [false, true]) {
    const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 1024 }); // unshared: v86's
    const guestBase = 0x20000;
    const nic = await createNic({ isolated, ringBytes: 65536 });
    nic.configWrite(0x3c, 1, 11);
    assert.equal(nic.receive(numberedFrame(0)), true); // waits there, and is moved along
    let asked = 0;
    nic.setMemory({
      wasmMemory,
      guestBase,
      guestSize: RAM_BYTES,
      allocate: (bytes) => wasmMemory.grow(bytes / 65536) * 65536,
      read: () => ++asked,
      write: () => ++asked,
    });
    assert.equal(nic.zeroCopy, true);
    assert.equal(nic.configRead(0x3c, 1), 11);
    const driver = new Driver(nic, new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES));
    driver.start();
    nic.poll();
    assert.deepEqual(driver.received(), [numberedFrame(0)]);
    for (let number = 1; number < 200; number++) {
      // around both rings several times
      const bytes = 60 + ((number * 37) % 1400);
      driver.queue(numberedFrame(number, bytes));
      assert.equal(nic.receive(numberedFrame(number, bytes)), true);
      assert.equal(nic.workPending, true);
      while (nic.poll());
      assert.deepEqual(nic.takeFrame(), numberedFrame(number, bytes));
      assert.deepEqual(driver.received(), [numberedFrame(number, bytes)]);
    }
    assert.equal(asked, 0);
    assert.equal(nic.takeFrame(), null);
    const ram = new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES).slice();
    nic.setMemory(ram); // and out again
    assert.equal(nic.zeroCopy, false);
    driver.ram = ram;
    driver.view = new DataView(ram.buffer);
    driver.queue(numberedFrame(200));
    nic.poll();
    assert.deepEqual(nic.takeFrame(), numberedFrame(200));
  }
});

/** A card that has moved into an emulator's memory, and its tunnel's end of NET_RX. */
async function movedCard(change = {}) {
  const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 1024 });
  const guestBase = 0x20000;
  const nic = await createNic({ ringBytes: 16384 });
  const allocate = (bytes) => wasmMemory.grow(bytes / 65536) * 65536;
  nic.setMemory({ wasmMemory, guestBase, guestSize: RAM_BYTES, allocate, ...change });
  const driver = new Driver(nic, new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES));
  const { rings } = nic[tunnelPort];
  return { nic, driver, rx: new Ring(rings.memory, rings.rxAt, rings.capacity) };
}

test("the memory of an emulator that the card has left can be freed", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc");
  const nic = await createNic({ ringBytes: 16384 });
  const visit = () => {
    const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 1024 });
    nic.setMemory({ wasmMemory, guestBase: 0x20000, guestSize: RAM_BYTES });
    nic.restoreState(nic.saveState());
    return new WeakRef(wasmMemory);
  };
  const left = [visit(), visit()];
  nic.setMemory(new Uint8Array(RAM_BYTES));
  for (let i = 0; i < 20 && left.some((ref) => ref.deref()); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // a WeakRef holds until the turn ends
    gc();
  }
  assert.deepEqual(
    left.map((ref) => ref.deref()),
    [undefined, undefined],
  );
  nic.close();
});

test("net-rings.md §5: a card that moved forgets the frames that NET_RX's owner drained", async () => {
  const { nic, driver, rx } = await movedCard();
  driver.start();
  let number = 0;
  const next = () => numberedFrame(++number, 60 + ((number * 397) % 1400));
  driver.write(Reg.RDT, driver.read(Reg.RDH)); // no buffers: they wait
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 3; i++) nic.receive(next());
    if (round % 3 === 0) assert.equal(typeof nic.workPending, "boolean"); // it looks, too
    nic.poll();
    rx.drain();
    if (round % 2 === 0) nic.poll();
    assert.equal(rx.hasData, false);
  }
  const fresh = Array.from({ length: 8 }, next);
  for (const frame of fresh) nic.receive(frame);
  driver.write(Reg.RDT, (driver.read(Reg.RDH) + 63) % 64);
  while (nic.poll());
  assert.deepEqual(driver.received(), fresh);
  assert.equal(nic.stats().rxBroken, 0);
});

test("net-rings.md §5: a drain of NET_RX in the middle of a poll is not undone by it", async () => {
  let onWritten = () => {};
  const { nic, driver, rx } = await movedCard({ written: () => onWritten() });
  driver.start();
  for (let number = 0; number < 4; number++) nic.receive(numberedFrame(number));
  driver.write(Reg.RDT, 2); // room for two
  onWritten = () => rx.drain();
  nic.poll();
  assert.equal(rx.hasData, false);
  onWritten = () => {};
  driver.received();
  nic.receive(numberedFrame(9));
  nic.poll();
  assert.deepEqual(driver.received(), [numberedFrame(9)]);
});

test("without room in the emulator's memory the callbacks serve", async () => {
  const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
  const linear = { wasmMemory, guestBase: 65536, guestSize: RAM_BYTES, allocate: () => 0 };
  const nic = await createNic();
  assert.throws(() => nic.setMemory(linear), /no room/);
  nic.setMemory({ ...linear, read: () => true, write: () => true });
  assert.equal(nic.zeroCopy, false);
});

test("host-api.md §2.4, 1: the card lives in the emulator's memory and touches only its region", async () => {
  for (const shared of [false, true]) {
    const wasmMemory = new WebAssembly.Memory({ initial: 64, maximum: 256, shared });
    const guestBase = 0x20000;
    new Uint8Array(wasmMemory.buffer).fill(0xa5, 0, guestBase);
    const written = [];
    const place = shared ? { regionBase: 0x200000, regionBytes: 0x200000 + 65536 * 32 } : {};
    if (shared) wasmMemory.grow(64);
    const nic = await createNic({
      ringBytes: 65536,
      memory: {
        wasmMemory,
        guestBase,
        guestSize: RAM_BYTES,
        written: (gpa, bytes) => written.push([gpa, bytes]),
        ...place,
      },
    });
    const ram = () => new Uint8Array(wasmMemory.buffer, guestBase, RAM_BYTES);
    const driver = new Driver(nic, ram());
    driver.start();
    driver.queue(numberedFrame(1, 1000));
    nic.receive(numberedFrame(2, 1000));
    nic.poll();
    assert.deepEqual(nic.takeFrame(), numberedFrame(1, 1000));
    assert.deepEqual(driver.received(), [numberedFrame(2, 1000)]);
    assert.ok(written.some(([gpa, bytes]) => gpa === 0x40000 && bytes >= 1000));
    assert.ok(new Uint8Array(wasmMemory.buffer, 0, guestBase).every((byte) => byte === 0xa5));
    if (!shared) {
      wasmMemory.grow(1); // as an emulator may at any time
      assert.equal(nic.barRead(0, Reg.STATUS, 4), 0x80000083);
      assert.equal(nic.receive(numberedFrame(3)), true);
    }
  }
});
