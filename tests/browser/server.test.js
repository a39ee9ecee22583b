// The demo's page server and sample site, without a browser: what they serve and what they refuse.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { startSampleSite } from "../../web-demo/sample-site.js";
import { serve } from "../../web-demo/serve.js";

let server;
let site;
let guestDir;

before(async () => {
  guestDir = mkdtempSync(join(tmpdir(), "aero-guest-"));
  writeFileSync(join(guestDir, "bzImage"), Buffer.from("0123456789"));
  symlinkSync("/etc/passwd", join(guestDir, "escape"));
  server = await serve({ guestDir });
  site = await startSampleSite();
});
after(async () => {
  await server.close();
  await site.close();
  rmSync(guestDir, { recursive: true });
});

/** One request, its path exactly as given: fetch() would tidy it. */
function ask(port, path, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => {
        const bytes = Buffer.concat(pieces);
        resolve({ status: response.statusCode, headers: response.headers, bytes });
      });
    });
    call.on("error", reject);
    call.end(body);
  });
}
const get = (path, headers) => ask(server.port, path, { headers });

test("the page comes with the headers of cross-origin isolation, and without on request", async () => {
  const isolated = await get("/");
  assert.equal(isolated.status, 200);
  assert.equal(isolated.headers["cross-origin-opener-policy"], "same-origin");
  assert.equal(isolated.headers["cross-origin-embedder-policy"], "credentialless");
  const plain = await get("/?isolated=0");
  assert.equal(plain.status, 200);
  assert.equal(plain.headers["cross-origin-opener-policy"], undefined);
  assert.equal(plain.headers["cross-origin-embedder-policy"], undefined);
});

test("--no-isolation leaves the headers out everywhere", async () => {
  const other = await serve({ isolated: false });
  const { headers } = await ask(other.port, "/");
  await other.close();
  assert.equal(headers["cross-origin-opener-policy"], undefined);
});

test("no path leads out of the folders that are served", async () => {
  const refused = [
    "/../package.json",
    "/%2e%2e/package.json",
    "/..%2fpackage.json",
    "/page/../../package.json",
    "//etc/passwd",
    "/guest/../../package.json",
    "/guest/..%5c..%5cpackage.json",
    "/lib/v86/build/../package.json",
    "/style.css%00.js",
    "/%ff",
    "/.npmrc",
  ];
  for (const path of refused) assert.equal((await get(path)).status, 400, path);
  const absent = [
    "/serve.js",
    "/package.json",
    "/nothing",
    "/guest",
    "/guest/escape", // a symbolic link to outside
    "/guest/nothing",
    "/lib/v86/package.json",
    "/lib/ws/index.js",
    "/lib/constructor/src/x.js",
    "/lib/@xterm",
  ];
  for (const path of absent) assert.equal((await get(path)).status, 404, path);
});

test("a missing guest image is answered with the script that makes it", async () => {
  const { bytes } = await get("/guest/initramfs.cpio");
  assert.match(bytes.toString(), /run scripts\/guest/);
});

test("a request under another name, or that wants to write, is refused", async () => {
  assert.equal((await get("/", { host: "evil.example" })).status, 421);
  assert.equal((await get("/", { host: `localhost:${server.port}` })).status, 200);
  const posted = await ask(server.port, "/", { method: "POST", body: "x" });
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.allow, "GET, HEAD");
});

test("ranges, as RFC 9110 §14 has them", async () => {
  const range = async (text) => {
    const { status, headers, bytes } = await get("/guest/bzImage", { range: text });
    return [status, headers["content-range"], bytes.toString()];
  };
  assert.deepEqual(await range("bytes=2-4"), [206, "bytes 2-4/10", "234"]);
  assert.deepEqual(await range("bytes=7-"), [206, "bytes 7-9/10", "789"]);
  assert.deepEqual(await range("bytes=-3"), [206, "bytes 7-9/10", "789"]);
  assert.deepEqual(await range("bytes=8-99"), [206, "bytes 8-9/10", "89"]);
  assert.deepEqual(await range("bytes=10-"), [416, "bytes */10", ""]);
  assert.deepEqual(await range("bytes=-0"), [416, "bytes */10", ""]);
  assert.deepEqual(await range("bytes=4-2"), [200, undefined, "0123456789"]);
  assert.deepEqual(await range("lines=1-2"), [200, undefined, "0123456789"]);
  const stale = await get("/guest/bzImage", { range: "bytes=2-4", "if-range": '"old"' });
  assert.equal(stale.status, 200);
});

test("an unchanged file is answered with 304 and no body", async () => {
  for (const headers of [{}, { "accept-encoding": "gzip" }]) {
    const { etag } = (await get("/app.js", headers)).headers;
    const again = await get("/app.js", { ...headers, "if-none-match": etag });
    assert.equal(again.status, 304);
    assert.equal(again.bytes.length, 0);
  }
});

test("text is compressed for those who accept it, and is the same text", async () => {
  const plain = await get("/app.js");
  const small = await get("/app.js", { "accept-encoding": "br, gzip" });
  assert.equal(small.headers["content-encoding"], "gzip");
  assert.ok(small.bytes.length < plain.bytes.length / 2);
  assert.deepEqual(gunzipSync(small.bytes), plain.bytes);
  assert.equal(small.headers["x-file-bytes"], String(plain.bytes.length));
  const refused = await get("/app.js", { "accept-encoding": "gzip;q=0" });
  assert.equal(refused.headers["content-encoding"], undefined);
});

test("HEAD answers like GET, without the body", async () => {
  const { status, headers, bytes } = await ask(server.port, "/app.js", { method: "HEAD" });
  assert.equal(status, 200);
  assert.ok(Number(headers["content-length"]) > 0);
  assert.equal(bytes.length, 0);
});

test("the sample site: a page, a stream of the length asked for, an upload", async () => {
  assert.match((await ask(site.port, "/hello")).bytes.toString(), /^Hello from the other side/);
  const blob = await ask(site.port, "/blob?bytes=200001");
  assert.equal(blob.bytes.length, 200001);
  const again = await ask(site.port, "/blob?bytes=200001");
  assert.deepEqual(again.bytes, blob.bytes, "the same bytes each time");
  assert.equal((await ask(site.port, "/blob?bytes=0")).bytes.length, 0);
  for (const wrong of ["", "?bytes=", "?bytes=-1", "?bytes=1e3", "?bytes=99999999999"]) {
    assert.equal((await ask(site.port, `/blob${wrong}`)).status, 400, wrong);
  }
  const sum = createHash("sha256").update("abc").digest("hex");
  const up = await ask(site.port, "/upload", { method: "POST", body: "abc" });
  assert.equal(up.bytes.toString(), `3 bytes, sha256 ${sum}\n`);
  assert.equal((await ask(site.port, "/upload")).status, 405);
  assert.equal((await ask(site.port, "/nothing")).status, 404);
});
