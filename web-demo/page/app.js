/*
 * app.js - the page: joins guest, console, chart and status, and says what goes wrong.
 */
import { BootProgress } from "./boot.js";
import { ThroughputChart } from "./chart.js";
import { GuestConsole } from "./console.js";
import { Guest } from "./guest.js";
import { Notices } from "./notices.js";
import { addressWithCard, addressWithIsolation, CARDS, readOptions } from "./options.js";
import { proxyAnswers } from "./probe.js";
import { setFlow, setHop, showAllCounters, showStats } from "./status.js";

const SITE = "http://web.test";
const MIB = 1024 * 1024;
const COMMANDS = {
  "do-fetch": `wget -qO- ${SITE}/hello`,
  "do-download": `time wget -qO /dev/null '${SITE}/blob?bytes=${16 * MIB}'`,
  // Dots, since busybox wget stops at a NUL.
  "do-upload":
    "dd if=/dev/zero bs=1M count=16 2>/dev/null | tr '\\0' . >/tmp/up; " +
    `time wget -qO- --post-file=/tmp/up ${SITE}/upload; rm /tmp/up`,
};
const KILL_LINE = "\x15"; // Ctrl-U: whatever stood on the line already is not run

const byId = (id) => document.getElementById(id);
const options = readOptions(location);
const notices = new Notices(byId("notices"));

/** What is known of the running guest; begins anew with every power cycle. */
const fresh = () => ({
  spoke: false,
  prompt: false,
  lease: null,
  link: null, // true, false; null: not yet known
  tunnel: null, // the worker's last "tunnel" message
  tunnelWanted: true,
  everOpen: false,
  opens: 0,
  refusals: 0, // in a row
  retryAt_ms: 0,
  last: null, // last stats
});
let state = fresh();

function announce(text) {
  byId("announcer").textContent = text;
}

function supported() {
  if (typeof WebAssembly !== "object" || typeof WebAssembly.instantiate !== "function") {
    notices.show("no-wasm", {
      level: "error",
      title: "This browser has no WebAssembly",
      text: "Emulator and network card are WebAssembly modules. It may be switched off by a setting, a policy or a lockdown mode.",
    });
    return false;
  }
  if (typeof Worker !== "function" || typeof import.meta.resolve !== "function") {
    notices.show("too-old", {
      level: "error",
      title: "This browser is too old",
      text: "The page needs module workers and import maps: any browser from 2023 on has them.",
    });
    return false;
  }
  return true;
}

function showIsolation() {
  const isolated = globalThis.crossOriginIsolated === true;
  const badge = byId("isolation");
  badge.textContent = isolated ? "cross-origin isolated" : "not isolated";
  badge.dataset.isolated = String(isolated);
  const link = byId("isolation-switch");
  link.hidden = false;
  link.href = addressWithIsolation(location, !isolated);
  link.textContent = isolated ? "try without" : "try with";
  if (!isolated) {
    notices.show("not-isolated", {
      level: "info",
      title: "Running without cross-origin isolation",
      text: "There is no SharedArrayBuffer here, so the tunnel's pump shares a thread with the guest. Everything works.",
    });
  }
}

function showCard() {
  byId("card-name").textContent = CARDS[options.model].text;
  byId("guest-detail").textContent = `Debian kernel, its own ${CARDS[options.model].driver} driver`;
  const other = Object.keys(CARDS).find((model) => model !== options.model);
  const link = byId("card-switch");
  link.hidden = false;
  link.href = addressWithCard(location, other);
  link.textContent = `try ${other}`;
}

// ---- tunnel and proxy

const STATES = {
  connecting: ["wait", "connecting"],
  open: ["good", "open"],
  closed: ["bad", "down"],
  stopped: ["off", "disconnected"],
};

const RESTART_ATTEMPTS = 3; // a proxy that was up gets so many to come back before we blame it

function connectAnew() {
  state.refusals = 0;
  guest.setTunnel(true);
}

async function explainTunnel(guestState) {
  const answers = await proxyAnswers(options.proxy);
  if (guestState !== state || state.tunnel?.state === "open" || !state.tunnelWanted) return;
  const where = new URL(options.proxy).host;
  const action = { label: "Try now", run: connectAnew };
  if (answers && (!state.everOpen || state.refusals > RESTART_ATTEMPTS)) {
    setHop("proxy", "bad", where, "refuses the tunnel");
    notices.hide("proxy-down");
    notices.show("refused", {
      level: "error",
      title: "The proxy refuses the tunnel",
      text: `It answers at ${where}, but does not let this page in: ${
        options.token ? "the token is wrong" : "the address holds no token"
      }, or this page's origin (${location.origin}) is not on its list.`,
      action,
    });
    return;
  }
  if (answers) {
    setHop("proxy", "wait", where, "answers again");
    return;
  }
  setHop("proxy", "bad", where, "does not answer");
  notices.hide("refused");
  notices.show("proxy-down", {
    level: "error",
    title: "The proxy does not answer",
    text: `Nothing answers at ${where}. Is it running? scripts/demo starts one. The guest lives on without a network.`,
    action,
  });
}

