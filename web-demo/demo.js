/*
 * demo.js - the demo's launcher: sample site, page server and proxy, each on a loopback port.
 * scripts/demo calls it after building.
 *
 *   node demo.js                 free ports
 *   node demo.js --port 8080     the page at this port
 *   node demo.js --no-isolation  never send the headers of cross-origin isolation
 *   node demo.js --help          this text
 *
 * The address carries the proxy and a fresh token after the #, which no server sees. Ctrl-C ends it.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startProxy } from "./proxy.js";
import { startSampleSite } from "./sample-site.js";
import { listenFailure, portFrom, serve } from "./serve.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const BUILD = process.env.AERO_BUILD_DIR || join(ROOT, "build");
const PROXY = join(BUILD, "proxy-min", "aero-l2-proxy");

function options() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      "no-isolation": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  return { ...values, port: portFrom(values.port) };
}

function help() {
  const [comment] = readFileSync(fileURLToPath(import.meta.url), "utf8").split("*/", 1);
  return comment
    .replace(/^\/\*\n/, "")
    .replace(/^ \* ?/gm, "")
    .trimEnd();
}

function welcome(origin, fragment, isolated) {
  const open = `${origin}/#${fragment}`;
  return `
aero-nic demo: Linux in a browser tab, online through our card, tunnel and proxy

  Open     ${open}
  or       ${origin}/?card=virtio-net#${fragment}
           (another card, and with it another driver of the guest)
${isolated ? `  or       ${origin}/?isolated=0#${fragment}\n           (the same without cross-origin isolation)\n` : ""}
  You will see a Debian kernel boot in a terminal (about 10 s), its own driver find the card,
  and DHCP bring 10.0.2.15. Type commands, or press "Fetch a page" and "Download 16 MB" and watch
  the chart. Inside the guest http://web.test/ is a small site of this demo.

  Ctrl-C ends it.
`;
}

async function main() {
  const { port, help: wantsHelp, "no-isolation": noIsolation } = options();
  if (wantsHelp) {
    console.log(help());
    return;
  }
  const running = [];
  let stopping = null;
  const stop = () => {
    stopping ??= Promise.all(running.map((part) => (part.stop ?? part.close)()));
    return stopping;
  };
  const finish = (signal) => {
    process.once(signal, async () => {
      console.log("\nending");
      await stop();
      process.exit(0);
    });
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) finish(signal);

  try {
    const site = await startSampleSite();
    running.push(site);
    const page = await serve({ port, isolated: !noIsolation }).catch((error) => {
      throw new Error(listenFailure(error, port));
    });
    running.push(page);
    const token = randomBytes(24).toString("base64url");
    const proxy = await startProxy({
      binary: PROXY,
      token,
      origins: [page.origin, `http://localhost:${page.port}`],
      sitePort: site.port,
    });
    running.push(proxy);
    proxy.ended.then((how) => {
      if (stopping) return;
      console.error(`demo: the proxy ended (${how})\n${proxy.said()}`);
      process.exitCode = 1;
      stop();
    });
    const fragment = `proxy=${proxy.url}&token=${token}`;
    process.stdout.write(welcome(page.origin, fragment, !noIsolation));
  } catch (error) {
    await stop();
    throw error;
  }
}

main().catch((error) => {
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
});
