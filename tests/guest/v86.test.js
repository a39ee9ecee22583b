// attachNic in a real v86 that runs no guest: the test is the guest, at ports and memory.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { attachNic } from "aero-nic/v86";
import { V86 } from "v86";

const IF = 0x200;
const UNMAPPED = -1;
const BAR_BYTES = 0x20000;
const PLACE = 0xfeb00000;

/** A card that records what reaches it; its config space has two BARs like the E1000's. */
class FakeNic {
  model = "fake";
  pci = {
    bars: [
      { index: 0, kind: "memory", bytes: BAR_BYTES },
      { index: 1, kind: "io", bytes: 0x40 },
    ],
  };
  config = new DataView(new ArrayBuffer(256));
  accesses = [];
  polls = 0;
  resets = 0;
  onPoll = () => false;

  /** @param {number} [barBytes] */
  constructor(barBytes = BAR_BYTES) {
    this.pci.bars[0].bytes = barBytes;
    this.config.setUint32(0, 0x100e8086, true);
    this.config.setUint32(0x14, 1, true);
    this.config.setUint8(0x3d, 1); // INTA
  }
  setMemory(memory) {
    this.memory = memory;
  }
  configRead(offset, size) {
    return this.config[`getUint${size * 8}`](offset, true);
  }
  configWrite(offset, size, value) {
    if (offset === 0x10) this.config.setUint32(0x10, value & -this.pci.bars[0].bytes, true);
    else if (offset === 0x14) this.config.setUint32(0x14, (value & ~0x3f) | 1, true);
    else this.config[`setUint${size * 8}`](offset, value, true);
  }
  barRead(bar, offset, size) {
    this.accesses.push(["read", bar, offset, size]);
    return 0x11223344 & (size === 4 ? ~0 : (1 << (8 * size)) - 1);
  }
  barWrite(bar, offset, size, value) {
    this.accesses.push(["write", bar, offset, size, value]);
  }
  poll() {
    this.polls++;
    return this.onPoll();
  }
  eventMs = Number.POSITIVE_INFINITY;
  nextEventMs() {
    return this.eventMs;
  }
  reset() {
    this.resets++;
  }
  saveState() {
    return Uint8Array.of(1, 2, 3);
  }
  restoreState(bytes) {
    if (this.refuses) throw new Error("this is not a saved state of this card");
    this.restored = [...bytes];
  }
}

const wasm = createRequire(import.meta.url).resolve("v86/build/v86.wasm");

function emulatorWithoutGuest() {
  return new V86({
    wasm_path: wasm,
    memory_size: 16 << 20,
    net_device: { type: "none" },
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    log_level: 0,
  });
}

/** The guest's side: configuration mechanism 1. */
function configWrite32(cpu, slot, offset, value) {
  cpu.io.port_write32(0xcf8, 0x80000000 | (slot << 11) | offset | 0);
  cpu.io.port_write32(0xcfc, value | 0);
}
function configRead(cpu, slot, offset, size) {
  cpu.io.port_write32(0xcf8, 0x80000000 | (slot << 11) | (offset & 0xfc) | 0);
  return cpu.io[`port_read${size * 8}`](0xcfc + (offset & 3));
}

describe("attachNic refuses", () => {
  it("what is not an emulator", () => {
    assert.throws(() => attachNic({}, new FakeNic()), /not a V86 emulator/);
  });
  it("a slot that PCI does not have", () => {
    assert.throws(() => attachNic({ add_listener() {} }, new FakeNic(), { slot: 32 }), RangeError);
  });
  it("a nic made for messages, which v86 does not deliver", () => {
    const nic = Object.assign(new FakeNic(), { onMessage() {} });
    assert.throws(() => attachNic({ add_listener() {} }, nic), {
      name: "TypeError",
      message: "attachNic: v86 delivers no messages: make the nic without onMessage",
    });
  });
  it("a v86 whose inside has changed, naming what is missing and the versions it knows", () => {
    const changed = { add_listener() {}, v86: { cpu: { devices: { pci: {} } } } };
    assert.throws(
      () => attachNic(changed, new FakeNic()),
      /^Error: attachNic: this v86 has no object "v86\.cpu\.\S+"; attachNic knows v86 0\.5\.43 to /,
    );
  });
});

