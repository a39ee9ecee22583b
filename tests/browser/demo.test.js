// The demo page in a real browser: a guest boots, leases, fetches; and each way it can go wrong.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
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
  launchBrowser,
  leased,
  PROXY,
  picturePath,
  STEP_MS,
  startDemo,
  withPage,
} from "./support.js";

// What Chromium itself logs when a connection is refused; the page must still say it in words.
const REFUSED_SOCKET = [/WebSocket connection to .* failed/, /Failed to load resource/];

const text = (page, id) => page.locator(`#${id}`).textContent();
const has = (page, id, pattern) =>
  page.waitForFunction(
    ([element, source]) =>
      new RegExp(source).test(document.getElementById(element)?.textContent ?? ""),
    [id, pattern.source],
    { timeout: STEP_MS },
  );
const said = (page, key) => notice(page, key).textContent();
const notice = (page, key) => page.locator(`[data-notice="${key}"]`);

/** Rows of the page's numbers as numbers: "16.8 MB" is 16.8e6. */
async function amount(page, id) {
  const [, digits, unit = ""] = /^([\d,.]+)\s*([kMGT]?)B?$/.exec(await text(page, id));
  return Number(digits.replaceAll(",", "")) * { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[unit];
}

/** Pixels of the chart that have its colours: the axes alone are grey. */
function colouredPixels(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector("#chart canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let coloured = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue, alpha] = data.subarray(at, at + 4);
      if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 80) coloured++;
    }
    return coloured;
  });
}

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
  after(async () => {
    if (demo) assert.equal(await demo.stop(), 0, "demo.js ends cleanly at Ctrl-C");
  });

  test("a guest boots, leases an address, fetches, downloads and uploads", async () => {
    await withPage(browser, {}, async (page) => {
      await page.goto(demo.address);
      assert.equal(await page.evaluate(() => crossOriginIsolated), true);
      await leased(page);
      assert.equal(await text(page, "lease"), "10.0.2.15");
      assert.match(await text(page, "guest-detail"), /DHCP/);
      assert.equal(await text(page, "link"), "link up");
      assert.equal(await text(page, "card-detail"), "e1000 · 52:54:00:12:34:56");
      assert.equal(await text(page, "tunnel"), "open");
      assert.match(await text(page, "proxy"), /^127\.0\.0\.1:\d+$/);
      assert.equal(await page.locator("#boot").isVisible(), false);

      await page.getByRole("button", { name: "Fetch a page" }).click({ timeout: STEP_MS });
      await consoleShows(page, "Hello from the other side of the tunnel");

      await page.getByRole("button", { name: "Download 16 MB" }).click();
      await consoleShows(page, "real");
      await has(page, "rx-bytes", /^(1[6-9]|2\d)(\.\d)? MB$/);
      assert.ok((await amount(page, "peak-down")) > 1, "the chart saw the download");
      assert.ok((await amount(page, "rx-frames")) >= 16777216 / 1460);

      await page.getByRole("button", { name: "Upload 16 MB" }).click();
      await consoleShows(
        page,
        "16777216 bytes, sha256 0d9cc0abf8a4081aae9052605ec16439edb7b38c215318a5cb69aa708cbbff32",
      );
      await has(page, "tx-bytes", /^(1[6-9]|2\d)(\.\d)? MB$/);
      assert.ok((await amount(page, "peak-up")) > 1, "the chart saw the upload");
      assert.ok((await colouredPixels(page)) > 200, "the chart is drawn");
      await has(page, "rtt", /^(< )?[\d.]+ ms$/);
      assert.equal(await text(page, "reconnects"), "0");
      assert.match(await text(page, "mips"), /^\d+ M instr\/s$/);

      await page.screenshot({ path: picturePath("demo.png") });
      assert.ok(statSync(picturePath("demo.png")).size > 20_000);

      await page.getByRole("button", { name: "Pull the cable" }).click();
      await has(page, "link", /^link down$/);
      await page.getByRole("button", { name: "Plug the cable in" }).click();
      await has(page, "link", /^link up$/);

      await page.getByRole("button", { name: "Disconnect the tunnel" }).click();
      await has(page, "tunnel", /^disconnected$/);
      await page.getByRole("button", { name: "Connect the tunnel" }).click();
      await has(page, "tunnel", /^open$/);
      await has(page, "reconnects", /^1$/);

      await page.locator("#console").click();
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.tagName), "TEXTAREA");
      await page.keyboard.press("Control+BracketRight");
      assert.equal(await page.evaluate(() => document.activeElement.id), "do-reboot");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#hop-guest:not([data-lease])");
      await leased(page);
    });
  });

  test("without cross-origin isolation everything works, and the page says so", async () => {
    await withPage(browser, {}, async (page) => {
      await page.goto(demo.address.replace("/#", "/?isolated=0#"));
      assert.equal(await page.evaluate(() => crossOriginIsolated), false);
      assert.equal(await page.evaluate(() => typeof SharedArrayBuffer), "undefined");
      assert.match(await said(page, "not-isolated"), /Everything works/);
      await leased(page);
      await page.getByRole("button", { name: "Fetch a page" }).click();
      await consoleShows(page, "Hello from the other side of the tunnel");
      await page.getByRole("button", { name: "Download 16 MB" }).click();
      await consoleShows(page, "real");
    });
  });

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
      await page.goto(`${demo.address}&memory=7`);
      await page.getByText("memory= takes 96 to 1024 MiB; 128 is used instead.").waitFor();
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
