// The package in a real browser: only there does send() refuse shared memory, do workers load by
// URL, and does SharedArrayBuffer depend on two headers.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { chromium } from "playwright-core";

import { batch, ProxyStub } from "./proxy-stub.js";

const CHROMIUM = process.env.AERO_CHROMIUM ?? "/usr/bin/chromium";
const ROOT = new URL("../../", import.meta.url);
const MIME = { js: "text/javascript", wasm: "application/wasm", html: "text/html" };
const FRAMES = 2000;

// Runs in the page.
async function echo({ url, worker, frames }) {
  const { connectTunnel, createNic } = await import("/wasm-glue/src/index.js");
  const { Driver, numberedFrame, RAM_BYTES } = await import("/tests/glue/driver.js");
  const ram = new Uint8Array(RAM_BYTES);
  const nic = await createNic({ memory: ram });
  const driver = new Driver(nic, ram);
  const tunnel = connectTunnel(nic, { url, worker });
  driver.start();
  await tunnel.opened;
  let sent = 0;
  let got = 0;
  let wrong = 0;
  const { port1, port2 } = new MessageChannel();
  const start = performance.now();
  while (got < frames) {
    for (let n = 0; n < 60 && sent < frames && sent - got < 300; n++)
      driver.queue(numberedFrame(sent++, 1514));
    nic.poll();
    for (const frame of driver.received()) {
      const expected = numberedFrame(got++, 1514);
      if (frame.length !== 1514 || frame.some((byte, at) => byte !== expected[at])) wrong++;
    }
    await new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
  }
  const seconds = (performance.now() - start) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 300));
  const stats = tunnel.stats();
  tunnel.close();
  nic.close();
  return { wrong, stats, seconds, isolated: globalThis.crossOriginIsolated };
}

describe("in Chromium", { skip: !existsSync(CHROMIUM) && "no Chromium here" }, () => {
  let server;
  let browser;
  let stub;
  before(async () => {
    stub = await ProxyStub.start();
    let waiting = [];
    stub.onFrame = (frame, socket) => {
      waiting.push(Buffer.from(frame));
      if (waiting.length === 1)
        queueMicrotask(() => {
          for (let at = 0; at < waiting.length; at += 40)
            socket.send(batch(waiting.slice(at, at + 40)));
          waiting = [];
        });
    };
    server = createServer((request, response) => {
      const { pathname, search } = new URL(request.url, "http://page");
      if (request.headers.referer?.includes("isolated") || search.includes("isolated")) {
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      }
      response.setHeader("Cross-Origin-Resource-Policy", "same-origin");
      response.setHeader("Content-Type", MIME[pathname.split(".").pop()] ?? MIME.html);
      if (pathname === "/") response.end('<!doctype html><link rel="icon" href="data:,">');
      else if (!/^\/(wasm-glue|tests\/glue)\/[\w./-]+$/.test(pathname))
        response.writeHead(404).end();
      else response.end(readFileSync(new URL(pathname.slice(1), ROOT)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  });
  after(async () => {
    await browser?.close();
    server?.close();
    await stub?.stop();
  });

  for (const [name, query, worker, isolated] of [
    ["isolated, the pump in a worker", "?isolated", "auto", true],
    ["isolated, the pump in the page", "?isolated", false, true],
    ["not isolated", "", "auto", false],
  ])
    test(name, async (t) => {
      const page = await browser.newPage();
      const complaints = [];
      page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      await page.goto(`http://127.0.0.1:${server.address().port}/${query}`);
      const result = await page.evaluate(echo, { url: stub.url, worker, frames: FRAMES });
      t.diagnostic(`${Math.round(FRAMES / result.seconds)} frames/s each way`);
      assert.equal(result.isolated, isolated);
      assert.equal(result.wrong, 0);
      assert.equal(result.stats.rxFrames, FRAMES);
      assert.deepEqual([...new Set(Object.values(result.stats.drops))], [0]);
      assert.deepEqual(complaints, []);
      await page.close();
    });
});
