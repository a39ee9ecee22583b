// What one more session costs when there are many: memory while it is quiet, and the proxy's CPU
// time for one wake-up (a burst of ten pings to the gateway, answered), session after session in
// turn. Flat means: nothing is searched, and what a quiet session holds is small.
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { ProxyProcess } from "../support/proxy.js";

const GATEWAY = "020000000001";
const GUEST = "525400123456";
const PINGS = 10; // in a burst
const PING_DATA_BYTES = 56;
const WARM_UP = 500;
const FIRST = 8; // sessions that stay: what process and workers need once is in place then
const IDLE_MS = 1000;

/** CPU seconds of a process, to the nanosecond. */
function cpuSeconds(pid) {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`))
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
  return ns / 1e9;
}

function privateBytes(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return 1024 * Number(/^Private_Dirty:\s+(\d+)/m.exec(text)[1]);
}

function checksum(bytes) {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** A tunnel message in a WebSocket frame, masked with zeros. */
function message(frame) {
  const bytes = 4 + frame.length;
  const head = bytes < 126 ? [0x82, 0x80 | bytes] : [0x82, 0xfe, bytes >> 8, bytes & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0, 0xa2, 3, 0, 0]), frame]);
}

function pingFrame() {
  const frame = Buffer.alloc(14 + 20 + 8 + PING_DATA_BYTES);
  frame.write(`${GATEWAY}${GUEST}0800`, "hex");
  frame.write("4500", 14, "hex");
  frame.writeUInt16BE(frame.length - 14, 16);
  frame.write("00000000400100000a00020f0a000202", 18, "hex");
  frame.writeUInt16BE(checksum(frame.subarray(14, 34)), 24);
  frame.write("0800000012340001", 34, "hex");
  frame.writeUInt16BE(checksum(frame.subarray(34)), 36);
  return frame;
}

const arp = message(
  Buffer.from(
    `ffffffffffff${GUEST}08060001080006040001${GUEST}0a00020f0000000000000a000202`,
    "hex",
  ),
);
const ping = message(pingFrame());
const burst = Buffer.concat(Array.from({ length: PINGS }, () => ping));
const answerBytes = PINGS * (ping.length - 4); // unmasked, one message each
const arpAnswerBytes = 2 + 4 + 42;

/** A guest that only counts what it is sent. */
class Guest {
  #got = 0;
  #wanted = 0;
  #enough = () => {};

  static async join(proxy) {
    const guest = new Guest();
    const { hostname, port } = new URL(proxy.url);
    guest.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await once(guest.socket, "connect");
    guest.socket.write(
      `GET /l2 HTTP/1.1\r\nHost: ${hostname}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" +
        "Sec-WebSocket-Protocol: aero-l2-tunnel-v1\r\n\r\n",
    );
    const [head] = await once(guest.socket, "data");
    if (!/^HTTP\/1\.1 101 /.test(head)) throw new Error(`refused: ${head}`);
    guest.socket.on("data", (chunk) => {
      guest.#got += chunk.length;
      if (guest.#got >= guest.#wanted) guest.#enough();
    });
    await guest.exchange(arp, arpAnswerBytes);
    return guest;
  }

  exchange(bytes, answer) {
    this.#got = 0;
    this.#wanted = answer;
    return new Promise((resolve) => {
      this.#enough = resolve;
      this.socket.write(bytes);
    });
  }
}

async function takeTurns(guests, bursts) {
  for (let i = 0; i < bursts; i++) await guests[i % guests.length].exchange(burst, answerBytes);
}

/**
 * A row for each number of sessions.
 * @param {number[]} counts  rising
 * @param {number} bursts  of each row, at least two a session
 */
export async function measureSessions(counts, bursts) {
  const proxy = await ProxyProcess.start({
    AERO_L2_OPEN: "1",
    AERO_L2_INSECURE_ALLOW_NO_AUTH: "1",
    AERO_L2_MAX_CONNECTIONS: "0",
  });
  const stay = [];
  const guests = [];
  const rows = [];
  try {
    for (let i = 0; i < FIRST; i++) stay.push(await Guest.join(proxy));
    await takeTurns(stay, WARM_UP);
    const before = privateBytes(proxy.pid);
    for (const count of counts) {
      while (guests.length < count) guests.push(await Guest.join(proxy));
      const bytes = (privateBytes(proxy.pid) - before) / count;
      await takeTurns(guests, Math.max(WARM_UP, count));
      const runs = Math.max(bursts, 2 * count);
      const start = cpuSeconds(proxy.pid);
      await takeTurns(guests, runs);
      const busy = cpuSeconds(proxy.pid);
      const busyBytes = (privateBytes(proxy.pid) - before) / count;
      await sleep(IDLE_MS);
      const idle = cpuSeconds(proxy.pid) - busy;
      rows.push({
        sessions: count,
        bytes: Math.round(bytes),
        bytesAfterTraffic: Math.round(busyBytes),
        cpuUsPerBurst: ((busy - start) / runs) * 1e6,
        idleCpuMsPerS: (idle * 1e3) / (IDLE_MS / 1e3),
      });
    }
  } finally {
    for (const guest of [...stay, ...guests]) guest.socket.destroy();
    await proxy.stop();
  }
  return rows;
}

/** @param {Awaited<ReturnType<typeof measureSessions>>} rows */
export function printSessions(rows) {
  const line = (cells) => console.log(cells.map((cell) => String(cell).padStart(16)).join(""));
  line(["sessions", "KB each", "after traffic", "us per wake-up", "idle ms CPU/s"]);
  for (const row of rows)
    line([
      row.sessions,
      (row.bytes / 1024).toFixed(1),
      (row.bytesAfterTraffic / 1024).toFixed(1),
      row.cpuUsPerBurst.toFixed(1),
      row.idleCpuMsPerS.toFixed(2),
    ]);
}
