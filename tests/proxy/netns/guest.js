// What runs inside a guest's namespace: guest.js WHAT HOST PORT [MORE]. Says one JSON line at its
// end, some say a word before; "go" on its input lets those that wait go on. Stays until that ends.
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const [what, host, portText, ...more] = process.argv.slice(2);
const port = Number(portText);
const CHUNK_BYTES = 65_536;
const AT_ONCE = 50;
const ANSWER_MS = 20_000;

const say = (word) => process.stdout.write(`${word}\n`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function dial() {
  const socket = connect({ host, port, allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}

/** The error a connection ends with, or null. */
const ending = (socket) =>
  new Promise((resolve) => {
    socket.once("error", (error) => resolve(error.code));
    socket.once("close", () => resolve(null));
  });

async function readAll(socket) {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of socket) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

/** `count` jobs, some at a time. */
async function many(count, job) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < count) results.push(await job(next++));
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
  return results;
}

const jobs = {
  /** Connects, and tells how that ended. */
  async connect() {
    const socket = connect({ host, port });
    const error = await Promise.race([once(socket, "connect").then(() => null), ending(socket)]);
    socket.destroy();
    return { error };
  },

  /** Reads nothing until it may; then all of it, and closes. */
  async read() {
    const socket = await dial();
    say("open");
    await lines.next();
    const read = await readAll(socket);
    socket.end();
    return read;
  },

  /** Writes as fast as it can, hashing; then reads the answer. */
  async write() {
    const socket = await dial();
    const hash = createHash("sha256");
    let left = Number(more[0]);
    for (let i = 0; left > 0; i++) {
      const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, left), `${i}.`);
      hash.update(chunk);
      left -= chunk.length;
      if (!socket.write(chunk)) await once(socket, "drain");
    }
    socket.end();
    const sha256 = hash.digest("hex");
    const answer = [];
    for await (const chunk of socket) answer.push(chunk);
    return { sha256, answer: Buffer.concat(answer).toString() };
  },

  /** Opens flows, says a word on each and resets them. */
  async reset() {
    const opened = await many(Number(more[0]), async () => {
      const socket = await dial();
      socket.write("x");
      socket.resetAndDestroy();
      return 1;
    });
    return { opened: opened.length };
  },

  /** Opens flows the server will reset, and counts those that noticed. */
  async resetByServer() {
    const endings = await many(Number(more[0]), async () => {
      const socket = connect({ host, port });
      socket.resume();
      socket.on("connect", () => socket.write("x"));
      return ending(socket);
    });
    return { reset: endings.filter((how) => how === "ECONNRESET").length };
  },

  /** One flow, a line there and back each time it may. */
  async talk() {
    const socket = await dial();
    socket.setEncoding("utf8");
    for (let i = 0; ; i++) {
      socket.write(`${i}\n`);
      const [echo] = await Promise.race([
        once(socket, "data"),
        ending(socket).then((how) => [`ended ${how}`]),
      ]);
      say(echo.trim() === String(i) ? "echo" : echo);
      if ((await lines.next()).done) break;
    }
    socket.end();
    return {};
  },

  /** Datagrams of the given lengths, each compared with its echo, up to the first wrong one. */
  async udp() {
    const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    const wrong = [];
    for (const bytes of more.map(Number)) {
      const sent = Buffer.alloc(bytes, `${bytes}:`);
      const heard = once(socket, "message", { signal: AbortSignal.timeout(ANSWER_MS) });
      socket.send(sent, port, host);
      const [message, from] = await heard.catch((error) => [error.name, {}]);
      if (sent.equals(Buffer.from(message)) && from.port === port) continue;
      wrong.push(bytes);
      break;
    }
    socket.close();
    return { wrong };
  },

  /** A datagram nobody takes: what does the kernel tell a connected socket? */
  async udpRefused() {
    const socket = createSocket("udp4");
    socket.connect(port, host);
    await once(socket, "connect");
    const failed = once(socket, "error", { signal: AbortSignal.timeout(ANSWER_MS) });
    socket.send("x");
    const [error] = await failed;
    socket.close();
    return { error: error.code };
  },
};

const result = await jobs[what]();
say(JSON.stringify(result));
await lines.next(); // its kernel may have something to send yet
process.exit(0);
