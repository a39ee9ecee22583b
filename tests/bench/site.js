// A web server on a thread of its own, so that the emulator's thread is left to the guest.
// /blob?bytes=N sends that many; /upload takes a body and says so: messages "first" and "end".
import { createServer } from "node:http";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

/**
 * @returns {Promise<{ port: number, onUpload: ((what: "first" | "end", bytes: number) => void),
 *   close: () => Promise<void> }>}
 */
export async function startBenchSite() {
  const worker = new Worker(new URL(import.meta.url));
  const site = { port: 0, onUpload: () => {}, close: () => worker.terminate() };
  await new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.on("message", ({ port, what, bytes }) => {
      if (port !== undefined) {
        site.port = port;
        resolve();
      } else {
        site.onUpload(what, bytes);
      }
    });
  });
  return site;
}

function serve() {
  const piece = Buffer.alloc(256 * 1024, 0x55); // no zero: busybox wget posts strings
  const send = (response, bytes) => {
    response.writeHead(200, { "content-length": bytes });
    let left = bytes;
    const more = () => {
      while (left > 0) {
        const size = Math.min(left, piece.length);
        left -= size;
        if (!response.write(piece.subarray(0, size)) && left > 0) {
          response.once("drain", more);
          return;
        }
      }
      response.end();
    };
    more();
  };
  const take = (request, response) => {
    let bytes = 0;
    request.on("data", (data) => {
      if (bytes === 0) parentPort.postMessage({ what: "first", bytes: data.length });
      bytes += data.length;
    });
    request.on("end", () => {
      parentPort.postMessage({ what: "end", bytes });
      response.end("ok\n");
    });
  };
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://site");
    if (url.pathname === "/upload") take(request, response);
    else send(response, Number(url.searchParams.get("bytes") ?? 6));
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage({ port: server.address().port }));
}

if (!isMainThread) serve();