function onTunnel(message) {
  const before = state.tunnel?.state;
  state.tunnel = message;
  const [health, word] = STATES[message.state] ?? ["wait", message.state];
  if (message.state === "open") {
    if (before !== "open") {
      state.opens++;
      state.refusals = 0;
      announce("Tunnel open");
    }
    state.everOpen = true;
    notices.hide("proxy-down");
    notices.hide("refused");
    notices.hide("tunnel-problem");
    setHop("proxy", "good", new URL(options.proxy).host, "user-space NAT");
    setHop("tunnel", health, word, "first round trip pending");
  } else {
    setHop("tunnel", health, word, message.state === "stopped" ? "until you connect it" : "");
    if (message.state === "closed") {
      state.retryAt_ms = performance.now() + retryDelay_ms(state.refusals++);
      if (before === "open") announce("Tunnel lost");
      explainTunnel(state);
    }
    if (message.state === "stopped" && !state.tunnelWanted) {
      notices.hide("proxy-down");
      notices.hide("refused");
      setHop("proxy", "off", new URL(options.proxy).host, "not in use");
    }
  }
  // While it cannot connect, explainTunnel() finds the better words.
  if (message.problem && (message.state === "open" || message.state === "stopped")) {
    notices.show("tunnel-problem", {
      level: message.state === "stopped" ? "error" : "warning",
      title: message.state === "stopped" ? "The tunnel has given up" : "The tunnel reports",
      text: message.problem,
    });
  }
  showButtons();
}

/** The client's backoff (l2-tunnel §9.4): it adds a fifth at most, either way, by chance. */
function retryDelay_ms(refusals) {
  return Math.min(250 * 2 ** refusals, 30_000);
}

function countDown() {
  if (state.tunnel?.state !== "closed" && state.tunnel?.state !== "connecting") return;
  const seconds = Math.ceil((state.retryAt_ms - performance.now()) / 1000);
  const text = seconds > 0 ? `Retrying in ${seconds} s.` : "Retrying now.";
  for (const key of ["proxy-down", "refused"]) notices.countdown(key, text);
  if (state.tunnel.state === "closed") setHop("tunnel", "bad", "down", text);
}

// ---- guest

function onConsoleLine(line) {
  const said = /^AERO: (.*)$/.exec(line)?.[1];
  if (said === undefined) return;
  const lease = /^lease (\d+\.\d+\.\d+\.\d+)\//.exec(said);
  if (lease) {
    state.lease = lease[1];
    notices.hide("no-lease");
    setHop("guest", "good", state.lease, "leased by DHCP");
    byId("hop-guest").dataset.lease = state.lease;
    announce(`Lease ${state.lease}`);
  } else if (said === "no lease") {
    notices.show("no-lease", {
      level: "warning",
      title: "The guest got no address",
      text: "Nobody answered its DHCP requests while it booted.",
      action: { label: "Ask again", run: () => command("udhcpc -n -q -i eth0") },
    });
    setHop("guest", "bad", "no lease");
  } else if (said.startsWith("no eth0") || said.startsWith("insmod ")) {
    notices.show("no-driver", {
      level: "error",
      title: "The guest's driver did not take the card",
      text: said,
    });
    setHop("guest", "bad", "no network card");
  } else if (said.startsWith("driver ")) {
    setHop("guest", "wait", "asking DHCP", `driver ${said.slice(7)}`);
  }
  showButtons();
}

function command(text) {
  guest.type(`${KILL_LINE}${text}\r`);
  terminal.focus();
}

function onStats(stats) {
  const before = state.last;
  state.last = stats;
  if (state.link !== stats.link) {
    state.link = stats.link;
    setHop("card", stats.link ? "good" : "off", stats.link ? "link up" : "link down");
    if (before) announce(stats.link ? "Link up" : "Link down");
  }
  byId("card-detail").textContent = `${stats.model} · ${stats.mac}`;
  const seconds = before ? (stats.at_ms - before.at_ms) / 1000 : 0;
  if (seconds <= 0) return;
  const rate = (now, then) => Math.max(0, (now ?? 0) - (then ?? 0)) / seconds;
  const rates = {
    down: rate(stats.card.rxBytes, before.card.rxBytes) * 8,
    up: rate(stats.card.txBytes, before.card.txBytes) * 8,
    // The emulator's counter has 32 bits.
    instructions: ((stats.instructions - before.instructions) >>> 0) / seconds,
  };
  chart.add(stats.at_ms / 1000, rates.down, rates.up);
  showStats(stats, rates, chart.peaks);
  byId("reconnects").textContent = String(Math.max(0, state.opens - 1));
  const rtt = byId("rtt").textContent;
  if (state.tunnel?.state === "open" && rtt !== "–") {
    setHop("tunnel", "good", "open", `${rtt} round trip`);
  }
  setFlow(rates.down, rates.up);
  showAllCounters(stats);
  showButtons();
}

