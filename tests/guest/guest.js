// A guest in v86 under Node: the image of scripts/guest, its serial line, and waiting for what it
// says. Waits are driven by the guest's output; time limits only say when to give up.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { V86 } from "v86";

const root = new URL("../../", import.meta.url);
const v86Wasm = createRequire(import.meta.url).resolve("v86/build/v86.wasm");

/** What halves the boot: no self tests, no probing for hardware that v86 does not have. */
export const linuxOptions = [
  "console=ttyS0 tsc=reliable mitigations=off random.trust_cpu=on quiet loglevel=0",
  "cryptomgr.notests noisapnp",
  "initcall_blacklist=crypto_kdf108_init,load_system_certificate_list,init_kprobe_trace,software_resume",
].join(" ");

/** How long a boot may take on a machine that is busy with other tests. */
export const BOOT_TIMEOUT_MS = 180_000;

export class GuestTimeout extends Error {}

/** Where scripts/guest put its products. */
export function imageDir() {
  return process.env.AERO_GUEST_DIR ?? fileURLToPath(new URL(".cache/guest", root));
}

/** A product of scripts/guest as an ArrayBuffer. @param {string} name */
export function imageFile(name) {
  const file = `${imageDir()}/${name}`;
  let bytes;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Error(`no guest image (${file}): run scripts/guest first`, { cause: error });
  }
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

/** One running guest. It owns its emulator from the constructor until destroy(). */
export class Guest {
  emulator;
  transcript = "";
  #mark = 0; // what lies before it has been waited for already
  #waiting = new Set();
  #serial = 0; // numbers the commands of run()

  /**
   * @param {object} options
   * @param {string} [options.kernel]  product of scripts/guest to boot
   * @param {string | Uint8Array} [options.initrd]  product of scripts/guest, or bytes
   * @param {string} [options.append]  added to the kernel command line
   * @param {string} [options.cmdline]  instead of the usual kernel command line
   * @param {number} [options.memoryBytes]
   * @param {ArrayBuffer} [options.multiboot]  boot this image instead of a Linux kernel
   * @param {object} [options.netDevice]  v86's own card; none by default
   * @param {ArrayBuffer} [options.state]  a saved state to start from
   * @param {(text: string) => void} [options.onText]  sees the serial output as it comes
   */
  constructor(options = {}) {
    const { kernel = "bzImage", initrd = "initramfs.cpio", append = "" } = options;
    this.onText = options.onText ?? (() => {});
    const boot = options.multiboot
      ? { multiboot: { buffer: options.multiboot } }
      : {
          bzimage: { buffer: imageFile(kernel) },
          initrd: {
            buffer: typeof initrd === "string" ? imageFile(initrd) : initrd.slice().buffer,
          },
          cmdline: options.cmdline ?? `${linuxOptions} ${append}`.trim(),
        };
    this.emulator = new V86({
      ...boot,
      wasm_path: v86Wasm,
      bios: { buffer: imageFile("bios.bin") },
      memory_size: options.memoryBytes ?? 128 << 20,
      initial_state: options.state === undefined ? undefined : { buffer: options.state },
      net_device: options.netDevice ?? { type: "none" },
      autostart: true,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      log_level: 0,
    });
    const decoder = new TextDecoder();
    this.emulator.add_listener("serial0-output-byte", (byte) =>
      this.#hear(decoder.decode(Uint8Array.of(byte), { stream: true })),
    );
  }

  #hear(text) {
    if (text === "") return;
    this.transcript += text;
    this.onText(text);
    for (const waiter of this.#waiting) waiter.look();
  }

  /**
   * Waits until the guest has said something that nobody has waited for yet.
   * @param {string | RegExp} pattern
   * @returns {Promise<RegExpExecArray>}  the match; what comes after it is for the next wait
   */
  waitFor(pattern, timeoutMs = 60_000) {
    const regex =
      typeof pattern === "string"
        ? new RegExp(RegExp.escape?.(pattern) ?? quote(pattern))
        : pattern;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        reject(
          new GuestTimeout(
            `no ${regex} within ${timeoutMs} ms; the guest's last words:\n${this.transcript.slice(-2000)}`,
          ),
        );
      }, timeoutMs);
      const waiter = {
        timer,
        look: () => {
          const match = regex.exec(this.transcript.slice(this.#mark));
          if (match === null) return;
          this.#mark += match.index + match[0].length;
          this.#waiting.delete(waiter);
          clearTimeout(timer);
          resolve(match);
        },
      };
      this.#waiting.add(waiter);
      waiter.look();
    });
  }

  /** Types into the guest's serial line. @param {string} text */
  type(text) {
    this.emulator.serial0_send(text);
  }

  /**
   * Runs a command in the guest's shell and waits for its end.
   * @param {string} command
   * @returns {Promise<{ status: number, output: string }>}
   */
  async run(command, timeoutMs = 60_000) {
    const serial = ++this.#serial;
    // The quotes keep the marks out of the terminal's echo of this very line.
    this.type(`echo "<""begin ${serial}>"; ${command}; echo "<""end ${serial} $?>"\n`);
    await this.waitFor(`<begin ${serial}>\r\n`, timeoutMs);
    const match = await this.waitFor(new RegExp(`([^]*)<end ${serial} (\\d+)>`), timeoutMs);
    return { status: Number(match[2]), output: match[1].replaceAll("\r", "") };
  }

  /** Like run(), but a failing command is an error. */
  async must(command, timeoutMs) {
    const { status, output } = await this.run(command, timeoutMs);
    if (status !== 0) throw new Error(`the guest's "${command}" ended with ${status}:\n${output}`);
    return output;
  }

  /** Instructions executed so far; the counter is 32 bits wide, so take differences mod 2^32. */
  instructions() {
    return this.emulator.get_instruction_counter();
  }

  /** What it said, as text to read: without line-end marks and the shell's terminal queries. */
  get text() {
    return this.transcript.replaceAll("\r", "").replaceAll("\u001b[6n", "");
  }

  async destroy() {
    for (const waiter of this.#waiting) clearTimeout(waiter.timer);
    this.#waiting.clear();
    await this.emulator.destroy();
  }
}

function quote(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
