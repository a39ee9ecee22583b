// Before there is a tunnel: spec/l2-proxy.md §3, status and body of every refusal, in order.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe, test } from "node:test";
import { ProxyProcess } from "../support/proxy.js";
import { exchange, KEY, OPEN, RawTunnel, SUBPROTOCOL, upgradeRequest } from "./raw.js";

const PAGE = "https://app.example";
const COOKIE_TOKEN =
  "eyJ2IjoxLCJzaWQiOiJzLTQyIiwiZXhwIjoxOTAwMDAwMDAwfQ.PLNOkRazFv51jadWyxCUeRwFBLREPbhoxqzEpRb6qU0";
const JWT_TOKEN =
  "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE4OTk5OTk3MDAsImV4cCI6MTkwMDAwMDAwMCwic2lkIjoicy00MiIsIm9yaWdpbiI6Imh0dHBzOi8vYXBwLmV4YW1wbGUifQ.Lr8-tZkNqHcE0OxpMv0FUdz2gIDuuq5jl4WcL1sADlY";

async function withProxy(environment, story) {
  const proxy = await ProxyProcess.start(environment);
  try {
    await story(proxy);
  } finally {
    assert.equal(await proxy.stop(), 0, proxy.output);
    assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
  }
}

/** The counters a refusal moved, by name. */
async function moved(proxy, act) {
  const before = await proxy.metrics();
  const answer = await act();
  const names = [...(await proxy.metrics())].filter(
    ([name, value]) => value !== before.get(name) && !name.startsWith("l2_sessions_active"),
  );
  return { answer, names: names.map(([name]) => name).sort() };
}

/** Asserts that a request is refused so, and counted so. */
async function refused(proxy, request, status, body, ...counters) {
  const { answer, names } = await moved(proxy, () => exchange(proxy, request));
  assert.equal(answer.status, status);
  if (body !== null) assert.equal(answer.body, body);
  assert.deepEqual(names, ["l2_upgrade_rejected_total", ...counters].sort());
  return answer;
}

async function accepted(proxy, change = {}, target = "/l2") {
  const tunnel = await RawTunnel.open(proxy, change, target);
  tunnel.destroy();
}

const sign = (secret, text) => createHmac("sha256", secret).update(text).digest("base64url");
const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const cookie = (secret, claims) => {
  const payload = base64url(claims);
  return `aero_session=${payload}.${sign(secret, payload)}`;
};
const LATER = 4e9;

test("§3: endpoints, methods, unknown paths", () =>
  withProxy(
    { ...OPEN, VERSION: "1.2.3", GIT_SHA: 'a"b', BUILD_TIMESTAMP: "today" },
    async (proxy) => {
      const get = async (path) => {
        const response = await fetch(proxy.http(path));
        return [response.status, await response.text(), response.headers.get("content-type")];
      };
      assert.deepEqual((await get("/healthz")).slice(0, 2), [200, ""]);
      assert.equal((await get("/readyz"))[0], 200);
      assert.deepEqual(await get("/version"), [
        200,
        '{"version":"1.2.3","gitSha":"a\\"b","builtAt":"today"}',
        "application/json",
      ]);
      const metrics = await get("/metrics");
      assert.deepEqual([metrics[0], metrics[2]], [200, "text/plain; version=0.0.4; charset=utf-8"]);
      assert.equal((await get("/nothing"))[0], 404);
      assert.equal((await get("/l2x"))[0], 404);
      for (const path of ["/healthz", "/metrics", "/l2"])
        assert.equal((await fetch(proxy.http(path), { method: "POST", body: "x" })).status, 405);
      assert.equal((await fetch(proxy.http("/nothing"), { method: "PUT", body: "x" })).status, 404);
    },
  ));

