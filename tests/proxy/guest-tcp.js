// A guest's TCP by hand: segments in Ethernet frames, to and from 203.0.113.10:80.
import { frame } from "./raw.js";

const GUEST_PORT = 40000;
/** The guest's gratuitous ARP, without its target. */
export const ANNOUNCE = "ffffffffffff525400123456080600010800060400015254001234560a00020f";
const GUEST = Buffer.from("0a00020f", "hex");
const SITE = Buffer.from("cb00710a", "hex"); // 203.0.113.10
export const FIN = 1;
export const SYN = 2;
export const ACK = 16;

function checksum(...parts) {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] << 8 : bytes[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A segment of the guest's in an Ethernet frame. */
export function segment(flags, seq, ack, { options = "", payload = Buffer.alloc(0) } = {}) {
  const extra = Buffer.from(options, "hex");
  const head = 20 + extra.length;
  const tcp = Buffer.concat([Buffer.alloc(20), extra, payload]);
  tcp.writeUInt16BE(GUEST_PORT, 0);
  tcp.writeUInt16BE(80, 2);
  tcp.writeUInt32BE(seq >>> 0, 4);
  tcp.writeUInt32BE(ack >>> 0, 8);
  tcp[12] = (head / 4) << 4;
  tcp[13] = flags;
  tcp.writeUInt16BE(65535, 14);
  const pseudo = Buffer.concat([
    GUEST,
    SITE,
    Buffer.from([0, 6, tcp.length >> 8, tcp.length & 255]),
  ]);
  tcp.writeUInt16BE(checksum(pseudo, tcp), 16);
  const ip = Buffer.from("4500000000004000400600000a00020fcb00710a", "hex");
  ip.writeUInt16BE(20 + tcp.length, 2);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([Buffer.from("0200000000015254001234560800", "hex"), ip, tcp]);
}

/** A FRAME message around it. */
export const message = (payload) =>
  frame(2, Buffer.concat([Buffer.from("a2030000", "hex"), payload]));

/** What the tests look at of a frame with TCP. */
export function parse(bytes) {
  const ip = bytes.subarray(14, 14 + bytes.readUInt16BE(16));
  const tcp = ip.subarray(20);
  const head = (tcp[12] >> 4) * 4;
  return { flags: tcp[13], seq: tcp.readUInt32BE(4), head, tcp, data: tcp.subarray(head) };
}
