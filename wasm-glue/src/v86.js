/**
 * Puts a card of ours into a v86 emulator: `attachNic(emulator, nic)` right after `new V86(…)`.
 *
 * v86 has no interface for foreign PCI devices, so this file uses its inner objects by name. All
 * names are checked before anything is touched. What v86 does not do for a device and a card needs
 * (moving memory BARs, wired-OR interrupt lines, 16-bit register writes) is done here, on the
 * instance; v86 itself is not patched.
 */
/** @typedef {import("./v86-bars.js").Granule} Granule */
import { BarWindows } from "./v86-bars.js";
import { reason } from "./wasm.js";

const TESTED = "0.5.43 to 0.5.462";

/** Steps of nic.poll() in a row before the guest's processor gets its turn again. */
const POLL_STEPS_MAX = 64;

const EFLAGS_IF = 0x200;
const CONFIG_DATA_PORT = 0xcfc;
const PIC_ISR_AT = 2; // offset of the in-service register in v86's controller state
const CASCADE = 1 << 2; // the master's input that the slave hangs on

/** What this file uses, by type: path from the V86 object. */
const NEEDED = {
  object: [
    "v86.cpu.devices.pci",
    "v86.cpu.devices.pci.pci_addr",
    "v86.cpu.devices.pci.devices",
    "v86.cpu.devices.pci.device_spaces",
    "v86.cpu.devices.pci.isa_bridge_space8",
    "v86.cpu.io.ports",
    "v86.cpu.wasm_memory",
    "v86.cpu.mem8",
    "v86.cpu.memory_size",
    "v86.cpu.flags",
    "v86.cpu.memory_map_read8",
    "v86.cpu.memory_map_write8",
    "v86.cpu.memory_map_read32",
    "v86.cpu.memory_map_write32",
  ],
  function: [
    "v86.cpu.devices.pci.register_device",
    "v86.cpu.devices.pci.pci_write8",
    "v86.cpu.devices.pci.pci_write16",
    "v86.cpu.devices.pci.pci_write32",
    "v86.cpu.devices.pci.raise_irq",
    "v86.cpu.devices.pci.lower_irq",
    "v86.cpu.devices.pci.set_state",
    "v86.cpu.jit_dirty_cache",
    "v86.cpu.run_hardware_timers",
    "v86.cpu.mmap_write16",
    "v86.cpu.handle_irqs",
    "v86.cpu.get_pic_addr_master",
    "v86.cpu.get_pic_addr_slave",
    "is_running",
  ],
};

/**
 * Attaches a card to an emulator. Call it right after `new V86({ …, net_device: { type: "none" } })`:
 * the card is plugged in when the emulator is ready, before the guest's first instruction and
 * before a saved state is restored.
 *
 * @param {object} emulator  a V86
 * @param {import("./index.js").Nic} nic  stays the caller's; detach the card before closing it
 * @param {object} [options]
 * @param {number} [options.slot]  PCI slot; 3 has an interrupt line of its own (IRQ 11)
 * @param {boolean} [options.zeroCopy]  the card moves into v86's own memory where v86 and the module
 *   allow it (nic.zeroCopy says whether); false: its DMA goes through callbacks
 * @returns {V86Card}
 */
export function attachNic(emulator, nic, options = {}) {
  const slot = options.slot ?? 3;
  if (!Number.isInteger(slot) || slot < 2 || slot > 31) {
    throw new RangeError(`attachNic: slot ${slot} is not a PCI slot from 2 to 31`);
  }
  if (typeof emulator?.add_listener !== "function") {
    throw new TypeError("attachNic: the first argument is not a V86 emulator");
  }
  if (nic.onMessage)
    throw new TypeError("attachNic: v86 delivers no messages: make the nic without onMessage");
  return new V86Card(emulator, nic, slot, options.zeroCopy ?? true);
}

/** One card in one emulator, from attachNic() to detach(). */
class V86Card {
  /** Resolved when the card is plugged in; rejected with the reason when it cannot be.
   *  @type {Promise<void>} */
  ready;
  /** @type {Slot | null} */
  #slot = null;
  #detached = false;