function onError({ stage, message }) {
  const hint = { image: "The guest", emulator: "The emulator", card: "The card" }[stage];
  notices.show(`error-${stage}`, {
    level: "error",
    title: hint ? `${hint} could not be loaded` : "The guest has failed",
    text: message,
  });
  if (!state.spoke) boot.failed();
  setHop("guest", "bad", "failed", "see the message");
}

// ---- buttons

function showButtons() {
  const online = state.prompt && state.lease !== null;
  for (const id of Object.keys(COMMANDS)) byId(id).disabled = !online;
  const link = byId("do-link");
  link.disabled = state.link === null;
  link.textContent = state.link === false ? "Plug the cable in" : "Pull the cable";
  const tunnel = byId("do-tunnel");
  tunnel.disabled = state.tunnel === null;
  tunnel.textContent = state.tunnelWanted ? "Disconnect the tunnel" : "Connect the tunnel";
}

function connectButtons() {
  for (const [id, text] of Object.entries(COMMANDS)) {
    byId(id).addEventListener("click", () => command(text));
  }
  byId("do-link").addEventListener("click", () => guest.setLink(!state.link));
  byId("do-tunnel").addEventListener("click", () => {
    state.tunnelWanted = !state.tunnelWanted;
    if (state.tunnelWanted) connectAnew();
    else guest.setTunnel(false);
    showButtons();
  });
  byId("do-reboot").addEventListener("click", powerCycle);
}

function powerCycle() {
  guest.stop();
  const keep = notices.has("not-isolated");
  notices.clear();
  if (keep) showIsolation();
  terminal.reset();
  state = fresh();
  delete byId("hop-guest").dataset.lease;
  for (const hop of ["guest", "card", "tunnel", "proxy"]) {
    setHop(hop, "wait", hop === "guest" ? "starting" : "not yet");
  }
  setFlow(0, 0);
  showButtons();
  boot.begin();
  guest.start();
  announce("Guest starting");
}

// ---- start

let guest;
let terminal;
let chart;
let boot;

function run() {
  for (const problem of options.problems) {
    notices.show(`option-${problem}`, {
      level: "warning",
      title: "An option in the address is not usable",
      text: problem,
    });
  }
  if (!supported()) {
    byId("boot").hidden = true;
    byId("do-reboot").disabled = true;
    setHop("guest", "bad", "cannot start", "see the message");
    return;
  }
  showCard();
  showIsolation();
  terminal = new GuestConsole(byId("console"));
  chart = new ThroughputChart(byId("chart"));
  boot = new BootProgress();
  guest = new Guest(options);

  terminal.addEventListener("input", ({ detail }) => guest.type(detail));
  terminal.addEventListener("line", ({ detail }) => onConsoleLine(detail));
  terminal.addEventListener("leave", () => byId("do-reboot").focus());
  terminal.addEventListener("prompt", () => {
    if (state.prompt) return;
    state.prompt = true;
    showButtons();
  });

  guest.addEventListener("phase", ({ detail }) => boot.phase(detail.phase));
  guest.addEventListener("progress", ({ detail }) => boot.progress(detail));
  guest.addEventListener("serial", ({ detail }) => {
    if (!state.spoke) {
      state.spoke = true;
      boot.done();
      setHop("guest", "wait", "booting");
    }
    notices.hide("silent");
    terminal.write(detail.bytes);
  });
  guest.addEventListener("stats", ({ detail }) => onStats(detail));
  guest.addEventListener("tunnel", ({ detail }) => onTunnel(detail));
  guest.addEventListener("error", ({ detail }) => onError(detail));
  guest.addEventListener("rebooted", powerCycle);
  guest.addEventListener("silent", () => {
    notices.show("silent", {
      level: "warning",
      title: "The guest's worker is silent",
      text: "It has not reported for some seconds. The browser may have paused it; power cycling helps if it stays so.",
    });
  });

  connectButtons();
  boot.begin();
  guest.start();
  setInterval(countDown, 250);
}

run();
