// What an unmodified Linux must be able to do with a card of ours, whichever card it is. Each case
// reads like a person at the console; it stands on those before it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { linuxAppend } from "./cards.js";
import { BOOT_TIMEOUT_MS } from "./guest.js";
import { SITE_NAME, World } from "./world.js";

const FILE_BYTES = 16 * 1000 * 1000;
export const TRANSFER_TIMEOUT_MS = 300_000;

/** @typedef {import("./cards.js").Card} Card */
/**
 * @typedef {object} Case
 * @property {string} name
 * @property {(card: Card) => boolean} [when]  left out: every card must be able to do it
 * @property {boolean} [wire]  it needs the second card
 * @property {(world: World, card: Card) => Promise<void>} run
 */

/** SHA-256 of what the site's /blob gives, fetched without any of our doing. */
export async function sumOfBlob(site, bytes) {
  const answer = await fetch(`http://127.0.0.1:${site.port}/blob?bytes=${bytes}`);
  return createHash("sha256")
    .update(new Uint8Array(await answer.arrayBuffer()))
    .digest("hex");
}

/** @type {Case[]} */
export const linuxCases = [
  {
    name: "the kernel's own driver is bound to the card",
    run: async ({ guest, nic, zeroCopy }, card) => {
      const [, driver] = await guest.waitFor(/AERO: driver (\S+)\r\n/, BOOT_TIMEOUT_MS);
      assert.equal(driver, card.driver);
      assert.equal(nic.zeroCopy, zeroCopy, "whether the card lives in v86's memory");
    },
  },
  {
    name: "the proxy's DHCP gives 10.0.2.15, router and name server",
    run: async ({ guest }) => {
      const [, lease] = await guest.waitFor(/AERO: ((no )?lease.*)\r\n/, BOOT_TIMEOUT_MS);
      assert.match(lease, /^lease 10\.0\.2\.15\/24 router 10\.0\.2\.2 dns \d/);
      await guest.waitFor("AERO: ready");
      await guest.waitFor("aero:/# ");
    },
  },
  {
    name: "driver and card agree on exactly these virtio features",
    when: ({ features }) => features !== undefined,
    run: async ({ guest }, { features }) => {
      const bits = (await guest.must("cat /sys/class/net/eth0/device/features")).trim();
      const taken = [...bits].flatMap((bit, number) => (bit === "1" ? [number] : []));
      assert.deepEqual(
        taken,
        [...features].sort((a, b) => a - b),
      );
    },
  },
  {
    name: "the link is up at 1000 Mb/s, full duplex",
    run: async ({ guest }, card) => {
      const read = (file) => guest.must(`cat /sys/class/net/eth0/${file}`);
      assert.equal(await read("carrier"), "1\n");
      assert.equal(await read("address"), "52:54:00:12:34:56\n");
      if (card.speed === undefined) return;
      assert.equal(await read("speed"), `${card.speed}\n`);
      assert.equal(await read("duplex"), "full\n");
    },
  },
  {
    name: "the gateway answers pings",
    run: async (world) => {
      assert.match(
        await world.guest.must("ping -c 3 10.0.2.2"),
        /3 packets received, 0% packet loss/,
      );
      world.lossesAtStart = await world.losses();
    },
  },
  {
    name: "a name is resolved",
    run: async ({ guest }) => {
      assert.match(await guest.must(`nslookup ${SITE_NAME}`), /Address:? *(1: )?203\.0\.113\.10/);
    },
  },
  {
    name: "wget fetches a page",
    run: async ({ guest, site }) => {
      const here = await (await fetch(`http://127.0.0.1:${site.port}/hello`)).text();
      assert.equal(await guest.must(`wget -q -O - http://${SITE_NAME}/hello`), here);
    },
  },
  {
    name: "a download of 16 MB arrives unchanged",
    run: async ({ guest, site }) => {
      const here = await sumOfBlob(site, FILE_BYTES);
      await guest.must(
        `wget -q -O /tmp/file 'http://${SITE_NAME}/blob?bytes=${FILE_BYTES}'`,
        TRANSFER_TIMEOUT_MS,
      );
      const [sum] = (await guest.must("sha256sum /tmp/file", TRANSFER_TIMEOUT_MS)).split(" ");
      assert.equal(sum, here);
    },
  },
  {
    name: "an upload of 16 MB arrives unchanged",
    run: async ({ guest }) => {
      // busybox wget takes the file for a string: it ends at the first zero byte.
      await guest.must("tr '\\000' '\\001' </tmp/file >/tmp/upload", TRANSFER_TIMEOUT_MS);
      const [sum] = (await guest.must("sha256sum /tmp/upload", TRANSFER_TIMEOUT_MS)).split(" ");
      const answer = await guest.must(
        `wget -q -O - --post-file=/tmp/upload http://${SITE_NAME}/upload`,
        TRANSFER_TIMEOUT_MS,
      );
      assert.equal(answer, `${FILE_BYTES} bytes, sha256 ${sum}\n`);
    },
  },
  {
    name: "afterwards the carrier is up and the driver has nothing to complain of",
    run: async ({ guest }) => {
      assert.equal(await guest.must("cat /sys/class/net/eth0/carrier"), "1\n");
      const complaints = await guest.run(
        "dmesg | grep -iE 'Tx Unit Hang|Reset adapter|transmit queue .* timed out|NETDEV WATCHDOG'",
      );
      assert.equal(complaints.output, "");
      assert.equal(
        await guest.must(
          "cd /sys/class/net/eth0/statistics; cat [rt]x_errors [rt]x_dropped rx_missed_errors | sort -u; cd /",
        ),
        "0\n",
      );
    },
  },
  {
    name: "no frame was lost between guest and proxy",
    run: async (world) => {
      assert.deepEqual(await world.losses(), world.lossesAtStart);
    },
  },
  {
    name: "the driver sees the cable pulled and plugged in, and goes on", // last: frames may be lost
    run: async ({ guest, nic }) => {
      const carrier = (value) =>
        guest.must(`until [ "$(cat /sys/class/net/eth0/carrier)" = ${value} ]; do sleep 0.1; done`);
      nic.setLink(false);
      await carrier(0);
      nic.setLink(true);
      await carrier(1);
      assert.match(await guest.must("ping -c 1 10.0.2.2"), / 0% packet loss/);
    },
  },
];

/**
 * Registers all cases for one card; they run in one guest, each on the ground of those before it.
 * @param {Card} card
 * @param {Case[]} cases
 * @param {object} [options]  more options of World
 */
export function linuxSuite(card, cases, options = {}) {
  const way = options.zeroCopy === false ? ", its DMA by callbacks" : "";
  describe(`Linux with its own ${card.driver} driver, ${card.name}${way}`, () => {
    let world;
    let failed = false;
    before(async () => {
      world = await World.open({
        card,
        wire: cases.some(({ wire }) => wire),
        guest: { append: linuxAppend(card) },
        ...options,
      });
    });
    after(async () => {
      if (world === undefined) return;
      console.log(world.guest.text);
      console.log("card", world.nic.stats(), "tunnel", world.tunnel.stats());
      await world.close();
    });
    for (const { name, run, when = () => true } of cases) {
      if (!when(card)) continue;
      it(name, async (t) => {
        if (failed) return t.skip("a case it stands on has failed");
        failed = true;
        await run(world, card);
        failed = false;
      });
    }
  });
}