  constructor(emulator, nic, slot, zeroCopy) {
    const plug = () => {
      if (this.#detached) return;
      this.#slot = Machine.of(emulator).plug(nic, slot, zeroCopy);
    };
    if (emulator.v86?.cpu?.devices?.pci !== undefined) {
      plug(); // ready already: here an error can still be thrown at the caller
      this.ready = Promise.resolve();
      return;
    }
    this.ready = new Promise((resolve, reject) => {
      emulator.add_listener("emulator-ready", () => {
        try {
          plug();
          resolve();
        } catch (error) {
          reject(error); // thrown from here it would be lost inside v86
        }
      });
    });
  }

  /** Pulls the card out. The nic and the emulator live on; a running guest will miss its card. */
  detach() {
    this.#detached = true;
    this.#slot?.unplug();
    this.#slot = null;
  }
}

/** @type {WeakMap<object, Machine>} */
const machines = new WeakMap();

/** What all cards of one emulator share: the overrides, guest RAM, the interrupt lines. */
class Machine {
  /** @type {Map<number, Slot>} by v86's pci_id */
  slots = new Map();
  /** Parts of memory with windows of cards in them, by number. @type {Map<number, Granule>} */
  granules = new Map();
  /** True while a memory-mapped register is being accessed. */
  inMmio = false;
  #cpu;
  #pci;
  #emulator;
  #ram = new Uint8Array(0);
  #flags = new Int32Array(1);
  #pics = [new Uint8Array(3), new Uint8Array(3)];
  #cascadeSeenStuck = false;
  /** Which devices hold a line up: v86's lines are not wired-OR. @type {Map<number, Set<number>>} */
  #raisers = new Map();

  static of(emulator) {
    const known = machines.get(emulator);
    if (known !== undefined) return known;
    for (const [type, paths] of Object.entries(NEEDED)) {
      for (const path of paths) {
        const value = path.split(".").reduce((object, name) => object?.[name], emulator);
        if (typeof value === type && value !== null) continue;
        throw new Error(
          `attachNic: this v86 has no ${type} "${path}"; attachNic knows v86 ${TESTED}`,
        );
      }
    }
    const machine = new Machine(emulator);
    machines.set(emulator, machine);
    return machine;
  }

  constructor(emulator) {
    this.#emulator = emulator;
    this.#cpu = emulator.v86.cpu;
    this.#pci = this.#cpu.devices.pci;
    this.#hookConfigSpace();
    this.#hookInterruptLines();
    this.#hookTimers();
    this.#hookWideWrites();
    this.#hookState();
  }

  get cpu() {
    return this.#cpu;
  }

  /** Lines and who holds them up, as plain arrays. */
  get raisers() {
    return [...this.#raisers].map(([line, raisers]) => [line, ...raisers]);
  }

  set raisers(lines) {
    this.#raisers = new Map(lines.map(([line, ...raisers]) => [line, new Set(raisers)]));
  }

  /** Ends v86's sleep between two interrupts, if it sleeps. */
  wake() {
    this.#cpu.stop_idling?.();
  }

  get running() {
    return this.#emulator.is_running();
  }

  plug(nic, slotNumber, zeroCopy = false) {
    const pciId = slotNumber << 3;
    const occupant = this.#pci.devices[pciId];
    if (occupant !== undefined) {
      throw new Error(`attachNic: PCI slot ${slotNumber} is taken by "${occupant.name}"`);
    }
    const space = Array.from({ length: 256 }, (_, offset) => nic.configRead(offset, 1));
    const pciSpace = this.#pci.register_device({
      name: `aero ${nic.model}`,
      pci_id: pciId,
      pci_space: space,
      pci_bars: [], // ours: v86 would refuse to move them
    });
    try {
      const slot = new Slot(this, nic, pciId, pciSpace, zeroCopy ? this.linear() : {});
      this.slots.set(pciId, slot);
      return slot;
    } catch (error) {
      this.unplug(pciId); // or the guest would find a device without a card
      throw error;
    }
  }

  unplug(pciId) {
    this.slots.delete(pciId);
    this.#pci.lower_irq(pciId);
    this.#pci.devices[pciId] = undefined;
    this.#pci.device_spaces[pciId] = undefined;
  }

