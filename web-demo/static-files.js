/*
 * static-files.js - answers GET and HEAD for files of a few folders: range, ETag, gzip.
 *
 * Paths are hostile: each is decoded once, checked segment by segment, resolved, and must still lie
 * inside its folder after symbolic links are followed. Whatever fails is a plain 404 or 400.
 */
import { createReadStream } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const gzipped = promisify(gzip);

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
};
// The kernel is compressed already; these are what a browser gains from.
const COMPRESSIBLE = new Set([".cpio", ".css", ".html", ".js", ".mjs", ".svg", ".wasm"]);
const COMPRESS_FROM_BYTES = 1024;

/**
 * The path's segments, or null when it is not one we would ever serve.
 * @param {string} pathname  as in the request line, still percent-encoded
 */
export function safeSegments(pathname) {
  let decoded;
  try {
    decoded = decodeURIComponent(pathname);
  } catch {
    return null;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (!decoded.startsWith("/") || /[\\\x00-\x1f\x7f]/.test(decoded)) return null;
  const segments = decoded.slice(1).split("/");
  const bad = (segment) => segment === "" || segment.startsWith(".");
  return segments.some(bad) ? null : segments;
}

/** The real path of `segments` below `root`, or null: absent, no plain file, or outside `root`. */
async function locate(root, segments) {
  try {
    const base = await realpath(root);
    const path = await realpath(join(base, ...segments));
    if (!path.startsWith(base + sep)) return null;
    const info = await stat(path);
    return info.isFile() ? { path, info } : null;
  } catch {
    return null;
  }
}

/** One range of RFC 9110 §14.2 as [first, last], "bad" when unsatisfiable, null to ignore it. */
export function parseRange(header, bytes) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const suffix = Number(match[2]);
    return suffix === 0 || bytes === 0 ? "bad" : [Math.max(0, bytes - suffix), bytes - 1];
  }
  const first = Number(match[1]);
  const last = match[2] === "" ? bytes - 1 : Math.min(Number(match[2]), bytes - 1);
  if (match[2] !== "" && Number(match[2]) < first) return null;
  return first >= bytes ? "bad" : [first, last];
}

function accepts(request, coding) {
  const offered = String(request.headers["accept-encoding"] ?? "").split(",");
  return offered.some((one) => {
    const [name, ...parameters] = one
      .trim()
      .toLowerCase()
      .split(/\s*;\s*/);
    return name === coding && !parameters.some((text) => /^q=0(\.0*)?$/.test(text));
  });
}

/** Serves files below folders; keeps what it compressed, by path and version. */
export class StaticFiles {
  #compressed = new Map();

  /**
   * Answers with the file `segments` below `root`.
   * @returns {Promise<boolean>} false: there is no such file, nothing was sent
   */
  async send(request, response, root, segments, headers = {}) {
    const found = await locate(root, segments);
    if (!found) return false;
    const { path, info } = found;
    const extension = extname(path);
    const etag = `"${info.size.toString(16)}-${Math.floor(info.mtimeMs).toString(16)}"`;
    const compressible = COMPRESSIBLE.has(extension) && info.size >= COMPRESS_FROM_BYTES;
    const all = {
      "content-type": TYPES[extension] ?? "application/octet-stream",
      "cache-control": "no-cache", // keep it, but ask each time: a rebuild must show at once
      "accept-ranges": "bytes",
      "x-file-bytes": String(info.size), // a progress bar counts decoded bytes
      ...(compressible ? { vary: "accept-encoding" } : {}),
      etag,
      ...headers,
    };
    const known = String(request.headers["if-none-match"] ?? "").split(/\s*,\s*/);
    if (known.some((one) => one === "*" || one.replace(/^W\//, "") === etag)) {
      response.writeHead(304, all).end();
      return true;
    }
    const ifRange = request.headers["if-range"];
    const usable = ifRange === undefined || ifRange === etag;
    const range = usable ? parseRange(request.headers.range, info.size) : null;
    if (range === "bad") {
      response.writeHead(416, { ...all, "content-range": `bytes */${info.size}` }).end();
      return true;
    }
    if (range) {
      const [first, last] = range;
      response.writeHead(206, {
        ...all,
        "content-range": `bytes ${first}-${last}/${info.size}`,
        "content-length": last - first + 1,
      });
      await this.#body(request, response, path, { start: first, end: last });
      return true;
    }
    if (compressible && accepts(request, "gzip")) {
      const body = await this.#gzip(path, etag);
      response.writeHead(200, {
        ...all,
        etag: `W/${etag}`,
        "content-encoding": "gzip",
        "content-length": body.byteLength,
      });
      response.end(request.method === "HEAD" ? undefined : body);
      return true;
    }
    response.writeHead(200, { ...all, "content-length": info.size });
    await this.#body(request, response, path, {});
    return true;
  }

  async #body(request, response, path, range) {
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    // A reader that goes away in the middle is no error of ours.
    await pipeline(createReadStream(path, range), response).catch(() => {});
  }

  async #gzip(path, etag) {
    const kept = this.#compressed.get(path);
    if (kept?.etag === etag) return kept.body;
    const body = await gzipped(await readFile(path), { level: 6 });
    this.#compressed.set(path, { etag, body });
    return body;
  }
}