test("§3.1: check 1, the handshake of RFC 6455", () =>
  withProxy(OPEN, async (proxy) => {
    const bad = (change) => refused(proxy, upgradeRequest(change), 400, null);
    await bad({ Upgrade: null });
    await bad({ Upgrade: "h2c" });
    await bad({ Connection: "keep-alive" });
    await bad({ Connection: null });
    await bad({ "Sec-WebSocket-Key": null });
    await bad({ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j" });
    await bad({ "Sec-WebSocket-Key": "!!!!IHNhbXBsZSBub25jZQ==" });
    await bad({ "Sec-WebSocket-Key": [KEY, KEY] });
    const old = await refused(proxy, upgradeRequest({ "Sec-WebSocket-Version": "8" }), 426, null);
    assert.equal(old.headers.get("sec-websocket-version"), "13");
    await refused(proxy, upgradeRequest({}, "/l2", "POST"), 405, null);
    const http10 = upgradeRequest().replace("HTTP/1.1", "HTTP/1.0");
    await refused(proxy, http10, 400, null);
    await accepted(proxy, { Upgrade: "WebSocket", Connection: "keep-alive, UPGRADE" });
  }));

test("RFC 6455 §4.2.2: the accept value; only the tunnel's subprotocol is selected", () =>
  withProxy(OPEN, async (proxy) => {
    for (const target of ["/l2", "/l2/", "/eth", "/eth/", "/l2?x=1"]) {
      const tunnel = await RawTunnel.open(
        proxy,
        { "Sec-WebSocket-Protocol": ["aero-l2-token.abc", `other,${SUBPROTOCOL}`] },
        target,
      );
      assert.equal(tunnel.head.headers.get("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
      assert.equal(tunnel.head.headers.get("sec-websocket-protocol"), SUBPROTOCOL);
      assert.equal(tunnel.head.headers.get("upgrade").toLowerCase(), "websocket");
      assert.match(tunnel.head.headers.get("connection"), /upgrade/i);
      tunnel.destroy();
    }
  }));

test("§3.1: check 3, the subprotocol, exact and case-sensitive", () =>
  withProxy(OPEN, async (proxy) => {
    const body = 'missing required websocket subprotocol "aero-l2-tunnel-v1"';
    for (const offer of [null, "aero-l2-tunnel-v2", "Aero-L2-Tunnel-V1", "aero-l2-tunnel-v1x", ""])
      await refused(proxy, upgradeRequest({ "Sec-WebSocket-Protocol": offer }), 400, body);
    await refused(
      proxy,
      upgradeRequest({ "Sec-WebSocket-Protocol": `${SUBPROTOCOL}, a b` }),
      400,
      body,
    );
  }));

test("§3.1: each check comes before the next: subprotocol, token, Origin, Host, limits", () =>
  withProxy(
    {
      AERO_L2_API_KEY: "k",
      AERO_L2_ALLOWED_ORIGINS: PAGE,
      AERO_L2_ALLOWED_HOSTS: "proxy.example",
      AERO_L2_MAX_CONNECTIONS: "1",
      AERO_L2_MAX_CONNECTIONS_PER_IP: "1",
    },
    async (proxy) => {
      const wrong = { Origin: "https://evil.example", Host: "evil.example" };
      const bad = { ...wrong, "Sec-WebSocket-Protocol": null };
      await refused(proxy, upgradeRequest(bad, "/l2?token=x"), 400, null);
      await refused(
        proxy,
        upgradeRequest(wrong, "/l2?token=x"),
        401,
        "invalid token",
        "l2_auth_failures_total",
        'l2_auth_reject_total{reason="invalid_api_key"}',
        "l2_upgrade_reject_auth_invalid_total",
      );
      await refused(
        proxy,
        upgradeRequest(wrong),
        401,
        "invalid token",
        "l2_auth_failures_total",
        'l2_auth_reject_total{reason="missing_credentials"}',
        "l2_upgrade_reject_auth_missing_total",
      );
      await refused(
        proxy,
        upgradeRequest(wrong, "/l2?token=k"),
        403,
        "Origin not allowed: https://evil.example",
        "l2_upgrade_reject_origin_not_allowed_total",
      );
      await refused(
        proxy,
        upgradeRequest({ ...wrong, Origin: PAGE }, "/l2?token=k"),
        403,
        "Host not allowed: evil.example",
        "l2_upgrade_reject_host_not_allowed_total",
      );
      const holder = await RawTunnel.open(proxy, { Origin: PAGE }, "/l2?token=k");
      await refused(
        proxy,
        upgradeRequest({ Origin: PAGE }, "/l2?token=k"),
        429,
        "max connections per ip exceeded",
        "l2_upgrade_ip_limit_exceeded_total",
      );
      holder.destroy();
    },
  ));

test("§3.1: check 8, the total; the place is free again once the tunnel ended", () =>
  withProxy({ ...OPEN, AERO_L2_MAX_CONNECTIONS: "1" }, async (proxy) => {
    for (let round = 0; round < 3; round++) {
      const holder = await RawTunnel.open(proxy);
      await refused(
        proxy,
        upgradeRequest(),
        429,
        "max connections exceeded",
        "l2_upgrade_reject_max_connections_total",
      );
      holder.destroy();
      for (;;) {
        const tunnel = await RawTunnel.open(proxy).catch(() => null);
        tunnel?.destroy();
        if (tunnel === null) continue;
        break;
      }
      while ((await proxy.metrics()).get("l2_sessions_active") !== 0);
    }
  }));

test("§3.1: check 9, tunnels per session", () =>
  withProxy(
    { AERO_L2_OPEN: "1", SESSION_SECRET: "s", AERO_L2_MAX_TUNNELS_PER_SESSION: "1" },
    async (proxy) => {
      const mine = { Cookie: cookie("s", { v: 1, sid: "a", exp: LATER }) };
      const holder = await RawTunnel.open(proxy, mine);
      await refused(
        proxy,
        upgradeRequest(mine),
        429,
        "quota_connections: max connections per session exceeded",
        "l2_session_connection_denied_total",
        "l2_upgrade_reject_max_connections_per_session_total",
        "l2_upgrade_reject_max_tunnels_per_session_total",
      );
      await accepted(proxy, { Cookie: cookie("s", { v: 1, sid: "b", exp: LATER }) });
      holder.destroy();
    },
  ));

test("§2.4: behind a trusted edge the address is the forwarded one", () =>
  withProxy(
    { ...OPEN, AERO_L2_MAX_CONNECTIONS_PER_IP: "1", AERO_L2_TRUST_PROXY: "1" },
    async (proxy) => {
      const holder = await RawTunnel.open(proxy, {
        Forwarded: 'for="[2001:db8::1]:77";proto=https',
      });
      const same = { "X-Forwarded-For": "2001:db8:0::1, 10.0.0.1" };
      await refused(
        proxy,
        upgradeRequest(same),
        429,
        "max connections per ip exceeded",
        "l2_upgrade_ip_limit_exceeded_total",
      );
      await accepted(proxy, { "X-Forwarded-For": "192.0.2.1" });
      holder.destroy();
    },
  ));

describe("§3.2: token sources", () => {
  const environment = { AERO_L2_OPEN: "1", AERO_L2_API_KEY: "s3cr3t" };
  const offer = (token) => ({ "Sec-WebSocket-Protocol": `${SUBPROTOCOL}, aero-l2-token.${token}` });

  test("query token, then apiKey, then subprotocol; the first present decides", () =>
    withProxy(environment, async (proxy) => {
      await accepted(proxy, {}, "/l2?token=s3cr3t");
      await accepted(proxy, {}, "/l2?token=%733cr3t&apiKey=wrong");
      await accepted(proxy, {}, "/l2?apiKey=s3cr3t");
      await accepted(proxy, {}, "/l2?token=&apiKey=s3cr3t");
      await accepted(proxy, offer("s3cr3t"));
      await accepted(proxy, offer("s3cr3t"), "/l2?token=");
      for (const [change, target] of [
        [{}, "/l2?token=wrong&apiKey=s3cr3t"],
        [offer("s3cr3t"), "/l2?apiKey=wrong"],
        [offer("s3cr3"), "/l2"],
        [offer("x, aero-l2-token.s3cr3t"), "/l2"],
        [{}, "/l2"],
      ]) {
        const answer = await exchange(proxy, upgradeRequest(change, target));
        assert.deepEqual([answer.status, answer.body], [401, "invalid token"]);
      }
    }));

  test("the example of the specification verifies as cookie and as JWT", () =>
    withProxy(
      {
        AERO_L2_AUTH_MODE: "cookie_or_jwt",
        AERO_L2_OPEN: "1",
        SESSION_SECRET: "correct-horse",
        AERO_L2_JWT_SECRET: "correct-horse",
      },
      async (proxy) => {
        await accepted(proxy, { Cookie: `a=b; aero_session=${COOKIE_TOKEN}` });
        await accepted(proxy, { Authorization: `Bearer ${JWT_TOKEN}`, Origin: PAGE });
        await accepted(proxy, { Origin: PAGE }, `/l2?token=${JWT_TOKEN}`);
        await accepted(proxy, { ...offer(JWT_TOKEN), Origin: PAGE });
        const refuse = async (change, body, reason) => {
          const { answer, names } = await moved(proxy, () =>
            exchange(proxy, upgradeRequest(change)),
          );
          assert.deepEqual([answer.status, answer.body], [401, body]);
          assert.ok(names.includes(`l2_auth_reject_total{reason="${reason}"}`), names.join());
        };
        await refuse({}, "missing or invalid auth", "missing_credentials");
        await refuse({ Cookie: "aero_session=" }, "missing or invalid auth", "invalid_cookie");
        await refuse({ Authorization: "Bearer x" }, "invalid jwt", "invalid_jwt");
        const elsewhere = { Authorization: `Bearer ${JWT_TOKEN}`, Origin: "https://b.example" };
        await refuse(elsewhere, "invalid jwt", "jwt_origin_mismatch");
        await refuse(
          { Authorization: `Bearer ${JWT_TOKEN}` },
          "invalid jwt",
          "jwt_origin_mismatch",
        );
      },
    ));

  test("session_and_token wants both and names the API key first", () =>
    withProxy(
      {
        AERO_L2_AUTH_MODE: "cookie_and_api_key",
        AERO_L2_OPEN: "1",
        SESSION_SECRET: "s",
        AERO_L2_API_KEY: "k",
      },
      async (proxy) => {
        const good = { Cookie: cookie("s", { v: 1, sid: "a", exp: LATER }) };
        await accepted(proxy, good, "/l2?token=k");
        for (const [change, target, reason] of [
          [good, "/l2?token=x", "invalid_api_key"],
          [{ Cookie: "aero_session=x" }, "/l2?token=x", "invalid_api_key"],
          [{ Cookie: "aero_session=x" }, "/l2?token=k", "invalid_cookie"],
          [good, "/l2", "missing_credentials"],
          [{}, "/l2", "missing_credentials"],
        ]) {
          const { answer, names } = await moved(proxy, () =>
            exchange(proxy, upgradeRequest(change, target)),
          );
          assert.deepEqual([answer.status, answer.body], [401, "missing or invalid auth"]);
          assert.ok(names.includes(`l2_auth_reject_total{reason="${reason}"}`), names.join());
        }
      },
    ));
});

test("§3.3: Origin missing, repeated, invalid, not ours", () =>
  withProxy({ AERO_L2_API_KEY: "k" }, async (proxy) => {
    const missing = "l2_upgrade_reject_origin_missing_total";
    const denied = "l2_upgrade_reject_origin_not_allowed_total";
    const refuse = (change, body, counter) =>
      refused(proxy, upgradeRequest(change, "/l2?token=k"), 403, body, counter);
    await refuse({}, "missing Origin header", missing);
    await refuse({ Origin: " " }, "missing Origin header", missing);
    const twice = "invalid Origin header: multiple values";
    await refuse({ Origin: ["https://a.example", "https://a.example"] }, twice, denied);
    await refuse(
      { Origin: "https://a/b" },
      "invalid Origin header: more than scheme, host and port",
      denied,
    );
    await refuse(
      { Origin: "HTTPS://Other.example:443/" },
      "Origin not allowed: https://other.example",
      denied,
    );
    await refuse({ Origin: "null" }, "Origin not allowed: null", denied);
    // An empty list: the page must come from the host it calls.
    await accepted(
      proxy,
      { Origin: "https://proxy.example", Host: "PROXY.example:443" },
      "/l2?token=k",
    );
    await accepted(proxy, { Origin: "http://8.0.0.1", Host: "010.0.0.1" }, "/l2?token=k");
    await refuse(
      { Origin: "http://proxy.example", Host: "proxy.example:443" },
      "Origin not allowed: http://proxy.example",
      denied,
    );
  }));

test("§3.3: the list, its fallback and additions; * takes every valid origin", async () => {
  const listed = {
    AERO_L2_API_KEY: "k",
    AERO_L2_ALLOWED_ORIGINS: " , ",
    ALLOWED_ORIGINS: `${PAGE}:443`,
  };
  await withProxy(
    { ...listed, AERO_L2_ALLOWED_ORIGINS_EXTRA: "http://b.example" },
    async (proxy) => {
      await accepted(proxy, { Origin: PAGE }, "/l2?token=k");
      await accepted(proxy, { Origin: "http://b.example:80" }, "/l2?token=k");
      const own = upgradeRequest({ Origin: "https://proxy.example" }, "/l2?token=k");
      assert.equal((await exchange(proxy, own)).status, 403);
    },
  );
  await withProxy({ AERO_L2_API_KEY: "k", AERO_L2_ALLOWED_ORIGINS: "*" }, async (proxy) => {
    await accepted(proxy, { Origin: "https://anything.example" }, "/l2?token=k");
    const bad = upgradeRequest({ Origin: "nonsense" }, "/l2?token=k");
    assert.equal((await exchange(proxy, bad)).status, 403);
  });
});

test("§3.4: Host missing, malformed, not allowed, forwarded", () =>
  withProxy(
    {
      ...OPEN,
      AERO_L2_ALLOWED_HOSTS: "proxy.example, [::1]:8080",
      AERO_L2_TRUST_PROXY_HOST: "yes",
    },
    async (proxy) => {
      const refuse = (change, body, counter) =>
        refused(
          proxy,
          upgradeRequest(change),
          403,
          body,
          `l2_upgrade_reject_host_${counter}_total`,
        );
      await refuse({ Host: null }, "missing Host header", "missing");
      await refuse({ Host: "proxy.example:" }, "malformed Host header", "invalid");
      await refuse({ Host: "proxy.example:x" }, "malformed Host header", "invalid");
      await refuse({ Host: "a b" }, "malformed Host header", "invalid");
      await refuse(
        { Host: "Other.example:81" },
        "Host not allowed: other.example:81",
        "not_allowed",
      );
      await accepted(proxy, { Host: "Proxy.Example:80" });
      await accepted(proxy, { Host: "proxy.example:443", Origin: "https://x.example" });
      await accepted(proxy, { Host: "[::1]:8080" });
      await accepted(proxy, { Host: "inner", Forwarded: 'for=1.2.3.4;host="proxy.example"' });
      await accepted(proxy, { Host: "inner", "X-Forwarded-Host": "proxy.example, other" });
      await accepted(proxy, {
        Host: "inner",
        "X-Forwarded-Host": "proxy.example:443",
        "X-Forwarded-Proto": "https",
      });
    },
  ));
