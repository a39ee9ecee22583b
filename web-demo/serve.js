/*
 * serve.js - the page's small web server: the page, its packages, the guest image.
 *
 *   /                 page/index.html      /<file>           page/<file>
 *   /lib/<package>/…  node_modules         /guest/<file>     the image made by scripts/guest
 *
 * It listens on loopback, answers only requests addressed to a loopback name (another site's page
 * cannot reach it by pointing its own name here), and reads only. `/?isolated=0` comes without the
 * two headers of cross-origin isolation, so that both ways of running can be tried.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { StaticFiles, safeSegments } from "./static-files.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const PAGE = join(HERE, "page");
const CACHE = process.env.AERO_CACHE_DIR || join(HERE, "..", ".cache");
const GUEST = process.env.AERO_GUEST_DIR || join(CACHE, "guest");

/** The parts of a package a page may load; nothing else of node_modules is reachable. */
const PACKAGES = {
  "aero-nic": ["src", "dist"],
  v86: ["build"],
  "@xterm/xterm": ["lib", "css"],
  "@xterm/addon-fit": ["lib"],
  uplot: ["dist"],
};

// credentialless instead of require-corp: the page may then ask any proxy's /healthz, opaquely,
// to tell "proxy down" from "token refused". A browser that does not know it runs unisolated.
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "credentialless",
};

/** The policy allows the one inline script there is, the import map, by its hash. */
function contentSecurityPolicy() {
  const html = readFileSync(join(PAGE, "index.html"), "utf8");
  const map = /<script type="importmap">([\s\S]*?)<\/script>/.exec(html)?.[1] ?? "";
  const hash = createHash("sha256").update(map).digest("base64");
  return [
    "default-src 'self'",
    `script-src 'self' 'wasm-unsafe-eval' 'sha256-${hash}'`,
    "worker-src 'self' blob:", // v86 makes its clock worker from a blob
    "style-src 'self' 'unsafe-inline'", // the terminal and the chart set styles
    "img-src 'self' data:",
    "connect-src 'self' ws: wss: http: https:", // whichever proxy the address names
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ].join("; ");
}

function plain(response, status, body, headers = {}) {
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "x-content-type-options": "nosniff",
    ...headers,
  });
  response.end(body);
}

function isLoopbackName(host) {
  return /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(host ?? "");
}

/** Which folder answers a path, or the sentence that says why none does. */
function route(segments, guestDir) {
  const [first, ...rest] = segments;
  if (first === "guest") {
    return {
      root: guestDir,
      segments: rest,
      missing: "the guest image is missing: run scripts/guest\n",
    };
  }
  if (first === "lib") {
    const name = rest[0]?.startsWith("@") ? `${rest[0]}/${rest[1]}` : rest[0];
    const inside = rest.slice(name?.includes("/") ? 2 : 1);
    if (!Object.hasOwn(PACKAGES, name) || !PACKAGES[name].includes(inside[0])) {
      return { refused: "no such package is served here\n" };
    }
    return {
      root: join(HERE, "node_modules", ...name.split("/")),
      segments: inside,
      missing: `${name} is not installed or not built: run scripts/demo\n`,
    };
  }
  return { root: PAGE, segments, missing: "there is no such page here\n" };
}

/**
 * Starts the server.
 * @param {{ port?: number, isolated?: boolean, guestDir?: string }} [options]  port 0: any free one
 * @returns {Promise<{ port: number, origin: string, close: () => Promise<void> }>}
 */
export function serve({ port = 0, isolated = true, guestDir = GUEST } = {}) {
  const files = new StaticFiles();
  const policy = contentSecurityPolicy();

  async function answer(request, response) {
    if (!isLoopbackName(request.headers.host)) {
      plain(response, 421, "this server answers to its loopback address only\n");
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      plain(response, 405, "GET or HEAD\n", { allow: "GET, HEAD" });
      return;
    }
    const [pathname, query = ""] = request.url.split("?", 2);
    const segments = pathname === "/" ? ["index.html"] : safeSegments(pathname);
    if (!segments) {
      plain(response, 400, "that path is malformed\n");
      return;
    }
    const target = route(segments, guestDir);
    if (target.refused) {
      plain(response, 404, target.refused);
      return;
    }
    const wantsIsolation = isolated && new URLSearchParams(query).get("isolated") !== "0";
    const headers = {
      "content-security-policy": policy,
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      ...(wantsIsolation ? ISOLATION : {}),
    };
    if (await files.send(request, response, target.root, target.segments, headers)) return;
    plain(response, 404, target.missing);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      console.error(`page server: ${request.method} ${request.url}: ${error.message}`);
      if (response.headersSent) response.destroy();
      else plain(response, 500, "the page server failed; its terminal says why\n");
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const bound = server.address().port;
      resolve({
        port: bound,
        origin: `http://127.0.0.1:${bound}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections?.();
          }),
      });
    });
  });
}

/** One sentence for a listen() that failed. */
export function listenFailure(error, port) {
  if (error.code === "EADDRINUSE") {
    return `port ${port} is in use: choose another with --port, or leave it out for a free one`;
  }
  if (error.code === "EACCES") return `port ${port} needs more rights: choose one above 1023`;
  return `the page server could not listen: ${error.message}`;
}

/** --port's value as a number, or an Error that says what it takes. */
export function portFrom(text) {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) {
    throw new Error(`--port takes a number from 0 to 65535, not "${text}"`);
  }
  return Number(text);
}

// On its own (node serve.js --port 8080) it serves the page for a proxy that runs elsewhere.
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: "0" },
        "no-isolation": { type: "boolean", default: false },
      },
    });
    const port = portFrom(values.port);
    const page = await serve({ port, isolated: !values["no-isolation"] }).catch((error) => {
      throw new Error(listenFailure(error, port));
    });
    console.log(`${page.origin}/#proxy=ws://127.0.0.1:8090/l2&token=…`);
  } catch (error) {
    console.error(`serve.js: ${error.message}`);
    process.exitCode = 2;
  }
}
