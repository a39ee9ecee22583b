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

class MemoryBar {
  enable = COMMAND_MEMORY;
  #base = 0; // 0: closed
  #undo = [];

  constructor(machine, nic, index, bytes, afterWrite) {
    this.machine = machine;
    this.nic = nic;
    this.index = index;
    this.bytes = bytes;
    this.mask = ~(bytes - 1);
    this.afterWrite = afterWrite;
  }

  moveTo(base) {
    if (base === this.#base) return;
    while (this.#undo.length > 0) this.#undo.pop()();
    this.#base = base;
    if (base === 0) return;
    const last = (base + this.bytes - 1) >>> GRANULE_SHIFT;
    for (let granule = base >>> GRANULE_SHIFT; granule <= last; granule++) this.#claim(granule);
  }

  /** A granule may hold windows of other devices, too: what is not ours goes to its handlers. */
  #claim(granule) {
    const base = this.#base;
    const bytes = this.bytes;
    const { cpu } = this.machine;
    const claim = (map, handler) => {
      const before = map[granule];
      map[granule] = (address, value) => {
        const offset = (address - base) >>> 0;
        return offset < bytes ? handler(offset, value) : before(address, value);
      };
      const ours = map[granule];
      this.#undo.push(() => {
        if (map[granule] === ours) map[granule] = before;
      });
    };
    claim(cpu.memory_map_read8, (offset) => this.#read(offset, 1));
    claim(cpu.memory_map_read32, (offset) => this.#read(offset, 4));
    claim(cpu.memory_map_write8, (offset, value) => this.#write(offset, 1, value));
    claim(cpu.memory_map_write32, (offset, value) => this.#write(offset, 4, value));
  }

  #read(offset, size) {
    const { machine } = this;
    machine.inMmio = true;
    try {
      return this.nic.barRead(this.index, offset, size);
    } finally {
      machine.inMmio = false;
    }
  }

  #write(offset, size, value) {
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
    const offset = (address - this.#base) >>> 0;
    if (this.#base === 0 || offset >= this.bytes) return false;
    this.#write(offset, 2, value);
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