describe("a card attached to v86", () => {
  let emulator;
  let cpu;
  let nic;
  let card;

  const place = (base) => {
    configWrite32(cpu, 3, 0x04, 0); // as drivers do: not decoding while it moves
    configWrite32(cpu, 3, 0x10, base);
    configWrite32(cpu, 3, 0x04, 7);
    nic.accesses.length = 0;
  };

  before(async () => {
    emulator = emulatorWithoutGuest();
    nic = new FakeNic();
    card = attachNic(emulator, nic);
    await card.ready;
    cpu = emulator.v86.cpu;
  });
  beforeEach(() => place(PLACE));
  after(() => emulator.destroy());

  it("answers for its config space itself, at every width", () => {
    assert.equal(configRead(cpu, 3, 0, 4), 0x100e8086);
    assert.equal(configRead(cpu, 3, 2, 2), 0x100e);
    assert.equal(configRead(cpu, 3, 1, 1), 0x80);
    assert.equal(configRead(cpu, 1, 0, 4), 0x70008086, "v86's own ISA bridge is untouched");
  });

  it("lets a write pass for which no device is there, where v86 alone throws", () => {
    cpu.io.port_write32(0xcf8, 0x80000000 | (9 << 11) | 4 | 0);
    cpu.io.port_write8(0xcfc, 7);
    cpu.io.port_write16(0xcfc, 7);
    cpu.io.port_write32(0xcfc, 7);
    assert.equal(configRead(cpu, 9, 0, 4), -1);
  });

  it("is reached where its memory BAR is", () => {
    assert.equal(cpu.mmap_read32((PLACE + 0x10) | 0), 0x11223344);
    assert.equal(cpu.mmap_read8((PLACE + 0x1ffff) | 0), 0x44);
    cpu.mmap_write32((PLACE + 8) | 0, -2);
    assert.deepEqual(nic.accesses, [
      ["read", 0, 0x10, 4],
      ["read", 0, 0x1ffff, 1],
      ["write", 0, 8, 4, 0xfffffffe],
    ]);
  });

  it("follows a move of its memory BAR, which v86 ignores", () => {
    place(PLACE - 4 * BAR_BYTES);
    assert.equal(cpu.mmap_read32(PLACE | 0), UNMAPPED);
    assert.equal(cpu.mmap_read32((PLACE - 4 * BAR_BYTES) | 0), 0x11223344);
  });

  it("is nowhere while it does not decode, nor at the answer to a sizing probe", () => {
    configWrite32(cpu, 3, 0x10, 0xffffffff);
    assert.equal(configRead(cpu, 3, 0x10, 4) >>> 0, 0xfffe0000);
    assert.equal(cpu.mmap_read32(0xfffe0000 | 0), UNMAPPED);
    place(PLACE);
    configWrite32(cpu, 3, 0x04, 0);
    assert.equal(cpu.mmap_read32(PLACE | 0), UNMAPPED);
  });

  it("gets 16-bit writes whole, although v86 cuts them in two", () => {
    cpu.mmap_write16((PLACE + 0x20) | 0, 0xabcd);
    assert.deepEqual(nic.accesses, [["write", 0, 0x20, 2, 0xabcd]]);
  });

  it("is reached at its I/O BAR, and leaves the ports behind when that moves", () => {
    configWrite32(cpu, 3, 0x14, 0xc000);
    cpu.io.port_write32(0xc004, 5);
    assert.equal(cpu.io.port_read16(0xc00a), 0x3344);
    assert.deepEqual(nic.accesses, [
      ["write", 1, 4, 4, 5],
      ["read", 1, 10, 2],
    ]);
    configWrite32(cpu, 3, 0x14, 0xc100);
    assert.equal(cpu.io.port_read32(0xc004), UNMAPPED);
    assert.equal(cpu.io.port_read32(0xc104), 0x11223344);
  });

  it("is polled after each register write and between stretches of guest code, a bounded time", () => {
    nic.polls = 0;
    cpu.mmap_write32(PLACE | 0, 0);
    assert.equal(nic.polls, 1);
    nic.onPoll = () => true; // never done
    assert.equal(cpu.run_hardware_timers(0, performance.now()), 0, "it wants to come back at once");
    nic.onPoll = () => false;
    assert.ok(nic.polls > 2 && nic.polls < 1000);
  });

  it("reaches guest RAM, and nothing behind its end", () => {
    const end = cpu.memory_size[0];
    const bytes = Uint8Array.from({ length: 64 }, (_, index) => index);
    assert.equal(nic.memory.write(end - 64, bytes), true);
    const read = new Uint8Array(64);
    assert.equal(nic.memory.read(end - 64, read), true);
    assert.deepEqual(read, bytes);
    for (const gpa of [end - 63, end, 0xffffffff, 2 ** 40]) {
      assert.equal(nic.memory.read(gpa, read), false);
      assert.equal(nic.memory.write(gpa, bytes), false);
    }
  });

  it("has v86 forget translated code that a DMA write has overwritten", () => {
    const dirty = [];
    const inherited = cpu.jit_dirty_cache;
    cpu.jit_dirty_cache = (...range) => dirty.push(range);
    nic.memory.write(0x1000, new Uint8Array(6));
    cpu.jit_dirty_cache = inherited;
    assert.deepEqual(dirty, [[0x1000, 0x1006]]);
  });

  describe("interrupts", () => {
    const ipBefore = 0x7c00;
    const PIC = { mask: 0, vector: 1, inService: 2, level: 10 };
    let master;
    let slave;

    before(() => {
      // As a BIOS leaves both controllers: vectors from 30h, all unmasked, IRQ 11 by level.
      master = new Uint8Array(cpu.wasm_memory.buffer, cpu.get_pic_addr_master(), 13);
      slave = new Uint8Array(cpu.wasm_memory.buffer, cpu.get_pic_addr_slave(), 13);
      [master[PIC.mask], master[PIC.vector]] = [0xff, 0x30];
      [slave[PIC.mask], slave[PIC.vector], slave[PIC.level]] = [0xff, 0x38, 1 << (11 - 8)];
      configWrite32(cpu, 1, 0x60, 0x0b0b0b0b); // all lines of the bus are IRQ 11
    });
    beforeEach(() => {
      nic.onInterrupt(false);
      master[PIC.inService] = slave[PIC.inService] = 0; // end of interrupt
      cpu.instruction_pointer[0] = ipBefore;
      cpu.reg32[4] = 0x7000;
      cpu.flags[0] |= IF;
    });

    it("raised between stretches of guest code are taken at once", () => {
      nic.onInterrupt(true);
      assert.notEqual(cpu.instruction_pointer[0], ipBefore);
    });

    it("raised inside a register access wait for its end, even with IF set", () => {
      nic.onPoll = () => {
        nic.onInterrupt(true);
        return false;
      };
      cpu.mmap_write32(PLACE | 0, 0);
      nic.onPoll = () => false;
      assert.equal(cpu.instruction_pointer[0], ipBefore);
      assert.equal(cpu.flags[0] & IF, IF);
      cpu.handle_irqs(); // what v86 does at the end of a stretch
      assert.notEqual(cpu.instruction_pointer[0], ipBefore);
    });

    it("on a shared line stay up until every card has lowered its own", async () => {
      const other = new FakeNic();
      const second = attachNic(emulator, other, { slot: 7 }); // (slot + pin) mod 4 decides
      await second.ready;
      const lowered = [];
      const inherited = cpu.device_lower_irq;
      cpu.device_lower_irq = (line) => {
        lowered.push(line);
        inherited(line);
      };
      nic.onInterrupt(true);
      other.onInterrupt(true);
      other.onInterrupt(false);
      assert.deepEqual(lowered, []);
      nic.onInterrupt(false);
      assert.deepEqual(lowered, [11]);
      cpu.device_lower_irq = inherited;
      second.detach();
    });

    it("come through again after v86's controllers have locked up", () => {
      const cascade = 1 << 2;
      master[PIC.inService] |= cascade; // the slave knows nothing of it
      nic.onInterrupt(true);
      cpu.run_hardware_timers(0, performance.now());
      assert.equal(cpu.instruction_pointer[0], ipBefore, "once may be a handler at work");
      cpu.run_hardware_timers(0, performance.now());
      assert.notEqual(cpu.instruction_pointer[0], ipBefore);
    });
  });

  describe("timers", () => {
    const idleMs = () => cpu.run_hardware_timers(0, performance.now());
    /** How often v86's sleep was ended while `act` ran in a running emulator. */
    function wakes(act) {
      let count = 0;
      const { stop_idling } = cpu;
      const { is_running } = emulator;
      emulator.is_running = () => true;
      cpu.stop_idling = () => count++;
      act();
      cpu.stop_idling = stop_idling;
      emulator.is_running = is_running;
      return count;
    }
    beforeEach(() => {
      nic.eventMs = Number.POSITIVE_INFINITY;
    });

    it("of the card bound how long v86 sleeps", () => {
      nic.eventMs = performance.now() - 1;
      assert.equal(idleMs(), 0);
      nic.eventMs = performance.now() + 1e6; // v86's own come first
      assert.ok(idleMs() <= 100);
    });

    it("that start when a frame arrives while v86 sleeps end its sleep", () => {
      assert.equal(
        wakes(() => nic.onWork()),
        0,
      ); // nothing to come back for
      nic.onPoll = () => {
        nic.eventMs = performance.now() + 0.1; // moderation holds the interrupt back
        return false;
      };
      assert.equal(
        wakes(() => nic.onWork()),
        1,
      );
      nic.onPoll = () => false;
    });

    it("cost no polls beside those there are anyway", () => {
      nic.eventMs = performance.now() + 1e6;
      const before = nic.polls;
      idleMs();
      assert.equal(nic.polls, before + 1);
    });
  });

  it("is saved and restored with the machine, window and all", async () => {
    // As a BIOS does: BARs that a device does not have are zeroed (v86 trips over them otherwise).
    for (const offset of [0x10, 0x14, 0x18, 0x1c]) configWrite32(cpu, 0x1e, offset, 0);
    const state = await emulator.save_state();
    place(PLACE - 4 * BAR_BYTES);
    await emulator.restore_state(state);
    assert.deepEqual(nic.restored, [1, 2, 3]);
    assert.equal(cpu.mmap_read32(PLACE | 0), 0x11223344);
    assert.equal(cpu.mmap_read32((PLACE - 4 * BAR_BYTES) | 0), UNMAPPED);
  });

  describe("and a saved machine that knows nothing of it", () => {
    const restore = (state) => {
      nic.restored = null;
      nic.resets = 0;
      cpu.devices.virtio_net.set_state(state);
    };
    it("is reset where the machine was saved without a card", () => {
      restore(undefined);
      assert.deepEqual([nic.resets, nic.restored], [1, null]);
    });
    it("is reset where it was saved with another slot's card only", () => {
      restore([[], [[4 << 3, Uint8Array.of(9)]]]);
      assert.deepEqual([nic.resets, nic.restored], [1, null]);
    });
    it("is reset where it was saved with v86's own virtio card, whatever that has", () => {
      for (const state of [
        [[[0, 1], "virtio"], 1, Uint8Array.of(0, 0x22, 0x15, 1, 2, 3)],
        [[[1]], 7],
        [null, [[3 << 3, Uint8Array.of(1)]]],
        [[[11]], [5]],
        [],
        "no",
      ]) {
        restore(state);
        assert.deepEqual([nic.resets, nic.restored], [1, null], JSON.stringify(state));
      }
    });
    it("is reset and says so when it refuses its state; v86 goes on with the restore", async () => {
      const warnings = [];
      const { warn } = console;
      console.warn = (text) => warnings.push(text);
      try {
        cpu.mem8[0x5000] = 77;
        const state = await emulator.save_state();
        cpu.mem8[0x5000] = 0;
        nic.refuses = true;
        nic.resets = 0;
        await emulator.restore_state(state);
        assert.equal(cpu.mem8[0x5000], 77);
        assert.equal(nic.resets, 1);
        assert.deepEqual(warnings, [
          "attachNic: the card in slot 3 is reset: this is not a saved state of this card",
        ]);
      } finally {
        console.warn = warn;
        nic.refuses = false;
      }
    });
  });

  it("is reset when the machine is", () => {
    nic.resets = 0;
    emulator.v86.cpu.devices.virtio_net.reset();
    assert.equal(nic.resets, 1);
  });

  describe("among others whose windows lie in the same 128 KiB", () => {
    const SMALL = 0x4000;
    const GRANULE = PLACE - 8 * BAR_BYTES;
    const maps = ["read8", "read32", "write8", "write32"].map((name) => `memory_map_${name}`);
    const handlers = () => maps.map((name) => cpu[name][GRANULE >>> 17]);
    let cards;
    let before;

    beforeEach(() => {
      before = handlers();
      cards = [6, 7].map((slot) => {
        const nic = new FakeNic(SMALL);
        return { slot, nic, card: attachNic(emulator, nic, { slot }) };
      });
    });
    const put = ({ slot }, base) => {
      configWrite32(cpu, slot, 0x10, base);
      configWrite32(cpu, slot, 0x04, base ? 7 : 0);
    };
    /** Which cards answer at the n-th window of the granule. */
    const answers = (n) => {
      for (const { nic } of cards) nic.accesses.length = 0;
      const value = cpu.mmap_read32((GRANULE + n * SMALL + 8) | 0);
      const who = cards.filter(({ nic }) => nic.accesses.length > 0).map(({ slot }) => slot);
      assert.equal(value, who.length > 0 ? 0x11223344 : UNMAPPED);
      return who;
    };

    it("each is found where it is now, in whatever order they come and go", () => {
      const [first, second] = cards;
      put(first, GRANULE);
      put(second, GRANULE + SMALL);
      assert.deepEqual([answers(0), answers(1), answers(2)], [[6], [7], []]);
      put(first, GRANULE + 2 * SMALL);
      assert.deepEqual([answers(0), answers(1), answers(2)], [[], [7], [6]]);
      put(second, 0);
      assert.deepEqual([answers(0), answers(1), answers(2)], [[], [], [6]]);
      put(first, 0);
      assert.deepEqual(handlers(), before);
    });

    it("decoding on and off for ever leaves one claim, and at last none", () => {
      const [first, second] = cards;
      put(first, GRANULE);
      for (let i = 0; i < 20000; i++) {
        put(second, GRANULE + SMALL);
        put(first, 0);
        put(first, GRANULE);
        put(second, 0);
      }
      assert.deepEqual([answers(0), answers(1), answers(2)], [[6], [], []]);
      for (const { card } of cards) card.detach();
      assert.deepEqual(handlers(), before);
    });

    it("handlers that somebody puts over the claim later stay", () => {
      const [first, second] = cards;
      put(first, GRANULE);
      const read32 = cpu.memory_map_read32;
      const ours = read32[GRANULE >>> 17];
      const theirs = (address) => (address === 5 ? 55 : ours(address));
      read32[GRANULE >>> 17] = theirs;
      put(first, 0);
      assert.equal(read32[GRANULE >>> 17], theirs);
      assert.deepEqual(answers(0), []);
      put(second, GRANULE + SMALL);
      assert.deepEqual([answers(0), answers(1)], [[], [7]]);
      put(second, 0);
      assert.equal(read32[GRANULE >>> 17], theirs);
      maps.forEach((name, index) => {
        cpu[name][GRANULE >>> 17] = before[index];
      });
    });

    afterEach(() => {
      for (const { card } of cards) card.detach();
    });
  });

  it("leaves nothing in a slot when the nic cannot take v86's memory", () => {
    const closed = new FakeNic();
    closed.setMemory = () => {
      throw new Error("this Nic is closed");
    };
    assert.throws(() => attachNic(emulator, closed, { slot: 9 }), /this Nic is closed/);
    assert.equal(configRead(cpu, 9, 0, 4), -1);
    assert.equal(cpu.devices.pci.devices[9 << 3], undefined);
    attachNic(emulator, new FakeNic(), { slot: 9 }).detach();
  });

  it("refuses a slot that is taken", () => {
    assert.throws(
      () => attachNic(emulator, new FakeNic(), { slot: 3 }),
      /slot 3 is taken by "aero fake"/,
    );
  });

  it("is gone after detach()", () => {
    card.detach();
    assert.equal(configRead(cpu, 3, 0, 4), -1);
    assert.equal(cpu.mmap_read32(PLACE | 0), UNMAPPED);
  });
});
