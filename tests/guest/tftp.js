// A TFTP server (RFC 1350) that gives files away, with the options of RFC 2348 (blksize), 2349
// (tsize) and 7440 (windowsize). It answers from the port that was asked, not from another one per
// transfer, so one forwarding rule of the proxy leads to it.
import { createSocket } from "node:dgram";

const READ = 1;
const DATA = 3;
const ACK = 4;
const ERROR = 5;
const OPTIONS_ACK = 6;
const NOT_FOUND = 1;
const BLOCK_BYTES_MAX = 1468; // what fits into a frame
const WINDOW_MAX = 64;
const RESEND_MS = 1000;

const head = (opcode, word) => Buffer.of(0, opcode, word >> 8, word & 255);
const strings = (...texts) => Buffer.from(texts.map((text) => `${text}\0`).join(""));

/** One file on its way to one client. */
class Transfer {
  #acked = 0; // blocks, without the wrap-around of 16 bits
  #timer;

  constructor(send, file, options) {
    this.send = send;
    this.file = file;
    this.blockBytes = Math.min(Number(options.blksize ?? 512), BLOCK_BYTES_MAX);
    this.window = Math.min(Number(options.windowsize ?? 1), WINDOW_MAX);
    this.last = Math.floor(file.length / this.blockBytes) + 1; // a short block ends it
    const agreed = { blksize: this.blockBytes, windowsize: this.window, tsize: file.length };
    const both = Object.keys(options).filter((name) => name in agreed);
    this.oack =
      both.length === 0
        ? null
        : Buffer.concat([
            Buffer.of(0, OPTIONS_ACK),
            strings(...both.flatMap((name) => [name, agreed[name]])),
          ]);
    this.#go();
  }

  /** @param {number} block  16 bits of its number: the last one that came in order */
  ack(block) {
    const ahead = (block - this.#acked) & 0xffff;
    if (ahead > this.window) return; // an old one again
    this.#acked += ahead;
    this.oack = null;
    this.#go();
  }

  end() {
    clearTimeout(this.#timer);
  }

  #go() {
    clearTimeout(this.#timer);
    if (this.#acked === this.last) return;
    this.#timer = setTimeout(() => this.#go(), RESEND_MS);
    if (this.oack) return this.send(this.oack);
    const end = Math.min(this.#acked + this.window, this.last);
    for (let block = this.#acked + 1; block <= end; block++) {
      const from = (block - 1) * this.blockBytes;
      const data = this.file.subarray(from, from + this.blockBytes);
      this.send(Buffer.concat([head(DATA, block & 0xffff), data]));
    }
  }
}

/**
 * @param {(name: string) => Uint8Array | undefined} find
 * @returns {Promise<{ port: number, close: () => Promise<void> }>}  on the loopback
 */
export async function startTftp(find) {
  const socket = createSocket("udp4");
  /** @type {Map<string, Transfer>} by the client's address */
  const transfers = new Map();
  socket.on("message", (message, { address, port }) => {
    const peer = `${address}:${port}`;
    const send = (bytes) => socket.send(bytes, port, address);
    const opcode = message.readUInt16BE(0);
    if (opcode === ACK) transfers.get(peer)?.ack(message.readUInt16BE(2));
    if (opcode === ERROR) transfers.get(peer)?.end();
    if (opcode !== READ) return;
    const [name, , ...rest] = message.toString("latin1", 2).split("\0");
    const options = {};
    for (let at = 0; at + 1 < rest.length; at += 2) options[rest[at].toLowerCase()] = rest[at + 1];
    const file = find(name);
    transfers.get(peer)?.end();
    if (file) transfers.set(peer, new Transfer(send, file, options));
    else send(Buffer.concat([head(ERROR, NOT_FOUND), strings(`there is no ${name}`)]));
  });
  await new Promise((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    port: socket.address().port,
    close: () => {
      for (const transfer of transfers.values()) transfer.end();
      return new Promise((resolve) => socket.close(resolve));
    },
  };
}
