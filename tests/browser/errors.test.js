// The demo page when something is wrong: each time it says what, and mends what can be mended.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startProxy } from "../../web-demo/proxy.js";
import { startSampleSite } from "../../web-demo/sample-site.js";
import { serve } from "../../web-demo/serve.js";
import {
  BOOT_MS,
  consoleShows,
  has,
  launchBrowser,
  leased,
  notice,
  PROXY,
  said,
  startDemo,
  text,
  withPage,
} from "./support.js";

// What Chromium itself logs when a connection is refused; the page must still say it in words.
const REFUSED_SOCKET = [/WebSocket connection to .* failed/, /Failed to load resource/];

async function freePort() {
  const probe = createServer();
  await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

let browser;
before(async () => {
  browser = await launchBrowser();
});
after(() => browser?.close());

describe("with the demo running", () => {
  let demo;
  before(async () => {
    demo = await startDemo();
  });
  after(() => demo?.stop());

  test("a wrong token is told apart from a proxy that is down", async () => {
    await withPage(browser, { expected: REFUSED_SOCKET }, async (page) => {
      await page.goto(demo.address.replace(/token=[^&]+/, "token=wrong"));
      await notice(page, "refused").waitFor({ timeout: BOOT_MS });
      assert.match(await said(page, "refused"), /refuses the tunnel.*token is wrong/s);
      assert.equal(await notice(page, "proxy-down").count(), 0);
      assert.match(await text(page, "tunnel"), /^(down|connecting)$/);
    });
  });

  test("a browser without WebAssembly is told so, and nothing is started", async () => {
    const before = (page) =>
      page.addInitScript(() => {
        delete globalThis.WebAssembly;
      });
    await withPage(browser, { before }, async (page) => {
      await page.goto(demo.address);
      await notice(page, "no-wasm").waitFor();
      assert.match(await said(page, "no-wasm"), /no WebAssembly/);
      assert.equal(page.workers().length, 0);
    });
  });

  test("an unusable option is named and its default taken", async () => {
    await withPage(browser, {}, async (page) => {
      await page.goto(`${demo.address}&memory=7&card=ne2000`);
      await page.getByText("memory= takes 96 to 1024 MiB; 128 is used instead.").waitFor();
      await page.getByText("card= takes e1000 or virtio-net; e1000 is used instead.").waitFor();
    });
  });
});

test("a proxy that is down: the page counts down; once it is up the guest comes online", async () => {
  const token = "let-me-in";
  const port = await freePort();
  const site = await startSampleSite();
  const server = await serve();
  const start = () =>
    startProxy({ binary: PROXY, token, origins: [server.origin], sitePort: site.port, port });
  let proxy;
  try {
    await withPage(browser, { expected: REFUSED_SOCKET }, async (page) => {
      await page.goto(`${server.origin}/#proxy=ws://127.0.0.1:${port}/l2&token=${token}`);
      await notice(page, "proxy-down").waitFor({ timeout: BOOT_MS });
      assert.match(await said(page, "proxy-down"), /Nothing answers at 127\.0\.0\.1:\d+/);
      await page.waitForFunction(() =>
        /Retrying in \d+ s\./.test(document.querySelector(".countdown")?.textContent),
      );

      // The guest gave up asking for an address; with the proxy there, the page's buttons mend it.
      await notice(page, "no-lease").waitFor({ timeout: BOOT_MS });
      proxy = await start();
      await notice(page, "proxy-down").getByRole("button", { name: "Try now" }).click();
      await has(page, "tunnel", /^open$/);
      assert.equal(await notice(page, "proxy-down").count(), 0);
      await notice(page, "no-lease").getByRole("button", { name: "Ask again" }).click();
      await leased(page);
      assert.equal(await notice(page, "no-lease").count(), 0);

      // It goes away and comes back while the guest runs.
      await proxy.stop();
      await notice(page, "proxy-down").waitFor();
      assert.equal(await text(page, "tunnel"), "down");
      proxy = await start();
      await has(page, "tunnel", /^open$/);
      await has(page, "reconnects", /^1$/);
      await page.getByRole("button", { name: "Fetch a page" }).click();
      await consoleShows(page, "Hello from the other side of the tunnel");
    });
  } finally {
    await proxy?.stop();
    await server.close();
    await site.close();
  }
});

test("a missing guest image: the page names the script that makes it", async () => {
  const guestDir = mkdtempSync(join(tmpdir(), "aero-no-guest-"));
  const server = await serve({ guestDir });
  try {
    await withPage(browser, { expected: [/Failed to load resource/] }, async (page) => {
      await page.goto(`${server.origin}/`);
      await notice(page, "error-image").waitFor();
      assert.match(await said(page, "error-image"), /run scripts\/guest/);
      assert.equal(await text(page, "boot-title"), "The guest could not be started");
    });
  } finally {
    await server.close();
    rmSync(guestDir, { recursive: true });
  }
});
