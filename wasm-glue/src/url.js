// Where the tunnel is and how the credential travels: spec/l2-tunnel.md §2.1, §9.2, §9.4.

export const SUBPROTOCOL = "aero-l2-tunnel-v1";
const TOKEN_PREFIX = "aero-l2-token.";
const TCHAR = /^[\w!#$%&'*+\-.^`|~]+$/; // RFC 7230 token
const BOOTSTRAP_MAX_BYTES = 1 << 20;

/** @typedef {"query" | "subprotocol" | "both"} TokenTransport */
/**
 * @typedef {object} Credential
 * @property {string} [token]
 * @property {TokenTransport} [tokenTransport]  default "query"
 */
/** @typedef {{ url: string, protocols: string[] }} Endpoint */

/** Throws a RangeError for a credential that cannot travel as asked. @param {Credential} given */
export function checkCredential({ token, tokenTransport = "query" }) {
  if (!["query", "subprotocol", "both"].includes(tokenTransport))
    throw new RangeError(
      `tokenTransport must be query, subprotocol or both, not ${tokenTransport}`,
    );
  if (token && tokenTransport !== "query" && !TCHAR.test(token))
    throw new RangeError('this token cannot be sent as a subprotocol: use tokenTransport: "query"');
}

/** The page or worker an address is relative to. */
function pageUrl() {
  const { location } = /** @type {any} */ (globalThis);
  return /^https?:/.test(location?.href ?? "") ? location.href : undefined;
}

/** @param {string | URL} given */
function parse(given) {
  try {
    return new URL(given, pageUrl());
  } catch {
    throw new TypeError(`bad tunnel URL: ${given}`);
  }
}

/**
 * The WebSocket address of §9.2 and what to offer there.
 * @param {string | URL} base
 * @param {Credential} [credential]
 * @returns {Endpoint}
 */
export function tunnelEndpoint(base, { token, tokenTransport = "query" } = {}) {
  checkCredential({ token, tokenTransport });
  const url = parse(base);
  if (!/^(https?|wss?):$/.test(url.protocol))
    throw new TypeError(`bad tunnel URL: ${url.protocol} is not http, https, ws or wss`);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.pathname = url.pathname.replace(/\/$/, "");
  if (!/\/(l2|eth)$/.test(url.pathname)) url.pathname = `${url.pathname.replace(/\/$/, "")}/l2`;
  const protocols = [SUBPROTOCOL];
  if (token) {
    // A stale credential in the query would win over the subprotocol at the proxy.
    url.searchParams.delete("apiKey");
    if (tokenTransport === "subprotocol") url.searchParams.delete("token");
    else url.searchParams.set("token", token);
    url.search = url.search.replaceAll("+", "%20");
    if (tokenTransport !== "query") protocols.push(TOKEN_PREFIX + token);
  }
  return { url: url.href, protocols };
}

/** The address of an endpoint without anything secret, for messages. @param {string} url */
export function publicUrl(url) {
  const { origin, protocol, host, pathname } = new URL(url);
  return (origin === "null" ? `${protocol}//${host}` : origin) + pathname;
}

/** @param {unknown} value */
function positive(value) {
  return Number.isInteger(value) && Number(value) > 0 ? Number(value) : undefined;
}

/** @param {Response} response */
async function cappedJson(response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) return JSON.parse(text + decoder.decode());
    bytes += value.length;
    if (bytes > BOOTSTRAP_MAX_BYTES) {
      await reader?.cancel();
      throw new Error("the session response is too long");
    }
    text += decoder.decode(value, { stream: true });
  }
}

/**
 * Opens a session at the gateway (§9.4, 1-3) and learns where the tunnel is.
 * @param {string | URL} base
 * @param {typeof fetch} [fetchWith]
 * @returns {Promise<{ url: string, maxFrameSize?: number, maxControlSize?: number }>}
 */
export async function bootstrap(base, fetchWith = fetch) {
  const url = parse(base);
  url.protocol = url.protocol.replace("ws", "http");
  url.hash = "";
  url.search = "";
  const prefix = url.pathname.replace(/\/$/, "").replace(/\/(l2|eth)$/, "");
  url.pathname = `${prefix}/session`;
  const response = await fetchWith(url.href, {
    method: "POST",
    credentials: "include",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  if (!response.ok) throw new Error(`the session request failed: HTTP ${response.status}`);
  const { endpoints, limits } = await cappedJson(response);
  const named = typeof endpoints?.l2 === "string" ? endpoints.l2 : "/l2";
  const isAbsolute = /^[a-z]+:/i.test(named);
  const path = named.startsWith("/") ? named : `/${named}`;
  const under = path === prefix || path.startsWith(`${prefix}/`) ? path : prefix + path;
  return {
    url: isAbsolute ? named : new URL(under, url).href,
    maxFrameSize: positive(limits?.l2?.maxFramePayloadBytes),
    maxControlSize: positive(limits?.l2?.maxControlPayloadBytes),
  };
}
