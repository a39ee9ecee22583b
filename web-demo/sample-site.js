/*
 * sample-site.js - the web site the guest visits: a page, a stream of any length, an upload.
 *
 * The proxy's forward rule makes it 203.0.113.10:80 for the guest; nothing else leads here.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const BLOB_MAX_BYTES = 4 * 1024 ** 3;
const BLOCK_BYTES = 64 * 1024;

const HELLO = `Hello from the other side of the tunnel.

It came by host socket, NAT, WebSocket, worker, ring and card to your kernel.
Try also: wget -O /dev/null 'http://web.test/blob?bytes=16777216'
`;

/** 64 KiB that no layer can compress; the stream repeats them, so its SHA-256 is reproducible. */
const BLOCK = (() => {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  let state = 0x9e3779b9;
  for (let i = 0; i < BLOCK_BYTES; i += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeUInt32LE(state >>> 0, i);
  }
  return bytes;
})();

/** Sends `bytes` bytes at the reader's own pace. */
function sendBlob(response, bytes) {
  let left = bytes;
  const more = () => {
    while (left > 0) {
      const piece = left >= BLOCK_BYTES ? BLOCK : BLOCK.subarray(0, left);
      left -= piece.byteLength;
      if (!response.write(piece) && left > 0) {
        response.once("drain", more);
        return;
      }
    }
    response.end();
  };
  more();
}

function text(response, status, body, headers = {}) {
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

function answer(request, response) {
  let url;
  try {
    url = new URL(request.url, "http://web.test");
  } catch {
    text(response, 400, "that is no path\n");
    return;
  }
  if (url.pathname === "/upload") {
    if (request.method !== "POST" && request.method !== "PUT") {
      text(response, 405, "POST it\n", { allow: "POST, PUT" });
      return;
    }
    const sum = createHash("sha256");
    let bytes = 0;
    request.on("data", (piece) => {
      sum.update(piece);
      bytes += piece.byteLength;
    });
    request.on("end", () => text(response, 200, `${bytes} bytes, sha256 ${sum.digest("hex")}\n`));
    return;
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    text(response, 405, "GET it\n", { allow: "GET, HEAD" });
    return;
  }
  if (url.pathname === "/" || url.pathname === "/hello") {
    text(response, 200, HELLO);
    return;
  }
  if (url.pathname === "/blob") {
    const wanted = url.searchParams.get("bytes") ?? "";
    const bytes = Number(wanted);
    if (!/^\d{1,10}$/.test(wanted) || bytes > BLOB_MAX_BYTES) {
      text(response, 400, `bytes= takes a number from 0 to ${BLOB_MAX_BYTES}\n`);
      return;
    }
    response.writeHead(200, {
      "content-type": "application/octet-stream",
      "content-length": bytes,
    });
    if (request.method === "HEAD") response.end();
    else sendBlob(response, bytes);
    return;
  }
  text(response, 404, "there is /hello, /blob?bytes=N and /upload here\n");
}

/**
 * Starts the site on a free loopback port.
 * @returns {Promise<{ port: number, close: () => Promise<void> }>}
 */
export function startSampleSite() {
  const server = createServer(answer);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      resolve({
        port: server.address().port,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections?.();
          }),
      });
    });
  });
}
