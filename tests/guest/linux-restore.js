// The machine is saved in the middle of a download and goes on in another emulator, by v86's own
// saved state. What TCP has acknowledged nobody sends again: so the guest must not run on between
// saving and restoring, but whatever is on its way at that moment may get lost.
import assert from "node:assert/strict";
import { sumOfBlob, TRANSFER_TIMEOUT_MS } from "./linux-cases.js";
import { SITE_NAME } from "./world.js";

const FILE_BYTES = 16 * 1000 * 1000;
const SAVED_AFTER_BYTES = 4 * 1000 * 1000;

/** Resolves in the poll that has brought the guest so many bytes from now on. */
function whenReceived(nic, bytes) {
  const { poll } = nic;
  const wanted = nic.stats().rxBytes + bytes;
  return new Promise((resolve) => {
    nic.poll = () => {
      const more = poll.call(nic);
      if (nic.stats().rxBytes >= wanted) {
        delete nic.poll;
        resolve();
      }
      return more;
    };
  });
}

/** Saves the machine while a download is under way. */
async function saveInDownload(world) {
  const url = `http://${SITE_NAME}/blob?bytes=${FILE_BYTES}`;
  const received = () => world.nic.stats().rxBytes;
  const from = received();
  const underWay = whenReceived(world.nic, SAVED_AFTER_BYTES);
  await world.guest.must(`rm -f /tmp/file; { wget -q -O /tmp/file '${url}' & }`);
  await underWay;
  const state = await world.save();
  assert.ok(received() - from < FILE_BYTES, "the download was over before the machine was saved");
  return state;
}

async function finishDownload({ guest, site }) {
  await guest.must("wait $!", TRANSFER_TIMEOUT_MS);
  const [sum] = (await guest.must("sha256sum /tmp/file", TRANSFER_TIMEOUT_MS)).split(" ");
  assert.equal(sum, await sumOfBlob(site, FILE_BYTES));
}

/** With the cable out, the card drops what waits for it. Returns how many frames. */
function loseFramesOnTheWay(nic) {
  const before = nic.stats().rxDroppedOff;
  nic.setLink(false);
  while (nic.poll());
  nic.setLink(true);
  return nic.stats().rxDroppedOff - before;
}

export const restoreCases = [
  {
    name: "a download goes on in another emulator",
    run: async (world) => {
      await world.restore(await saveInDownload(world));
      await finishDownload(world);
    },
  },
  {
    name: "it does so although the frames on the way are lost",
    run: async (world) => {
      const state = await saveInDownload(world);
      assert.ok(loseFramesOnTheWay(world.nic) > 0);
      await world.restore(state);
      await finishDownload(world);
    },
  },
  {
    name: "with a new card and a new session of the tunnel, new connections work",
    run: async (world) => {
      await world.restoreElsewhere(await saveInDownload(world));
      const { guest, site } = world;
      await guest.run("kill $!; wait $!"); // the proxy knows nothing of the old connection
      const here = await (await fetch(`http://127.0.0.1:${site.port}/hello`)).text();
      assert.equal(await guest.must(`wget -q -O - http://${SITE_NAME}/hello`), here);
    },
  },
];
