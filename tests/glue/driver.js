// The guest's half of an E1000, in JavaScript: rings and buffers in an array of RAM, registers
// through the Nic. Names and numbers are those of spec/e1000.md §3, §7.1, §8.

const RING_SLOTS = 64;
const SLOT_BYTES = 16;
const BUFFER_BYTES = 2048;
const TX_RING = 0x1000;
const RX_RING = 0x2000;
const TX_BUFFERS = 0x10000;
const RX_BUFFERS = 0x40000;

export const Reg = Object.freeze({
  CTRL: 0x0000,
  STATUS: 0x0008,
  EERD: 0x0014,
  ICR: 0x00c0,
  IMS: 0x00d0,
  RCTL: 0x0100,
  TCTL: 0x0400,
  RDBAL: 0x2800,
  RDLEN: 0x2808,
  RDH: 0x2810,
  RDT: 0x2818,
  TDBAL: 0x3800,
  TDLEN: 0x3808,
  TDH: 0x3810,
  TDT: 0x3818,
});

const RCTL_EN_UPE_MPE_BAM_SECRC = 0x0400801a;
const TCTL_EN_PSP = 0x0a;
const COMMAND_IO_MEMORY_MASTER = 7;
const TXD_EOP_IFCS_RS = 0x0b;
const DD = 1;

export const RAM_BYTES = 1 << 20;

export class Driver {
  /** @param {import("../../wasm-glue/src/nic.js").Nic} nic @param {Uint8Array} ram */
  constructor(nic, ram) {
    this.nic = nic;
    this.ram = ram;
    this.view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
    this.tail = 0;
    this.next = 0;
  }

  read(register) {
    return this.nic.barRead(0, register, 4);
  }

  write(register, value) {
    this.nic.barWrite(0, register, 4, value);
  }

  /** What a driver does until the card moves frames. */
  start() {
    this.nic.configWrite(4, 2, COMMAND_IO_MEMORY_MASTER);
    this.write(Reg.TDBAL, TX_RING);
    this.write(Reg.TDLEN, RING_SLOTS * SLOT_BYTES);
    this.write(Reg.TCTL, TCTL_EN_PSP);
    this.write(Reg.RDBAL, RX_RING);
    this.write(Reg.RDLEN, RING_SLOTS * SLOT_BYTES);
    for (let slot = 0; slot < RING_SLOTS; slot++)
      this.view.setUint32(RX_RING + slot * SLOT_BYTES, RX_BUFFERS + slot * BUFFER_BYTES, true);
    this.write(Reg.RDT, RING_SLOTS - 1);
    this.write(Reg.RCTL, RCTL_EN_UPE_MPE_BAM_SECRC);
    this.write(Reg.IMS, 0xff);
  }

  /** Puts one frame into the transmit ring; the caller polls. */
  queue(frame) {
    const at = TX_RING + this.tail * SLOT_BYTES;
    const buffer = TX_BUFFERS + this.tail * BUFFER_BYTES;
    this.ram.set(frame, buffer);
    this.view.setUint32(at, buffer, true);
    this.view.setUint32(at + 4, 0, true);
    this.view.setUint32(at + 8, frame.length | (TXD_EOP_IFCS_RS << 24), true);
    this.view.setUint32(at + 12, 0, true);
    this.tail = (this.tail + 1) % RING_SLOTS;
    this.write(Reg.TDT, this.tail);
  }

  /** Whether the card has taken what was queued. */
  get idle() {
    return this.read(Reg.TDH) === this.tail;
  }

  txDone(slot) {
    return (this.ram[TX_RING + slot * SLOT_BYTES + 12] & DD) !== 0;
  }

  /** Frames the card has delivered since the last call; gives the buffers back. */
  received() {
    const frames = [];
    for (;;) {
      const at = RX_RING + this.next * SLOT_BYTES;
      if ((this.ram[at + 12] & DD) === 0) break;
      const buffer = this.view.getUint32(at, true);
      frames.push(this.ram.slice(buffer, buffer + this.view.getUint16(at + 8, true)));
      this.ram[at + 12] = 0;
      this.write(Reg.RDT, this.next);
      this.next = (this.next + 1) % RING_SLOTS;
    }
    return frames;
  }
}

/** A frame of `bytes` that carries `number` and a pattern made of it. */
export function numberedFrame(number, bytes = 60) {
  const frame = new Uint8Array(bytes);
  frame.set([0x52, 0x55, 0x0a, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x88, 0xb5]);
  new DataView(frame.buffer).setUint32(14, number);
  for (let at = 18; at < bytes; at++) frame[at] = (number * 7 + at) & 0xff;
  return frame;
}
