/*
 * support.js - a browser for the page's tests, and the demo as its reader starts it.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const BUILD = process.env.AERO_BUILD_DIR || join(ROOT, "build");
export const CHROMIUM = process.env.AERO_CHROMIUM || "/usr/bin/chromium";
export const PROXY = join(BUILD, "proxy-min", "aero-l2-proxy");

/** A loaded machine takes its time to boot a kernel inside an emulator. */
export const BOOT_MS = 120_000;
export const STEP_MS = 30_000;

/** What Chromium needs to run as root on a closed network. */
export const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launchBrowser() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: FLAGS,
  });
}

/** Where screenshots go. */
export function picturePath(name) {
  const folder = join(BUILD, "tests", "browser");
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}

/**
 * Runs `story` with a page of its own. Whatever the page, its worker or the browser logs as an error
 * fails the test, unless one of `expected` matches it.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {{ expected?: RegExp[], before?: (page) => Promise<void> }} options
 * @param {(page: import("playwright-core").Page) => Promise<void>} story
 */
export async function withPage(browser, { expected = [], before }, story) {
  const context = await browser.newContext({
    viewport: { width: 1400, height: 900 },
    colorScheme: "dark",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const errors = [];
  const note = (text) => {
    if (!expected.some((pattern) => pattern.test(text))) errors.push(text);
  };
  page.on("console", (message) => {
    if (message.type() === "error") note(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => note(`uncaught: ${error.message}`));
  try {
    await before?.(page);
    await story(page);
    assert.deepEqual(errors, [], "the page logged errors");
  } catch (error) {
    await page.screenshot({ path: picturePath("failed.png") }).catch(() => {});
    const parts = page.locator(".hops, .notices, #boot, .xterm-rows > div, .counters, .facts");
    const seen = await parts.allTextContents().then(
      (texts) => texts.map((text) => text.replace(/\s+/g, " ").trim()).join("\n"),
      (why) => `(no page: ${why.message})`,
    );
    error.message += `\n--- the page said\n${seen}\n--- it logged\n${errors.join("\n")}`;
    throw error;
  } finally {
    await context.close();
  }
}

/** Starts web-demo/demo.js and resolves with the address it prints. */
export async function startDemo(args = []) {
  const child = spawn(process.execPath, [join(ROOT, "web-demo", "demo.js"), ...args], {
    env: { ...process.env, AERO_BUILD_DIR: BUILD },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const ended = new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  const address = await new Promise((resolve, reject) => {
    const listen = (text) => {
      said += text;
      const match = /^ {2}Open +(\S+)$/m.exec(said);
      if (match) resolve(match[1]);
    };
    child.stdout.setEncoding("utf8").on("data", listen);
    child.stderr.setEncoding("utf8").on("data", listen);
    ended.then((how) => reject(new Error(`demo.js ended (${how}):\n${said}`)));
  });
  return {
    address,
    /** Ends it as Ctrl-C does; resolves with its exit status. */
    stop() {
      child.kill("SIGINT");
      return ended;
    },
  };
}

/** Resolves once the guest's console shows `text`; a cold guest may take long over 16 MB. */
export function consoleShows(page, text) {
  return page.waitForFunction(
    (wanted) => document.querySelector("#console .xterm-rows")?.textContent.includes(wanted),
    text,
    { timeout: BOOT_MS },
  );
}

export function leased(page) {
  return page.waitForSelector("#hop-guest[data-lease]", { timeout: BOOT_MS });
}

/** What the element `id` says now. */
export const text = (page, id) => page.locator(`#${id}`).textContent();

/** Resolves once the element `id` says something that matches. */
export function has(page, id, pattern) {
  return page.waitForFunction(
    ([element, source]) =>
      new RegExp(source).test(document.getElementById(element)?.textContent ?? ""),
    [id, pattern.source],
    { timeout: STEP_MS },
  );
}

/** The notice `key`, and its words. */
export const notice = (page, key) => page.locator(`[data-notice="${key}"]`);
export const said = (page, key) => notice(page, key).textContent();
