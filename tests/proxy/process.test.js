// The process: spec/l2-proxy.md §1 (arguments, ready lines, shutdown), §2 (bad configuration),
// §3.1 (bounds of a request head), §7 (every metric).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { ProxyProcess, proxyBinary } from "../support/proxy.js";
import { dial, exchange, OPEN, RawTunnel, readAll, upgradeRequest, within } from "./raw.js";

/** Runs the proxy to its end. */
async function run(args, environment) {
  const child = spawn(proxyBinary(), args, { env: { ...environment, PATH: process.env.PATH } });
  const out = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    child[name].setEncoding("utf8").on("data", (text) => {
      out[name] += text;
    });
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [code, signal] = await once(child, "close");
  clearTimeout(timer);
  return { code: code ?? signal, ...out };
}

test("§1: --help and -h name every variable, on stdout, exit 0", async () => {
  const help = await run(["--help"], {});
  assert.equal(help.code, 0);
  assert.deepEqual(await run(["-h"], {}), help);
  const names = `AERO_L2_PROXY_LISTEN_ADDR AERO_L2_PROXY_BIND_ADDR AERO_TOKIO_WORKER_THREADS
    AERO_L2_SHUTDOWN_GRACE_MS AERO_L2_MAX_FRAME_PAYLOAD AERO_L2_MAX_FRAME_SIZE
    AERO_L2_MAX_CONTROL_PAYLOAD AERO_L2_PING_INTERVAL_MS AERO_L2_IDLE_TIMEOUT_MS
    AERO_L2_WS_SEND_BUFFER AERO_L2_TCP_CONNECT_TIMEOUT_MS AERO_L2_TCP_SEND_BUFFER
    AERO_L2_MAX_UDP_FLOWS_PER_TUNNEL AERO_L2_UDP_FLOW_IDLE_TIMEOUT_MS
    AERO_L2_STACK_MAX_TCP_CONNECTIONS AERO_L2_STACK_MAX_PENDING_DNS
    AERO_L2_STACK_MAX_DNS_CACHE_ENTRIES AERO_L2_STACK_MAX_BUFFERED_TCP_BYTES_PER_CONN
    AERO_L2_DNS_LOOKUP_TIMEOUT_MS AERO_L2_DNS_DEFAULT_TTL_SECS AERO_L2_DNS_MAX_TTL_SECS
    AERO_L2_CAPTURE_DIR AERO_L2_CAPTURE_MAX_BYTES AERO_L2_CAPTURE_FLUSH_INTERVAL_MS AERO_L2_OPEN
    AERO_L2_INSECURE_ALLOW_NO_AUTH AERO_L2_ALLOWED_ORIGINS ALLOWED_ORIGINS
    AERO_L2_ALLOWED_ORIGINS_EXTRA AERO_L2_ALLOWED_HOSTS AERO_L2_TRUST_PROXY_HOST AERO_L2_AUTH_MODE
    AERO_L2_API_KEY AERO_L2_TOKEN AERO_GATEWAY_SESSION_SECRET SESSION_SECRET AERO_L2_SESSION_SECRET
    AERO_L2_JWT_SECRET AERO_L2_JWT_AUDIENCE AERO_L2_JWT_ISSUER AERO_L2_TRUST_PROXY
    AERO_L2_MAX_CONNECTIONS AERO_L2_MAX_CONNECTIONS_PER_SESSION AERO_L2_MAX_TUNNELS_PER_SESSION
    AERO_L2_MAX_CONNECTIONS_PER_IP AERO_L2_MAX_BYTES_PER_CONNECTION AERO_L2_MAX_FRAMES_PER_SECOND
    AERO_L2_ALLOW_PRIVATE_IPS AERO_L2_ALLOWED_TCP_PORTS AERO_L2_ALLOWED_UDP_PORTS
    AERO_L2_ALLOWED_DOMAINS AERO_L2_BLOCKED_DOMAINS AERO_L2_DNS_A AERO_L2_TCP_FORWARD
    AERO_L2_UDP_FORWARD AERO_L2_LAN_MTU AERO_L2_TCP_WINDOW_BYTES AERO_L2_TCP_KEEPALIVE_MS
    AERO_L2_IPV6 AERO_L2_UDP_EVICT_OLDEST AERO_L2_UDP_FULL_CONE AERO_L2_DNS_SERVERS
    AERO_L2_DHCP_DOMAIN AERO_L2_DHCP_NTP AERO_L2_PROXY_VERSION VERSION AERO_L2_PROXY_GIT_SHA GIT_SHA
    AERO_L2_PROXY_BUILD_TIMESTAMP BUILD_TIMESTAMP`.split(/\s+/);
  for (const name of names) assert.match(help.stdout, new RegExp(`\\b${name}\\b`));
});

