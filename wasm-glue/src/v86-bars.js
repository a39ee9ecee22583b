/**
 * The windows through which a v86 guest reaches a card's BARs. They follow the card's own config
 * space: v86 itself ignores the move of a memory BAR, and both SeaBIOS and Linux make one.
 */

const GRANULE_SHIFT = 17; // v86 keeps one set of memory handlers per 128 KiB
const COMMAND_AT = 4;
const BAR0_AT = 0x10;
const COMMAND_IO = 1;
const COMMAND_MEMORY = 2;

/** All windows of one card. */
export class BarWindows {
  #bars;

  /**
   * @param {object} machine  owner of cpu and inMmio
   * @param {object} nic
   * @param {() => void} afterWrite  called after each register write
   */
  constructor(machine, nic, afterWrite) {
    this.nic = nic;
    this.#bars = nic.pci.bars.map(({ index, kind, bytes }) =>
      kind === "io"
        ? new PortBar(machine, nic, index, bytes, afterWrite)
        : new MemoryBar(machine, nic, index, bytes, afterWrite),
    );
  }

  /** Opens, moves and closes windows as the config space says now. */
  follow() {
    const command = this.nic.configRead(COMMAND_AT, 2);
    for (const bar of this.#bars) {
      const value = this.nic.configRead(BAR0_AT + 4 * bar.index, 4) >>> 0;
      const base = (value & bar.mask) >>> 0;
      // Of a 64-bit BAR: what lies above 4 GiB is out of a v86 guest's reach.
      const high = (value & 7) === 4 ? this.nic.configRead(BAR0_AT + 4 * bar.index + 4, 4) : 0;
      // All ones is the answer to a sizing probe, not a place.
      const decoded =
        (command & bar.enable) !== 0 && base !== 0 && base !== bar.mask >>> 0 && high === 0;
      bar.moveTo(decoded ? base : 0);
    }
  }

  /** Returns false if the address is none of ours. */
  write16(address, value) {
    return this.#bars.some((bar) => bar.write16(address, value));
  }

  close() {
    for (const bar of this.#bars) bar.moveTo(0);
  }
}

/**
 * v86's handlers of one granule while windows of cards lie in it: one claim, however many there are
 * and however often they move. What is in none of them goes to the handlers from before.
 */
export class Granule {
  #maps;
  #number;
  #before;
  #ours;

  constructor(cpu, number, bars) {
    this.bars = bars; // those with a window here
    this.#number = number;
    this.#maps = ["read8", "read32", "write8", "write32"].map((name) => cpu[`memory_map_${name}`]);
    this.#before = this.#maps.map((map) => map[number]);
    this.#ours = this.#before.map((before, index) => (address, value) => {
      for (const bar of bars) {
        const offset = (address - bar.base) >>> 0;
        const size = index & 1 ? 4 : 1;
        if (offset < bar.bytes)
          return index < 2 ? bar.read(offset, size) : bar.write(offset, size, value);
      }
      return before(address, value);
    });
    this.#set(this.#ours);
  }

  /** Nobody has put handlers of his own over ours. */
  get isOnTop() {
    return this.#maps.every((map, index) => map[this.#number] === this.#ours[index]);
  }

  undo() {
    this.#set(this.#before);
  }

  #set(handlers) {
    this.#maps.forEach((map, index) => {
      map[this.#number] = handlers[index];
    });
  }
}

class MemoryBar {
  enable = COMMAND_MEMORY;
  base = 0; // 0: closed

  constructor(machine, nic, index, bytes, afterWrite) {
    this.machine = machine;
    this.nic = nic;
    this.index = index;
    this.bytes = bytes;
    this.mask = ~(bytes - 1);
    this.afterWrite = afterWrite;
  }

  moveTo(base) {
    if (base === this.base) return;
    const { cpu, granules } = this.machine;
    this.#each((number) => {
      const granule = granules.get(number);
      granule.bars.splice(granule.bars.indexOf(this), 1);
      // Where somebody has built on the claim it stays, and lets everything through.
      if (granule.bars.length === 0 && granule.isOnTop && granules.delete(number)) granule.undo();
    });
    this.base = base;
    this.#each((number) => {
      let granule = granules.get(number);
      if (!granule?.isOnTop) granule = new Granule(cpu, number, granule?.bars ?? []);
      granules.set(number, granule);
      granule.bars.push(this);
    });
  }

  /** Calls `act` for each granule that the window touches. */
  #each(act) {
    if (this.base === 0) return;
    const last = (this.base + this.bytes - 1) >>> GRANULE_SHIFT;
    for (let number = this.base >>> GRANULE_SHIFT; number <= last; number++) act(number);
  }

  read(offset, size) {
    const { machine } = this;
    machine.inMmio = true;
    try {
      return this.nic.barRead(this.index, offset, size);
    } finally {
      machine.inMmio = false;
    }
  }

  write(offset, size, value) {
    const { machine } = this;
    machine.inMmio = true;
    try {
      this.nic.barWrite(this.index, offset, size, value >>> 0);
      this.afterWrite();
    } finally {
      machine.inMmio = false;
    }
  }

  write16(address, value) {
    const offset = (address - this.base) >>> 0;
    if (this.base === 0 || offset >= this.bytes) return false;
    this.write(offset, 2, value);
    return true;
  }
}

class PortBar {
  enable = COMMAND_IO;
  #base = 0;
  #undo = [];

  constructor(machine, nic, index, bytes, afterWrite) {
    this.machine = machine;
    this.nic = nic;
    this.index = index;
    this.bytes = bytes;
    this.mask = ~(bytes - 1) & 0xffff;
    this.afterWrite = afterWrite;
  }

  moveTo(base) {
    if (base === this.#base) return;
    while (this.#undo.length > 0) this.#undo.pop()();
    this.#base = base;
    if (base === 0) return;
    const { ports } = this.machine.cpu.io;
    for (let offset = 0; offset < this.bytes; offset++) {
      const before = ports[base + offset];
      const ours = this.#entry(offset);
      ports[base + offset] = ours;
      this.#undo.push(() => {
        if (ports[base + offset] === ours) ports[base + offset] = before;
      });
    }
  }

  #entry(offset) {
    const { nic, index, afterWrite } = this;
    const write = (size) => (value) => {
      nic.barWrite(index, offset, size, value >>> 0);
      afterWrite();
    };
    return {
      read8: () => nic.barRead(index, offset, 1),
      read16: () => nic.barRead(index, offset, 2),
      read32: () => nic.barRead(index, offset, 4) | 0,
      write8: write(1),
      write16: write(2),
      write32: write(4),
      device: this,
    };
  }

  write16() {
    return false; // ports have 16-bit accesses of their own
  }
}
