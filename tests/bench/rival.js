// The proxy's rivals, each in a network namespace that vanishes with this process.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const READY_TRIES = 100;
const TRY_MS = 50;

const NETNS = "/proc/self/fd/3"; // pasta gives up the right to open it by process id

const commands = {
  slirp4netns: (mtu) => [
    ...["slirp4netns", "--configure", "--disable-dns", "--mtu", String(Math.min(mtu, 65520))],
    ...["--netns-type=path", NETNS, "tap0"],
  ],
  pasta: (mtu) => [
    ...["pasta", "--foreground", "--quiet", "--runas", "0", "--config-net", "-4", "-I", "tap0"],
    ...["-a", "10.0.2.15", "-n", "24", "-g", "10.0.2.2", "-m", String(mtu)],
    ...["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--netns", NETNS],
  ],
};

// The same buffers as tunnel_peer gives its guest: Linux's own, whatever this machine's are.
const guestSettings = [
  "cd /proc/sys/net/ipv4",
  "echo 4096 131072 6291456 >tcp_rmem",
  "echo 4096 16384 4194304 >tcp_wmem",
].join("; ");

// A tap drops what its 500 frames do not hold, where a network card's driver would wait. All the
// windows at MTU 1500 are more than that, and pasta of Debian 12 answers a missing segment with
// silence, so that its guest waits for time-outs: room for everything, ours and theirs.
export const TAP_QUEUE_FRAMES = 65536;

export const rivalNames = Object.keys(commands);

/** Null, or a word on why this rival can't be measured. @param {string} name */
export function whyNot(name) {
  const found = spawnSync("sh", ["-c", `command -v ${name}`]).status === 0;
  return found ? null : "not installed";
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, test) {
  for (let tries = 0; tries < READY_TRIES; tries++) {
    if (test()) return;
    await wait(TRY_MS);
  }
  throw new Error(`${what}: not ready after ${READY_TRIES * TRY_MS} ms`);
}

/** A process that is ended with ours, whatever happens. */
function start([file, ...args], stdio) {
  const child = spawn(file, args, { stdio });
  const ended = new Promise((resolve) => {
    child.once("error", resolve);
    child.once("close", resolve);
  });
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  return {
    child,
    async stop() {
      process.removeListener("exit", kill);
      kill();
      await ended;
    },
  };
}

/**
 * A namespace with the rival's tap in it.
 * @param {string} name  of rivalNames
 * @param {number} mtu
 */
export async function openRival(name, mtu) {
  const space = start(
    ["unshare", "--net", "sh", "-c", `${guestSettings}; echo up; exec cat`],
    ["pipe", "pipe", 2],
  );
  await new Promise((resolve) => space.child.stdout.once("data", resolve));
  const path = `/proc/${space.child.pid}/ns/net`;
  const netns = openSync(path, "r");
  const rival = start(commands[name](mtu), ["ignore", "ignore", "ignore", netns]);
  closeSync(netns);
  const close = async () => {
    await rival.stop();
    await space.stop();
  };
  const inside = (script) =>
    spawnSync("nsenter", [`--net=${path}`, "sh", "-c", script], { encoding: "utf8" }).stdout;
  try {
    await until(name, () => {
      const shown = inside("ip -4 -o addr show dev tap0; ip route");
      return /inet 10\.0\.2\./.test(shown) && /default via/.test(shown);
    });
    inside(`ip link set tap0 txqueuelen ${TAP_QUEUE_FRAMES}`);
  } catch (error) {
    await close();
    throw error;
  }
  return { pid: rival.child.pid, space: space.child.pid, close };
}

/** slirp4netns on a packet socket, for a guest behind a slow leg; it serves one guest. */
export async function openSlirpSocket() {
  const folder = mkdtempSync(join(tmpdir(), "aero-bench-"));
  const socket = join(folder, "frames");
  const rival = start(
    ["slirp4netns", "--target-type=bess", socket],
    ["ignore", "ignore", "ignore"],
  );
  const close = async () => {
    await rival.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until("slirp4netns", () => existsSync(socket));
  } catch (error) {
    await close();
    throw error;
  }
  return { pid: rival.child.pid, socket, close };
}
