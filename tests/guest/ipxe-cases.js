// iPXE brings drivers of its own, which poll instead of waiting for interrupts. With a card of ours
// it must get a lease and boot our Linux over HTTP; that Linux then finds the card as iPXE left it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { BOOT_TIMEOUT_MS, imageFile, linuxOptions } from "./guest.js";
import { SITE_NAME, World } from "./world.js";

const served = ["bzImage", "initramfs.cpio"];

/** iPXE reports by fetching /report?…; a failing command falls through to the last line. */
function script(driver) {
  const site = `http://${SITE_NAME}`;
  return `#!ipxe
dhcp net0 || goto failed
imgfetch --name report ${site}/report?ip=\${net0/ip}&gateway=\${net0/gateway}&dns=\${net0/dns}&mac=\${net0/mac:hexhyp}&chip=\${net0/chip} || goto failed
imgfree report
kernel ${site}/bzImage initrd=initramfs.cpio ${linuxOptions} aero.driver=${driver} || goto failed
initrd ${site}/initramfs.cpio || goto failed
boot || goto failed
:failed
echo iPXE failed
sleep 3600
`;
}

/** Serves the guest image, and notes what was asked for. */
async function startBootSite(requests) {
  const waiting = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, `http://${SITE_NAME}`);
    const file = url.pathname.slice(1);
    const body = served.includes(file) ? Buffer.from(imageFile(file)) : Buffer.from("ok\n");
    response.writeHead(200, { "content-length": body.length }).end(body);
    response.once("finish", () => {
      requests.push({
        path: url.pathname,
        query: url.searchParams,
        agent: request.headers["user-agent"],
        bytes: body.length,
      });
      for (const look of waiting) look();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    /** Resolves with the request for a path, past or to come. */
    request: (path, timeoutMs) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`nobody asked for ${path} within ${timeoutMs} ms`)),
          timeoutMs,
        );
        const look = () => {
          const found = requests.find((request) => request.path === path);
          if (found === undefined) return;
          clearTimeout(timer);
          resolve(found);
        };
        waiting.push(look);
        look();
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections?.();
      }),
  };
}

/** @param {import("./cards.js").Card} card */
export function ipxeSuite(card) {
  describe(`iPXE with its own driver for our ${card.name}`, () => {
    const requests = [];
    let world;
    before(async () => {
      world = await World.open({
        card,
        startSite: () => startBootSite(requests),
        guest: {
          kernel: "ipxe.lkrn",
          initrd: new TextEncoder().encode(script(card.driver)),
          cmdline: "",
        },
      });
    });
    after(async () => {
      if (world === undefined) return;
      for (const { path, query, agent, bytes } of requests)
        console.log(`${agent}: ${path} ${query} ${bytes} bytes`);
      console.log(world.guest.text);
      console.log("card", world.nic.stats());
      await world.close();
    });

    it("gets a lease and fetches by HTTP", async () => {
      const { query, agent } = await world.site.request("/report", BOOT_TIMEOUT_MS);
      assert.match(agent, /^iPXE/);
      assert.equal(query.get("ip"), "10.0.2.15");
      assert.equal(query.get("gateway"), "10.0.2.2");
      assert.equal(query.get("mac"), "52-54-00-12-34-56");
      assert.match(query.get("chip"), card.ipxe);
    });

    it("boots our Linux over HTTP, whose driver takes the card over", async () => {
      for (const file of served) await world.site.request(`/${file}`, BOOT_TIMEOUT_MS);
      await world.guest.waitFor(`AERO: driver ${card.driver}\r\n`, BOOT_TIMEOUT_MS);
      await world.guest.waitFor("AERO: lease 10.0.2.15/24", BOOT_TIMEOUT_MS);
      await world.guest.waitFor("aero:/# ", BOOT_TIMEOUT_MS);
      assert.equal(await world.guest.must("cat /sys/class/net/eth0/carrier"), "1\n");
    });
  });
}