test("§1: unknown or malformed arguments end with status 2 and a message", async () => {
  for (const args of [
    ["--frobnicate"],
    ["--bind"],
    ["--bind=nonsense"],
    ["--bind", "1.2.3.4"],
    ["x"],
  ]) {
    const { code, stderr, stdout } = await run(args, OPEN);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /aero-l2-proxy: ./);
    assert.equal(stdout, "");
  }
});

test("§1, §2: invalid configuration is said on stderr, nothing listens", async () => {
  const key = { AERO_L2_API_KEY: "k" };
  for (const [what, environment] of [
    ["no credentials", {}],
    ["no credentials", { AERO_L2_OPEN: "1" }],
    ["no credentials", { AERO_L2_INSECURE_ALLOW_NO_AUTH: "1" }],
    ["no credentials", { AERO_L2_OPEN: "true", AERO_L2_INSECURE_ALLOW_NO_AUTH: "1" }],
    ["no credentials", { AERO_L2_API_KEY: "", AERO_L2_OPEN: "1" }],
    ["AUTH_MODE", { ...key, AERO_L2_AUTH_MODE: "magic" }],
    ["JWT_SECRET", { ...key, AERO_L2_AUTH_MODE: "jwt" }],
    ["SESSION_SECRET", { ...key, AERO_L2_AUTH_MODE: "session" }],
    ["API_KEY", { AERO_L2_AUTH_MODE: "token", SESSION_SECRET: "s" }],
    ["ORIGINS", { ...key, AERO_L2_ALLOWED_ORIGINS: "https://a.example, https://b/c" }],
    ["DNS_A", { ...key, AERO_L2_DNS_A: "name" }],
    ["DNS_A", { ...key, AERO_L2_DNS_A: "name=1.2.3" }],
    ["TCP_FORWARD", { ...key, AERO_L2_TCP_FORWARD: "203.0.113.1:80=127.0.0.1" }],
    ["UDP_FORWARD", { ...key, AERO_L2_UDP_FORWARD: "203.0.113.1:80" }],
    ["TCP_PORTS", { ...key, AERO_L2_ALLOWED_TCP_PORTS: "80,http" }],
  ]) {
    const { code, stderr, stdout } = await run(
      ["--bind=127.0.0.1:0", "--ready-stdout"],
      environment,
    );
    assert.equal(code, 1, what);
    assert.match(stderr, new RegExp(`invalid configuration: .*${what}`));
    assert.doesNotMatch(stdout + stderr, /listening|READY/);
  }
});

test("§1: an address that is taken is an error", async () => {
  const proxy = await ProxyProcess.start(OPEN);
  const { code, stderr } = await run([`--bind=${new URL(proxy.url).host}`], OPEN);
  assert.equal(code, 1);
  assert.match(stderr, /cannot listen/);
  assert.equal(await proxy.stop(), 0);
});

test("§1: the ready lines, IPv4 and IPv6", async () => {
  for (const [bind, host] of [
    ["127.0.0.1:0", "127\\.0\\.0\\.1"],
    ["[::1]:0", "\\[::1\\]"],
  ]) {
    const child = spawn(proxyBinary(), ["--bind", bind, "--ready-stdout"], { env: OPEN });
    let out = "";
    let err = "";
    child.stderr.on("data", (text) => {
      err += text;
    });
    await within(
      new Promise((resolve) => {
        child.stdout.on("data", (text) => {
          out += text;
          if (out.endsWith("\n")) resolve();
        });
      }),
      "ready line",
    );
    const port = /:(\d+)\/l2/.exec(out)?.[1];
    assert.match(out, new RegExp(`^AERO_L2_PROXY_READY ws://${host}:${port}/l2\n$`));
    assert.match(err, new RegExp(`aero-l2-proxy listening on http://${host}:${port}\n`));
    child.kill("SIGINT");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  }
});

test("§1: SIGTERM without tunnels ends at once, status 0", async () => {
  const proxy = await ProxyProcess.start({ ...OPEN, AERO_L2_SHUTDOWN_GRACE_MS: "60000" });
  (await RawTunnel.open(proxy)).destroy();
  while ((await proxy.metrics()).get("l2_sessions_active") !== 0);
  const begin = Date.now();
  assert.equal(await proxy.stop(), 0);
  assert.ok(Date.now() - begin < 2000);
  assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
});

