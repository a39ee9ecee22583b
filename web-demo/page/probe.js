/*
 * probe.js - why a tunnel does not open.
 *
 * A browser tells a script nothing about a refused WebSocket, by design. The proxy's /healthz
 * answers everybody, so an opaque request tells whether anything is there at all.
 */
const PROBE_MS = 3000;

/** http(s) address of /healthz beside a tunnel's address. */
export function healthAddress(proxy) {
  const url = new URL(proxy);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/\/(l2|eth)?\/?$/, "/healthz");
  url.search = "";
  url.hash = "";
  return url.href;
}

/** @returns {Promise<boolean>} whether something answers HTTP there */
export async function proxyAnswers(proxy) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PROBE_MS);
  try {
    await fetch(healthAddress(proxy), { mode: "no-cors", cache: "no-store", signal: abort.signal });
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
