// The tunnel's vector files, which the C tests read, through the compiled client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CLIENT_DEFAULTS, TunnelClient } from "../../wasm-glue/src/tunnel.js";
import { SUBPROTOCOL } from "../../wasm-glue/src/url.js";
import { fromHex, readVectors, toHex } from "./vectors.js";

const quiet = { ...CLIENT_DEFAULTS, errorIntervalMs: 0, keepaliveMinMs: 0, keepaliveMaxMs: 0 };

async function openClient(options) {
  const client = await TunnelClient.create({ ...quiet, ...options });
  client.connecting(1);
  client.opened(SUBPROTOCOL, 1);
  if (options.extensions) client.outboundDone(client.outbound()); // its HELLO
  return client;
}

/** What came of one message: events and answers, each as a word and its bytes. */
function feed(client, wire) {
  const seen = [];
  client.feed(wire, 2);
  client.takeEvents({
    frame: (bytes) => seen.push(`FRAME ${toHex(bytes)}`),
    pong: () => seen.push("PONG"),
    error: (error) => seen.push(`ERROR ${error.message}`),
    close: (code) => seen.push(`CLOSE ${code}`),
  });
  for (let out = client.outbound(); out !== null; out = client.outbound()) {
    seen.push(`OUT ${toHex(out)}`);
    client.outboundDone();
  }
  return seen;
}

// l2-tunnel.md §3, §4, §6. Rows with a limit of 0 cannot be had: 0 asks for the default.
test("l2t_decode: each message becomes what the table says", async () => {
  for (const { where, fields } of readVectors("l2t_decode", 4)) {
    const [name, limits, hex, expect] = fields;
    const [maxFrameSize, maxControlSize, batch] = limits.split(",").map(Number);
    if (batch !== 0 || maxFrameSize === 0) continue;
    const client = await openClient({ maxFrameSize, maxControlSize, extensions: false });
    const seen = feed(client, fromHex(hex));
    const [type, payload] = expect.split(" ");
    const answer = {
      "00": () => assert.deepEqual(seen, [`FRAME ${payload}`]),
      "01": () => assert.deepEqual(seen, [`OUT a2030200${payload === "-" ? "" : payload}`]),
      "02": () => assert.deepEqual(seen, ["PONG"]),
      "7f": () => assert.match(seen.join(), /^ERROR l2 tunnel error/),
    }[type];
    if (type.startsWith("ERR_")) {
      assert.equal(seen.length, 1, `${where} ${name}`);
      assert.match(seen[0], /^ERROR /, `${where} ${name}`);
      assert.equal(Number(client.stats().rxUndecodable), 1, `${where} ${name}`);
    } else if (answer === undefined) {
      assert.deepEqual(seen, [], `${where} ${name}: unknown types are dropped silently`);
    } else {
      answer();
    }
  }
});

// l2-tunnel.md §5: the code and our own wording, never the bytes received.
test("l2t_error: each payload is structured exactly when the table says", async () => {
  const client = await openClient({ extensions: false });
  for (const { where, fields } of readVectors("l2t_error", 3)) {
    const [name, hex, expect] = fields;
    const payload = fromHex(hex);
    const [seen] = feed(client, Uint8Array.of(0xa2, 3, 0x7f, 0, ...payload));
    const start =
      expect === "UNSTRUCTURED"
        ? `ERROR l2 tunnel error (unstructured payload, ${payload.length} bytes)`
        : `ERROR l2 tunnel error (${expect.split(" ")[0]})`;
    assert.ok(seen.startsWith(start), `${where} ${name}: ${seen}`);
  }
});

// l2-extensions.md §2: all of a batch, or nothing of it.
test("l2t_batch: each batch becomes its frames or one error", async () => {
  for (const { where, fields } of readVectors("l2t_batch", 4)) {
    const [name, frameMax, hex, expect] = fields;
    const client = await openClient({ maxFrameSize: Number(frameMax), extensions: true });
    const seen = feed(client, Uint8Array.of(0xa2, 3, 0x11, 0, ...fromHex(hex)));
    if (expect === "ERR_BATCH") assert.match(seen.join(), /^ERROR [^,]*$/, `${where} ${name}`);
    else assert.equal(seen.join(" "), expect.replace(/(\S+)/g, "FRAME $1"), `${where} ${name}`);
  }
});

// l2-extensions.md §1: a malformed HELLO is a violation, one of a later version is not.
test("l2t_hello: each is taken, dropped or refused", async () => {
  for (const { where, fields } of readVectors("l2t_hello", 3)) {
    const [name, hex, expect] = fields;
    const client = await openClient({ maxControlSize: 300, extensions: true });
    const wire = Uint8Array.of(0xa2, 3, 0x10, 0, ...fromHex(hex));
    assert.equal(feed(client, wire).length, expect === "ERR_HELLO" ? 1 : 0, `${where} ${name}`);
    if (expect.startsWith("ERR_")) continue;
    assert.equal(feed(client, wire).length, 1, `${where} ${name}: a second HELLO`);
  }
});
