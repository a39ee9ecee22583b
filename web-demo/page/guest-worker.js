/*
 * guest-worker.js - the emulator, the card and the tunnel's owner, off the page's thread.
 *
 * In:  start { modules, proxy, token, model, memoryMib }, type { text }, link { up },
 *      tunnel { wanted }: true begins a new one, whatever there was
 * Out: phase { phase }, progress { loaded, total }, serial { bytes }, stats { … },
 *      tunnel { state, … }, rebooted {}, error { stage, message }
 */
const IMAGE = new URL("./guest/", import.meta.url); // made by scripts/guest
const MAC = "52:54:00:12:34:56";
// Most of it saves boot time: checks and registrations that an emulated PC has no use for.
const SKIPPED_CALLS =
  "crypto_kdf108_init,load_system_certificate_list,init_kprobe_trace,software_resume";
const COMMAND_LINE = [
  "console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on quiet loglevel=0",
  `cryptomgr.notests noisapnp initcall_blacklist=${SKIPPED_CALLS}`,
].join(" ");
const MIB = 1024 * 1024;
const STATS_MS = 250;
const SERIAL_MS = 8; // the console's bytes travel in pieces of so long

// The round trip is shown while one looks: ask more often than the protocol's default.
const KEEPALIVE_MS = { keepaliveMinMs: 1000, keepaliveMaxMs: 3000 };

const encoder = new TextEncoder();

let emulator = null;
let nic = null;
let tunnel = null;
let connectTunnel = null;
let settings = null;

const say = (message, transfer = []) => postMessage(message, transfer);

/** Runs one stage of the start; a failure is told with the stage it belongs to. */
async function stage(name, work) {
  say({ say: "phase", phase: name });
  try {
    return await work();
  } catch (error) {
    error.stage ??= name;
    throw error;
  }
}

/** Sums the downloads so that one bar can show them. */
class Downloads {
  #files = new Map();

  /** @returns {Promise<ArrayBuffer>} */
  async get(url) {
    const name = new URL(url).pathname.split("/").at(-1);
    const response = await fetch(url).catch((error) => {
      throw new Error(`${name} could not be fetched (${error.message})`);
    });
    if (!response.ok) {
      const why = (await response.text()).trim().split("\n", 1)[0].slice(0, 200);
      throw new Error(`${name}: ${response.status} ${why || response.statusText}`);
    }
    const total = Number(
      response.headers.get("x-file-bytes") ?? response.headers.get("content-length") ?? 0,
    );
    const progress = { loaded: 0, total };
    this.#files.set(url, progress);
    const pieces = [];
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      progress.loaded += value.byteLength;
      this.#tell();
    }
    progress.total = progress.loaded;
    this.#tell();
    return new Blob(pieces).arrayBuffer();
  }

  #tell() {
    const sum = { say: "progress", loaded: 0, total: 0 };
    for (const { loaded, total } of this.#files.values()) {
      sum.loaded += loaded;
      sum.total += Math.max(loaded, total);
    }
    say(sum);
  }
}

function openTunnel() {
  let opened;
  try {
    opened = connectTunnel(nic, {
      url: settings.proxy,
      token: settings.token || undefined,
      ...KEEPALIVE_MS,
    });
  } catch (error) {
    // The guest is none the worse: it boots without a network.
    say({ say: "tunnel", state: "stopped", problem: error.message });
    return;
  }
  tunnel = opened;
  const tell = (problem) => {
    if (tunnel === opened) say({ say: "tunnel", state: opened.state, problem });
  };
  opened.addEventListener("state", () => tell());
  opened.addEventListener("error", ({ detail }) => tell(detail.message));
  tell();
}

function closeTunnel() {
  const ending = tunnel;
  tunnel = null; // first: its last events are of no interest
  ending?.close();
}

/** Collects the console's bytes; one message each few milliseconds instead of one each byte. */
function pipeSerial() {
  let waiting = [];
  const flush = () => {
    const bytes = Uint8Array.from(waiting);
    waiting = [];
    say({ say: "serial", bytes }, [bytes.buffer]);
  };
  emulator.add_listener("serial0-output-byte", (byte) => {
    if (waiting.length === 0) setTimeout(flush, SERIAL_MS);
    waiting.push(byte);
  });
}

function reportStats() {
  say({
    say: "stats",
    at_ms: performance.now(),
    model: nic.model,
    mac: nic.mac,
    link: nic.link,
    isolated: self.crossOriginIsolated === true,
    instructions: emulator.get_instruction_counter(),
    card: nic.stats(),
    tunnel: tunnel?.stats() ?? null,
  });
}

async function start({ modules, ...given }) {
  settings = given;
  const downloads = new Downloads();
  const { V86, v86Wasm, package_, attachNic } = await stage("emulator", async () => {
    const [v86, aeroNic, adapter, wasm] = await Promise.all([
      import(modules.v86),
      import(modules["aero-nic"]),
      import(modules["aero-nic/v86"]),
      downloads.get(new URL("v86.wasm", modules.v86).href),
    ]);
    return { V86: v86.V86, v86Wasm: wasm, package_: aeroNic, attachNic: adapter.attachNic };
  });
  connectTunnel = package_.connectTunnel;
  nic = await stage("card", () => package_.createNic({ model: given.model, mac: MAC }));

  const [bios, kernel, initrd] = await stage("image", async () => {
    const names = ["bios.bin", "bzImage", "initramfs.cpio"];
    return Promise.all(names.map((name) => downloads.get(new URL(name, IMAGE).href)));
  });

  await stage("boot", async () => {
    emulator = new V86({
      wasm_fn: async (imports) =>
        (await WebAssembly.instantiate(v86Wasm, imports)).instance.exports,
      memory_size: settings.memoryMib * MIB,
      vga_memory_size: 2 * MIB,
      bios: { buffer: bios },
      bzimage: { buffer: kernel },
      initrd: { buffer: initrd },
      cmdline: COMMAND_LINE,
      net_device: { type: "none" },
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      autostart: true,
    });
    const card = attachNic(emulator, nic, { slot: 3 });
    pipeSerial();
    await card.ready;
    // The kernel was put into memory once; a reset finds it overwritten. The page starts afresh.
    emulator.v86.cpu.reboot_internal = () => {
      emulator.stop();
      say({ say: "rebooted" });
    };
    openTunnel();
    setInterval(reportStats, STATS_MS);
  });
}

const actions = {
  start,
  type: ({ text }) => emulator?.serial_send_bytes(0, encoder.encode(text)),
  link: ({ up }) => nic?.setLink(up),
  tunnel: ({ wanted }) => {
    if (!nic) return;
    closeTunnel();
    if (wanted) openTunnel();
    else say({ say: "tunnel", state: "stopped" });
  },
};

addEventListener("message", async ({ data }) => {
  try {
    await actions[data.do](data);
  } catch (error) {
    say({ say: "error", stage: error.stage ?? data.do, message: error.message });
  }
});
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  say({ say: "error", stage: "guest", message: String(event.reason?.message ?? event.reason) });
});