  /** Guest RAM from address 0; valid until control goes back to v86, which may grow its memory. */
  ram() {
    if (this.#ram.buffer !== this.#cpu.wasm_memory.buffer) this.#view();
    return this.#ram;
  }

  /** v86's memory for a card that can live in it; empty when a name it takes is missing. */
  linear() {
    const { wasm_memory: wasmMemory, mem8, wm } = this.#cpu;
    const allocate = wm?.exports?.v86_malloc;
    if (typeof allocate !== "function") return {};
    const guestSize = mem8.length;
    return {
      wasmMemory,
      guestBase: mem8.byteOffset,
      guestSize,
      allocate,
      written: (gpa, bytes) => {
        const end = Math.min(gpa + bytes, guestSize);
        if (gpa < end) this.#cpu.jit_dirty_cache(gpa, end); // there may have been code
      },
    };
  }

  #view() {
    const { wasm_memory: memory, mem8, memory_size: size, flags } = this.#cpu;
    this.#ram = new Uint8Array(memory.buffer, mem8.byteOffset, size[0]);
    this.#flags = new Int32Array(memory.buffer, flags.byteOffset, 1);
    this.#pics = [this.#cpu.get_pic_addr_master(), this.#cpu.get_pic_addr_slave()].map(
      (address) => new Uint8Array(memory.buffer, address, PIC_ISR_AT + 1),
    );
  }

  setIrq(pciId, level) {
    this.ram(); // makes #flags valid
    const flags = this.#flags;
    const interruptible = this.inMmio ? flags[0] & EFLAGS_IF : 0;
    // Inside a register access translated code holds the guest's registers in wasm locals. With
    // IF set v86 would enter the handler at once and lose them; so the request is left for the
    // end of this stretch of guest code.
    flags[0] &= ~interruptible;
    if (level) this.#pci.raise_irq(pciId);
    else this.#pci.lower_irq(pciId);
    flags[0] |= interruptible;
  }

  #hookConfigSpace() {
    const pci = this.#pci;
    for (const size of [1, 2, 4]) {
      const name = `pci_write${8 * size}`;
      const inherited = pci[name];
      pci[name] = (address, value) => {
        const slot = this.slots.get((address >> 8) & 0xffff);
        if (slot !== undefined) slot.configWrite(address & 0xff, size, value);
        // Nobody is there: v86 would throw where a bus lets the write pass.
        else if (pci.device_spaces[(address >> 8) & 0xffff]) inherited.call(pci, address, value);
      };
    }
    // v86 answers from an array; our card answers itself, since reads may have side effects.
    for (let at = 0; at < 4; at++) {
      const entry = this.#cpu.io.ports[CONFIG_DATA_PORT + at];
      for (const size of [1, 2, 4]) {
        const name = `read${8 * size}`;
        const inherited = entry[name];
        entry[name] = (port) => {
          const [register, function_, bus, enable] = pci.pci_addr;
          const slot = enable & 0x80 ? this.slots.get((bus << 8) | function_) : undefined;
          if (slot === undefined) return inherited.call(entry.device, port);
          return slot.configRead((register & 0xfc) + at, size);
        };
      }
    }
  }

  #hookInterruptLines() {
    const pci = this.#pci;
    const raise = pci.raise_irq;
    const lower = pci.lower_irq;
    const raisersOf = (pciId) => {
      const pin = ((pci.device_spaces[pciId][15] >> 8) & 0xff) - 1;
      const line = pci.isa_bridge_space8[0x60 + ((pin + (pciId >> 3) - 1) & 3)];
      const raisers = this.#raisers.get(line) ?? new Set();
      this.#raisers.set(line, raisers);
      return raisers;
    };
    pci.raise_irq = (pciId) => {
      raisersOf(pciId).add(pciId);
      raise.call(pci, pciId);
    };
    pci.lower_irq = (pciId) => {
      const raisers = raisersOf(pciId);
      raisers.delete(pciId);
      if (raisers.size === 0) lower.call(pci, pciId);
    };
  }

  /** v86 calls this at most every 100 003 instructions and whenever the guest halts. */
  #hookTimers() {
    const cpu = this.#cpu;
    const inherited = cpu.run_hardware_timers;
    cpu.run_hardware_timers = (...args) => {
      const idleMs = inherited.apply(cpu, args);
      let dueMs = Number.POSITIVE_INFINITY;
      for (const slot of this.slots.values()) dueMs = Math.min(dueMs, slot.service());
      this.#repairCascade();
      return Math.max(0, Math.min(idleMs, dueMs));
    };
  }

  /**
   * When the slave controller drops a request before it is acknowledged, v86's master takes the
   * cascade into service without calling anybody, so nobody will end it: IRQs 3 to 15 are dead from
   * then on. Seen twice in a row while the guest accepts interrupts, it is not a handler at work.
   */
  #repairCascade() {
    this.ram();
    const [master, slave] = this.#pics;
    const stuck =
      (master[PIC_ISR_AT] & CASCADE) !== 0 &&
      slave[PIC_ISR_AT] === 0 &&
      (this.#flags[0] & EFLAGS_IF) !== 0;
    if (stuck && this.#cascadeSeenStuck) {
      master[PIC_ISR_AT] &= ~CASCADE; // the end of interrupt that is missing
      this.#cpu.handle_irqs();
    }
    this.#cascadeSeenStuck = stuck && !this.#cascadeSeenStuck;
  }

  /** v86 cuts a 16-bit write into two bytes; a register that acts on a write must see it whole. */
  #hookWideWrites() {
    const cpu = this.#cpu;
    const inherited = cpu.mmap_write16;
    cpu.mmap_write16 = (address, value) => {
      for (const slot of this.slots.values()) {
        if (slot.windows.write16(address, value)) return;
      }
      inherited.call(cpu, address, value);
    };
  }

  /** v86 saves, restores and resets whatever sits in its place for a virtio network card. */
  #hookState() {
    const pci = this.#pci;
    const inherited = pci.set_state;
    pci.set_state = (state) => {
      inherited.call(pci, state);
      this.#ram = new Uint8Array(0); // the memory's size may be another one now
      for (const slot of this.slots.values()) slot.restoreConfig();
    };
    const devices = this.#cpu.devices;
    if (devices.virtio_net !== undefined) return; // v86's own card is there: ours is not saved
    devices.virtio_net = new SavedState(this);
  }
}

