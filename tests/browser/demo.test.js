// The demo page in a real browser: a guest boots, leases an address and moves data both ways.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, before, test } from "node:test";
import {
  consoleShows,
  has,
  launchBrowser,
  leased,
  picturePath,
  STEP_MS,
  said,
  startDemo,
  text,
  withPage,
} from "./support.js";

/**
 * Resolves once the number that `id` shows has reached `least`; the page writes its numbers a few
 * times a second, so one that has just moved may be an old one. "16.8 MB" is 16.8e6.
 */
function reaches(page, id, least) {
  return page.waitForFunction(
    ([element, wanted]) => {
      const shown = document.getElementById(element)?.textContent ?? "";
      const [, digits = "", unit = ""] = /^([\d,.]+)\s*([kMGT]?)B?$/.exec(shown) ?? [];
      const scale = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[unit];
      return digits !== "" && Number(digits.replaceAll(",", "")) * scale >= wanted;
    },
    [id, least],
    { timeout: STEP_MS },
  );
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

let browser;
let demo;
before(async () => {
  browser = await launchBrowser();
  demo = await startDemo();
});
after(async () => {
  await browser?.close();
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
    await reaches(page, "rx-bytes", 16777216);
    await reaches(page, "rx-frames", 16777216 / 1460);
    await reaches(page, "peak-down", 1);

    await page.getByRole("button", { name: "Upload 16 MB" }).click();
    await consoleShows(
      page,
      "16777216 bytes, sha256 0d9cc0abf8a4081aae9052605ec16439edb7b38c215318a5cb69aa708cbbff32",
    );
    await reaches(page, "tx-bytes", 16777216);
    await reaches(page, "peak-up", 1);
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

    // A reboot from inside, then the keyboard's way out of the terminal to the power switch.
    await page.locator("#console").click();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "TEXTAREA");
    await page.keyboard.press("Control+U");
    await page.keyboard.type("reboot -f\n");
    await page.waitForSelector("#hop-guest:not([data-lease])");
    await page.locator("#console textarea").focus();
    await page.keyboard.press("Control+BracketRight");
    assert.equal(await page.evaluate(() => document.activeElement.id), "do-reboot");
    await page.keyboard.press("Enter");
    await leased(page);
  });
});

test("the link to the other card: the same guest drives it with another driver", async () => {
  await withPage(browser, {}, async (page) => {
    await page.goto(demo.address);
    await page.getByRole("link", { name: "try virtio-net" }).click();
    await page.waitForURL(/card=virtio-net/);
    await leased(page);
    assert.equal(await text(page, "card-detail"), "virtio-net · 52:54:00:12:34:56");
    await consoleShows(page, "driver virtio_net");
    await page.getByRole("button", { name: "Download 16 MB" }).click();
    await consoleShows(page, "real");
    await reaches(page, "rx-bytes", 16777216);
    assert.equal(await text(page, "rx-drops"), "0");
    assert.match(
      await page.getByRole("link", { name: "try e1000" }).getAttribute("href"),
      /card=e1000/,
    );
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
