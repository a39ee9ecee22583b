// U-Boot brings drivers of its own, which poll; that of the 82540 owes nothing to Linux's or iPXE's
// and works with eight receive descriptors. With a card of ours it must get a lease, reach its
// gateway and fetch files by TFTP.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { BOOT_TIMEOUT_MS, imageFile } from "./guest.js";
import { startTftp } from "./tftp.js";
import { ubootImage } from "./uboot.js";
import { SITE_ADDRESS, World } from "./world.js";

const PROMPT = "=> ";
const FILES = ["bzImage", "initramfs.cpio"]; // of some size, and there anyway
const LOAD_AT = "2000000";

/** CRC-32 as gzip's trailer has it (RFC 1952 §2.3.1); Node 18's zlib offers it no other way. */
function crc32(bytes) {
  const packed = gzipSync(bytes, { level: 0 });
  return packed.readUInt32LE(packed.length - 8);
}

/** What stands between the echo of a command and the next prompt. */
async function command(guest, text, timeoutMs = BOOT_TIMEOUT_MS) {
  guest.type(`${text}\n`);
  await guest.waitFor(`${text}\r\n`, timeoutMs);
  const [, output] = await guest.waitFor(/^([\s\S]*\n)?=> $/, timeoutMs);
  return (output ?? "").replaceAll("\r", "");
}

const hex = (number) => number.toString(16);

/** @param {import("./cards.js").Card} card */
export function ubootSuite(card) {
  describe(`U-Boot with its own driver for our ${card.name}`, () => {
    const images = new Map(FILES.map((name) => [name, new Uint8Array(imageFile(name))]));
    let world;
    before(async () => {
      world = await World.open({
        card,
        startSite: () => startTftp((name) => images.get(name)),
        udp: 69,
        guest: { multiboot: ubootImage() },
      });
    });
    after(async () => {
      if (world === undefined) return;
      console.log(world.guest.text);
      console.log("card", world.nic.stats());
      await world.close();
    });

    it("finds the card and its MAC", async () => {
      const { guest } = world;
      await guest.waitFor("Hit any key to stop autoboot", BOOT_TIMEOUT_MS);
      guest.type("\n");
      await guest.waitFor(PROMPT);
      await command(guest, "virtio scan");
      const [, device, mac] = /^eth0 : (\S+) (\S+)/.exec(await command(guest, "net list"));
      assert.deepEqual({ device, mac }, card.uboot);
    });

    it("gets a lease", async () => {
      const { guest } = world;
      await command(guest, "setenv autoload no");
      assert.match(await command(guest, "dhcp"), /DHCP client bound to address 10\.0\.2\.15 /);
      assert.match(await command(guest, "printenv gatewayip"), /gatewayip=10\.0\.2\.2$/m);
    });

    it("reaches the gateway", async () => {
      assert.match(await command(world.guest, "ping 10.0.2.2"), /host 10\.0\.2\.2 is alive/);
    });

    it("fetches files by TFTP, unchanged", async () => {
      const { guest } = world;
      await command(guest, `setenv serverip ${SITE_ADDRESS}`);
      await command(guest, "setenv tftpwindowsize 16");
      for (const [name, image] of images) {
        const said = await command(guest, `tftpboot ${LOAD_AT} ${name}`);
        assert.match(said, new RegExp(`^Bytes transferred = ${image.length} `, "m"));
        const sum = await command(guest, `crc32 ${LOAD_AT} ${hex(image.length)}`);
        assert.equal(/==> (\w+)/.exec(sum)[1], hex(crc32(image)).padStart(8, "0"));
      }
    });
  });
}