/** What v86 calls for our cards' sake. A class: v86 logs plain objects it finds in a state. */
class SavedState {
  #machine;

  /** @param {Machine} machine */
  constructor(machine) {
    this.#machine = machine;
  }

  get_state() {
    const { raisers, slots } = this.#machine;
    return [raisers, [...slots].map(([pciId, slot]) => [pciId, slot.saveState()])];
  }

  /** In the middle of v86's own restore: throws nothing. */
  set_state(state) {
    // Saved without our cards it is nothing, or that of v86's own card.
    const isOurs = state?.length === 2 && [...state].every((part) => part?.every?.(Array.isArray));
    const [raisers, cards] = isOurs ? state : [[], []];
    const saved = new Map(cards);
    this.#machine.raisers = raisers;
    for (const [pciId, slot] of this.#machine.slots) {
      try {
        if (saved.has(pciId)) {
          slot.restoreState(saved.get(pciId));
          continue;
        }
      } catch (error) {
        console.warn(`attachNic: the card in slot ${pciId >> 3} is reset: ${reason(error)}`);
      }
      slot.reset(); // what its driver told it belongs to another guest's memory
    }
  }

  reset() {
    for (const slot of this.#machine.slots.values()) slot.reset();
  }
}

/** One card in its slot. */
class Slot {
  windows;
  #machine;
  #nic;
  #pciId;
  #space; // v86's copy of the config space: it takes the interrupt pin from there and saves it

  constructor(machine, nic, pciId, space, linear) {
    this.#machine = machine;
    this.#nic = nic;
    this.#pciId = pciId;
    this.#space = space;
    this.windows = new BarWindows(machine, nic, () => this.#poll());
    nic.setMemory({
      ...linear,
      read: (gpa, bytes) => this.#dmaRead(gpa, bytes),
      write: (gpa, bytes) => this.#dmaWrite(gpa, bytes),
    });
    nic.onInterrupt = (level) => machine.setIrq(pciId, level);
    nic.onWork = () => {
      // While the emulator stands still its guest's memory must, too; the timer hook catches up.
      if (!machine.running) return;
      // v86 may sleep: it must come back for what is left, or for a timer that has just started.
      if (this.#poll() || nic.nextEventMs() !== Number.POSITIVE_INFINITY) machine.wake();
    };
  }

  unplug() {
    this.windows.close();
    this.#nic.onInterrupt = this.#nic.onWork = null;
    this.#machine.unplug(this.#pciId);
  }

  configRead(offset, size) {
    const value = this.#nic.configRead(offset, size);
    return size === 4 ? value | 0 : value;
  }

  configWrite(offset, size, value) {
    this.#nic.configWrite(offset, size, value >>> 0);
    this.#configChanged();
    this.#poll(); // bus mastering may just have been switched on
  }

  #configChanged() {
    for (let index = 0; index < 16; index++) {
      this.#space[index] = this.#nic.configRead(index * 4, 4);
    }
    this.windows.follow();
  }

  /** After v86 has restored its copy of our config space. */
  restoreConfig() {
    for (const index of [4, 5, 6, 7, 8, 9, 15, 1]) {
      this.#nic.configWrite(index * 4, 4, this.#space[index] >>> 0);
    }
    this.#configChanged();
  }

  saveState() {
    return this.#nic.saveState();
  }

  restoreState(bytes) {
    this.#nic.restoreState(bytes);
    this.#configChanged();
  }

  reset() {
    this.#nic.reset();
    this.#configChanged();
  }

  /** Called between two stretches of guest code; returns when it wants to be called again. */
  service() {
    if (this.#poll()) return 0;
    const dueMs = this.#nic.nextEventMs();
    return dueMs === Number.POSITIVE_INFINITY ? dueMs : dueMs - performance.now();
  }

  /** Returns whether work is left that could be done right now. */
  #poll() {
    for (let step = 0; step < POLL_STEPS_MAX; step++) {
      if (!this.#nic.poll()) return false;
    }
    return true;
  }

  #dmaRead(gpa, bytes) {
    const ram = this.#machine.ram();
    if (gpa > ram.length || bytes.length > ram.length - gpa) return false;
    bytes.set(ram.subarray(gpa, gpa + bytes.length));
    return true;
  }

  #dmaWrite(gpa, bytes) {
    const ram = this.#machine.ram();
    if (gpa > ram.length || bytes.length > ram.length - gpa) return false;
    ram.set(bytes, gpa);
    this.#machine.cpu.jit_dirty_cache(gpa, gpa + bytes.length); // there may have been code
    return true;
  }
}
