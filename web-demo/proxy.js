/*
 * proxy.js - runs aero-l2-proxy for the demo, with an environment of its own.
 *
 * Safe settings: loopback, a random token, this page's origin only, the address deny list as it
 * ships. The one way past that list leads to the sample site.
 */
import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";

const READY_MS = 5000; // launchers wait this long for the ready line (l2-proxy §1)
const GRACE_MS = 3000;
const SITE_ADDRESS = "203.0.113.10"; // TEST-NET-3: belongs to nobody
const SITE_NAME = "web.test";

/** The environment of l2-proxy §2: nothing of the caller's AERO_* leaks into it. */
export function demoSettings({ token, origins, sitePort }) {
  const inherited = ["PATH", "HOME", "LANG", "TZ", "ASAN_OPTIONS"];
  const environment = Object.fromEntries(
    inherited.filter((name) => process.env[name]).map((name) => [name, process.env[name]]),
  );
  return {
    ...environment,
    AERO_L2_AUTH_MODE: "token",
    AERO_L2_API_KEY: token,
    AERO_L2_ALLOWED_ORIGINS: origins.join(","),
    AERO_L2_DNS_A: `${SITE_NAME}=${SITE_ADDRESS}`,
    AERO_L2_TCP_FORWARD: `${SITE_ADDRESS}:80=127.0.0.1:${sitePort}`,
  };
}

/** Resolves with the URL of the ready line; rejects with one sentence when none comes. */
function ready(child, said) {
  return new Promise((resolve, reject) => {
    let head = "";
    const timer = setTimeout(() => {
      reject(new Error(`the proxy did not get ready within ${READY_MS / 1000} s\n${said()}`));
    }, READY_MS);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`the proxy cannot be started: ${error.message}`));
    });
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`the proxy ended at once (${signal ?? `exit ${code}`})\n${said()}`));
    });
    child.stdout.on("data", (text) => {
      if (head.length > 65536) return;
      head += text;
      const match = /^AERO_L2_PROXY_READY (\S+)$/m.exec(head);
      if (!match) return;
      clearTimeout(timer);
      resolve(match[1]);
    });
  });
}

/**
 * Starts the proxy at `binary` on a loopback port.
 *
 * @param {{ binary: string, token: string, origins: string[], sitePort: number, port?: number }} o
 * @returns {Promise<{ url: string, ended: Promise<string>, stop: () => Promise<void>,
 *   said: () => string }>}  `ended` resolves with how the process ended, whenever that is;
 *   said() is the last of what it wrote
 */
export async function startProxy({ binary, token, origins, sitePort, port = 0 }) {
  await access(binary, constants.X_OK).catch(() => {
    throw new Error(`the proxy is not built (${binary} is missing): run scripts/demo`);
  });
  const child = spawn(binary, ["--bind", `127.0.0.1:${port}`, "--ready-stdout"], {
    env: demoSettings({ token, origins, sitePort }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let tail = ""; // the last it said, for the message when it fails
  const keep = (text) => {
    tail = (tail + text).slice(-2000);
  };
  child.stdout.setEncoding("utf8").on("data", keep);
  child.stderr.setEncoding("utf8").on("data", keep);
  const ended = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? `exit ${code}`));
    child.once("error", (error) => resolve(error.message));
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS + 1000);
    await ended;
    clearTimeout(timer);
  };
  try {
    return { url: await ready(child, () => tail.trim()), ended, stop, said: () => tail.trim() };
  } catch (error) {
    await stop();
    throw error;
  }
}
