// The traffic of the card benchmark: TCP frames as the wire shall see them, in units of one frame
// or of one aggregate that is cut into many. tests/bench/nic_bench.c makes the same bytes.

export const HEADER_BYTES = 54;
export const MSS = 1460;
export const L4_AT = 34;
export const TCP_CHECKSUM_AT = L4_AT + 16;
const IP_AT = 14;
const TCP_PROTOCOL = 6;

/**
 * @typedef {object} Shape
 * @property {string} name
 * @property {number} bytes  of a unit
 * @property {number} units  of a batch: one doorbell, one poll, one interrupt
 */
/** @type {Shape[]} */
export const shapes = [
  { name: "60", bytes: 60, units: 64 },
  { name: "1514", bytes: HEADER_BYTES + MSS, units: 64 },
  { name: "64K", bytes: 65536, units: 1 },
];

/** The frames of a unit. @param {Shape} shape */
export function framesOf(shape) {
  const frames = [];
  const payload = shape.bytes - HEADER_BYTES;
  const count = Math.ceil(payload / MSS);
  for (let i = 0; i < count; i++)
    frames.push(makeFrame(HEADER_BYTES + Math.min(MSS, payload - i * MSS), i));
  return frames;
}

/** The folded one's-complement sum of `bytes`, on top of `sum`. */
export function fold(bytes, sum = 0) {
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] * 256 : bytes[i];
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

/** The folded pseudo header of a frame with `tcpBytes`. */
export function pseudo(frame, tcpBytes) {
  return fold(frame.subarray(IP_AT + 12, IP_AT + 20), TCP_PROTOCOL + tcpBytes);
}

export function tcpBytesOf(frame) {
  return frame.length <= 60 ? 20 : frame.length - L4_AT;
}

function makeFrame(bytes, index) {
  const frame = new Uint8Array(bytes);
  const view = new DataView(frame.buffer);
  const tcpBytes = tcpBytesOf(frame);
  frame.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x55, 0x0a, 0, 2, 2, 8, 0, 0x45]);
  view.setUint16(IP_AT + 2, 20 + tcpBytes);
  view.setUint16(IP_AT + 4, 7 + index);
  frame.set([64, TCP_PROTOCOL], IP_AT + 8);
  frame.set([10, 0, 2, 15, 10, 0, 2, 2], IP_AT + 12);
  view.setUint16(IP_AT + 10, 0xffff - fold(frame.subarray(IP_AT, L4_AT)));
  view.setUint16(L4_AT, 40000);
  view.setUint16(L4_AT + 2, 80);
  view.setUint32(L4_AT + 4, 1 + index * MSS);
  frame.set([0x50, 0x10, 2, 0], L4_AT + 12);
  if (bytes > 60) for (let i = HEADER_BYTES; i < bytes; i++) frame[i] = (i * 31 + index) & 0xff;
  const sum = fold(frame.subarray(L4_AT, L4_AT + tcpBytes), pseudo(frame, tcpBytes));
  view.setUint16(TCP_CHECKSUM_AT, 0xffff - sum);
  return frame;
}

/** @param {Uint8Array} have @param {Uint8Array} want @param {string} where */
export function mustEqual(have, want, where) {
  if (Buffer.compare(have, want) !== 0) throw new Error(`${where}: not the frame that was sent`);
}