test("§1: SIGTERM closes tunnels with 1001 and refuses new ones meanwhile", async () => {
  const proxy = await ProxyProcess.start({ ...OPEN, AERO_L2_SHUTDOWN_GRACE_MS: "60000" });
  const polite = await RawTunnel.open(proxy);
  const silent = await RawTunnel.open(proxy);
  process.kill(proxy.pid, "SIGTERM");
  const goodbye = { code: 1001, reason: "shutting down", before: [] };
  assert.deepEqual(await polite.closed(), goodbye);
  assert.deepEqual(await silent.closed(), goodbye);
  const ready = await exchange(proxy, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.equal(ready.status, 503);
  const health = await exchange(proxy, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.equal(health.status, 200);
  const refused = await exchange(proxy, upgradeRequest());
  assert.deepEqual([refused.status, refused.body], [503, "shutting down"]);
  // Neither answers the close: l2-tunnel.md §7 gives them one second, not the grace time.
  assert.equal(await within(proxy.ended, "end of the proxy", 5000), 0);
  assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
  polite.destroy();
  silent.destroy();
});

test("§1: when the grace time is over the rest is aborted", async () => {
  const proxy = await ProxyProcess.start({ ...OPEN, AERO_L2_SHUTDOWN_GRACE_MS: "50" });
  const tunnel = await RawTunnel.open(proxy);
  process.kill(proxy.pid, "SIGINT");
  const begin = Date.now();
  assert.equal(await within(proxy.ended, "end of the proxy"), 0);
  assert.ok(Date.now() - begin < 900);
  assert.doesNotMatch(proxy.output, /Sanitizer|runtime error/);
  tunnel.destroy();
});

test("§3.1: a request head above 16 KiB is answered 431", async () => {
  const proxy = await ProxyProcess.start(OPEN);
  const headers = { "X-Long": "a".repeat(17 * 1024) };
  assert.equal((await exchange(proxy, upgradeRequest(headers))).status, 431);
  const fits = await RawTunnel.open(proxy, { "X-Long": "a".repeat(8 * 1024) });
  fits.destroy();
  assert.equal(await proxy.stop(), 0);
});

test("§3.1: a head that trickles in is cut off after 10 s, others are served meanwhile", async () => {
  const proxy = await ProxyProcess.start(OPEN);
  const begin = Date.now();
  const socket = await dial(proxy);
  const ended = readAll(socket);
  socket.write("GET /l2 HTTP/1.1\r\nHost: x\r\n");
  const drip = setInterval(() => socket.write("X-A: b\r\n"), 500);
  assert.equal((await fetch(proxy.http("/healthz"))).status, 200);
  socket.once("end", () => socket.destroy());
  await within(ended, "end of the trickle");
  clearInterval(drip);
  const took = Date.now() - begin;
  assert.ok(took > 9000 && took < 15_000, `${took} ms`);
  assert.equal(await proxy.stop(), 0);
});

test("§7: every metric has a TYPE line and a sample", async () => {
  const gauges = ["l2_sessions_active", "l2_tcp_conns_active", "l2_udp_flows_active"];
  const rejects = `origin_missing origin_not_allowed host_missing host_invalid host_not_allowed
    auth_missing auth_invalid max_connections max_connections_per_session max_tunnels_per_session`;
  const counters = `l2_sessions_total l2_upgrade_rejected_total l2_upgrade_ip_limit_exceeded_total
    l2_session_connection_denied_total l2_auth_failures_total l2_frames_rx_total l2_frames_tx_total
    l2_bytes_rx_total l2_bytes_tx_total l2_frames_dropped_total aero_l2_idle_timeouts_total
    l2_sessions_closed_quota_bytes_total l2_sessions_closed_quota_fps_total
    l2_sessions_closed_backpressure_total l2_policy_denied_total l2_tcp_connect_fail_total
    l2_udp_send_fail_total l2_udp_flow_limit_exceeded_total l2_dns_queries_total l2_dns_fail_total
    l2_capture_bytes_total l2_capture_frames_total l2_capture_frames_dropped_total
    l2_capture_errors_total`
    .split(/\s+/)
    .concat(rejects.split(/\s+/).map((name) => `l2_upgrade_reject_${name}_total`));
  const proxy = await ProxyProcess.start(OPEN);
  const text = await (await fetch(proxy.http("/metrics"))).text();
  const samples = await proxy.metrics();
  for (const name of [...gauges, ...counters]) {
    assert.match(
      text,
      new RegExp(`^# TYPE ${name} ${gauges.includes(name) ? "gauge" : "counter"}$`, "m"),
    );
    assert.equal(samples.get(name), 0, name);
  }
  for (const reason of `missing_credentials invalid_api_key invalid_cookie invalid_jwt
    jwt_origin_mismatch`.split(/\s+/))
    assert.equal(samples.get(`l2_auth_reject_total{reason="${reason}"}`), 0);
  assert.match(text, /^# TYPE l2_ping_rtt_ms histogram$/m);
  for (const bound of ["1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "+Inf"])
    assert.equal(samples.get(`l2_ping_rtt_ms_bucket{le="${bound}"}`), 0);
  assert.ok(samples.has("l2_ping_rtt_ms_sum") && samples.has("l2_ping_rtt_ms_count"));
  assert.equal(await proxy.stop(), 0);
});
