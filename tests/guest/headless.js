// What scripts/demo --headless runs: the guest of the demo page, but in Node, with its transcript.
// Exit 0 only if the guest got a lease, reached its gateway and fetched a page.
import { fileURLToPath } from "node:url";
import { BOOT_TIMEOUT_MS } from "./guest.js";
import { SITE_NAME, World } from "./world.js";

const usage = `usage: node ${fileURLToPath(import.meta.url)} [--proxy FILE] [--help]

  --proxy FILE   the proxy to start; otherwise $AERO_L2_PROXY, or that of $AERO_BUILD_DIR
`;

/** @param {string[]} args */
function parse(args) {
  for (let at = 0; at < args.length; at++) {
    if (args[at] === "--help" || args[at] === "-h") {
      process.stdout.write(usage);
      process.exit(0);
    } else if (args[at] === "--proxy" && at + 1 < args.length) {
      process.env.AERO_L2_PROXY = args[++at];
    } else {
      process.stderr.write(`unknown argument "${args[at]}"\n${usage}`);
      process.exit(2);
    }
  }
}

function say(text) {
  process.stdout.write(`${text.replaceAll("\r", "").replace(/\n$/, "")}\n`);
}

/** Types a command and prints it with its output, as at a console. */
async function show(guest, command) {
  say(`aero:/# ${command}`);
  const { status, output } = await guest.run(command);
  say(output);
  return { ok: status === 0, output };
}

async function demo(world) {
  const { guest } = world;
  const worked = {};
  say("-- the guest boots: Debian's kernel in v86, its own e1000 driver, our card --");
  const [driver] = await guest.waitFor(/AERO: driver \S+\r\n/, BOOT_TIMEOUT_MS);
  say(driver);
  const [answer, , lease] = await guest.waitFor(/AERO: (no )?(lease.*)\r\n/, BOOT_TIMEOUT_MS);
  say(answer);
  worked.lease = lease.startsWith("lease 10.0.2.15/24");
  await guest.waitFor("aero:/# ", BOOT_TIMEOUT_MS);
  await show(guest, "dmesg | grep -i 'e1000.*eth0'");
  worked.ping = (await show(guest, "ping -c 3 10.0.2.2")).ok;
  const page = await show(guest, `wget -q -O - http://${SITE_NAME}/hello`);
  const there = await (await fetch(`http://127.0.0.1:${world.site.port}/hello`)).text();
  worked.page = page.ok && page.output === there;
  const { txFrames, txBytes, rxFrames, rxBytes, interrupts } = world.nic.stats();
  say(
    `-- card: ${txFrames} frames (${txBytes} bytes) out, ${rxFrames} (${rxBytes}) in, ${interrupts} interrupts; tunnel: ${world.tunnel.state} --`,
  );
  return worked;
}

parse(process.argv.slice(2));
let world;
let failed = true;
try {
  world = await World.open();
  say(`-- proxy at ${world.proxy.url}, web site at 127.0.0.1:${world.site.port} --`);
  const worked = await demo(world);
  for (const [what, ok] of Object.entries(worked)) say(`${what}: ${ok ? "worked" : "FAILED"}`);
  failed = Object.values(worked).includes(false);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
} finally {
  await world?.close();
}
process.exit(failed ? 1 : 0);
