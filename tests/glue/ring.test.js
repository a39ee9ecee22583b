// wasm-glue/src/ring.js against net-rings.md, with the vector files the C tests read.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  buildRings,
  openRing,
  Ring,
  RingError,
  RingKind,
  RingStatus,
  ringAt,
} from "../../wasm-glue/src/ring.js";
import { fromHex, readVectors, toHex } from "./vectors.js";

const statusName = Object.fromEntries(Object.entries(RingStatus).map(([k, v]) => [v, k]));

/** One ring behind another, so that writing outside shows; `base` bytes lie before the buffer. */
function fixture(capacity, { shared = false, base = 0 } = {}) {
  const built = buildRings(
    [
      { kind: RingKind.CMD, capacity: 64 },
      { kind: RingKind.NET_TX, capacity },
      { kind: RingKind.EVT, capacity: 64 },
    ],
    { shared: false },
  );
  const total = base + built.byteLength;
  const buffer = shared ? new SharedArrayBuffer(total) : new ArrayBuffer(total);
  new Uint8Array(buffer, base).set(new Uint8Array(built));
  const header = base + 16 + 3 * 16 + 16 + 64;
  const around = () => {
    const all = new Uint8Array(buffer.slice(0));
    all.fill(0, header, header + 12); // the cursors may change, and the data
    all.fill(0, header + 16, header + 16 + capacity);
    return toHex(all);
  };
  return {
    buffer,
    ring: openRing(buffer, { kind: RingKind.NET_TX, byteOffset: base }),
    words: new Uint32Array(buffer, header, 4),
    data: new Uint8Array(buffer, header + 16, capacity),
    around,
    untouched: around(),
  };
}

// §2.5: validate in this order, with a distinct error each.
test("opening checks in the order of the text", () => {
  for (const { where, fields } of readVectors("ring_layout", 5)) {
    const [name, kind, nth, hex, expect] = fields;
    const bytes = fromHex(hex);
    let got;
    try {
      const ring = openRing(bytes.buffer, { kind: Number(kind), nth: Number(nth) });
      assert.ok(ring instanceof Ring);
      const start = ring.data.byteOffset - 16;
      got = `${start} ${ring.capacity}`;
    } catch (error) {
      if (!(error instanceof RingError)) throw error;
      got = `ERR_${error.code}`;
    }
    assert.equal(got, expect, `${where} ${name}`);
  }
});

// §2.6: the default browser buffer.
test("the default buffer has the offsets of the table", () => {
  const buffer = buildRings([
    { kind: RingKind.CMD, capacity: 32768 },
    { kind: RingKind.EVT, capacity: 32768 },
    { kind: RingKind.NET_TX, capacity: 524288 },
    { kind: RingKind.NET_RX, capacity: 524288 },
    { kind: RingKind.HID_IN, capacity: 1048576 },
  ]);
  assert.equal(buffer.byteLength, 2162864);
  assert.equal(
    toHex(new Uint8Array(buffer, 0, 96)),
    "4149504301000000b000210005000000" +
      "00000000600000000080000000000000" +
      "01000000708000000080000000000000" +
      "02000000800001000000080000000000" +
      "03000000900009000000080000000000" +
      "04000000a00011000000100000000000",
  );
  for (const [kind, offset] of [96, 32880, 65664, 589968, 1114272].entries())
    assert.equal(openRing(buffer, { kind }).data.byteOffset, offset + 16);
});

function pushReserved(ring, bytes) {
  const at = ring.reserve(bytes.byteLength);
  if (at < 0) return at;
  ring.data.set(bytes, at);
  ring.commit();
  return 0;
}

function pushPlain(ring, bytes) {
  try {
    return ring.push(bytes) ? 0 : RingStatus.FULL;
  } catch (error) {
    assert.ok(error instanceof RangeError);
    return RingStatus.TOO_LARGE;
  }
}

function popInto(ring, max) {
  const target = new Uint8Array(64);
  const length = ring.popInto(target, max);
  return length < 0 ? statusName[length] : toHex(target.subarray(0, length));
}

function popByConsume(ring, max) {
  const before = ring.stats;
  let got = "EMPTY";
  ring.consume(1, max, (data, at, length) => {
    got = toHex(data.subarray(at, at + length));
  });
  if (ring.stats.oversize > before.oversize) return "TOO_LARGE";
  return ring.stats.corrupt > before.corrupt ? "CORRUPT" : got;
}

const nameOf = (status) => (status === 0 ? "OK" : statusName[status]);

function runTrace(push, pop, place) {
  let f;
  for (const { where, fields } of readVectors("ring_trace", 5)) {
    const [op, argument, result, cursors, data] = fields;
    let got = "OK";
    if (op === "ring") {
      const [capacity, ...words] = argument.split(",").map(Number);
      f = fixture(capacity, place);
      f.words.set(words);
    } else if (op === "poke") {
      const [at, hex] = argument.split("=");
      f.data.set(fromHex(hex), Number(at));
    } else if (op === "push") {
      const record = argument.startsWith("+")
        ? new Uint8Array(Number(argument)).fill(0x5a)
        : fromHex(argument);
      got = nameOf(push(f.ring, record));
    } else if (op === "pop") {
      got = pop(f.ring, Number(argument));
    } else if (op === "drain") {
      f.ring.drain();
    } else {
      assert.fail(`${where}: what is ${op}?`);
    }
    assert.equal(got, result, where);
    assert.equal(f.words.subarray(0, 3).join(), cursors, where);
    if (data !== "*") {
      const have = toHex(f.data);
      assert.equal(
        data.replace(/\./g, (_, at) => have[at]),
        have,
        where,
      );
    }
    assert.equal(f.around(), f.untouched, `${where}: something outside the ring changed`);
  }
}

for (const place of [{}, { shared: true }, { base: 64 }, { shared: true, base: 4 }]) {
  const name = JSON.stringify(place);
  test(`trace with push and popInto ${name}`, () => runTrace(pushPlain, popInto, place));
  test(`trace with reserve and consume ${name}`, () => runTrace(pushReserved, popByConsume, place));
}

// §3.1: cursors are signed in JavaScript and must be converted.
test("a ring works on across 2^31 and 2^32", () => {
  for (const start of [0x7fffff80, 0xffffff80]) {
    const f = fixture(128);
    f.words.fill(start, 0, 3);
    for (let round = 0; round < 1000; round++) {
      const record = new Uint8Array((round * 7) % 61).fill(round);
      assert.equal(f.ring.push(record), true);
      assert.deepEqual(f.ring.pop(64), record);
    }
    assert.equal(f.around(), f.untouched);
  }
});

// §4.1: one receive passes over 64 oversized records at most.
test("pop passes over oversized records, 64 at most", () => {
  const { ring } = fixture(4096);
  for (let i = 0; i < 70; i++) ring.push(new Uint8Array(20));
  ring.push(Uint8Array.of(7));
  assert.equal(ring.pop(10), undefined);
  assert.equal(ring.stats.oversize, 64);
  assert.deepEqual(ring.pop(10), Uint8Array.of(7));
  assert.equal(ring.stats.oversize, 70);
});

test("what pop() returns is a copy on memory of its own", () => {
  const f = fixture(64, { shared: true });
  f.ring.push(Uint8Array.of(1, 2, 3));
  const record = f.ring.pop(64);
  assert.ok(record.buffer instanceof ArrayBuffer);
  f.data.fill(0);
  assert.deepEqual(record, Uint8Array.of(1, 2, 3));
});

test("consume frees together, and keeps the record it is told to keep", () => {
  const f = fixture(128);
  for (let i = 0; i < 5; i++) f.ring.push(Uint8Array.of(i));
  const seen = [];
  const freed = f.ring.consume(10, 64, (data, at) => {
    assert.equal(f.words[0], 0, "head moves once, at the end");
    if (data[at] === 3) return false;
    seen.push(data[at]);
  });
  assert.equal(freed, 3);
  assert.deepEqual(seen, [0, 1, 2]);
  assert.deepEqual(f.ring.pop(64), Uint8Array.of(3));
  assert.throws(() =>
    f.ring.consume(10, 64, () => {
      throw new Error("no");
    }),
  );
  assert.deepEqual(f.ring.pop(64), Uint8Array.of(4));
});

test("an exception in consume() does not give back what was taken before it", () => {
  const { ring } = fixture(128);
  for (let i = 0; i < 3; i++) ring.push(Uint8Array.of(i));
  assert.throws(() =>
    ring.consume(10, 64, (data, at) => {
      if (data[at] === 1) throw new Error("no");
    }),
  );
  assert.deepEqual(ring.pop(64), Uint8Array.of(1));
});

test("push throws for what never fits, tryPush says false", () => {
  const { ring } = fixture(32);
  assert.equal(ring.fits(28), true);
  assert.equal(ring.fits(29), false);
  assert.throws(() => ring.push(new Uint8Array(29)), RangeError);
  assert.equal(ring.tryPush(new Uint8Array(29)), false);
  assert.equal(ring.reserve(29), RingStatus.TOO_LARGE);
  assert.equal(ring.stats.tooLarge, 3);
});

// memory.grow() detaches the buffer of an unshared memory and replaces that of a shared one.
for (const shared of [false, true]) {
  test(`a ring inside a ${shared ? "shared " : ""}WebAssembly.Memory survives memory.grow()`, () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared });
    const built = buildRings([{ kind: 2, capacity: 64 }], { shared: false });
    new Uint8Array(memory.buffer, 4096).set(new Uint8Array(built));
    const where = { kind: 2, byteOffset: 4096, byteLength: built.byteLength };
    const ring = openRing(memory, where);
    const other = openRing(() => memory.buffer, where);
    assert.equal(ring.push(Uint8Array.of(1)), true);
    memory.grow(1);
    assert.equal(other.hasData, true);
    assert.equal(ring.push(Uint8Array.of(2)), true);
    assert.deepEqual(other.pop(8), Uint8Array.of(1));
    memory.grow(1);
    assert.deepEqual(other.pop(8), Uint8Array.of(2));
  });
}

test("ringAt opens a ring without a table, within the buffer only", () => {
  const { buffer } = fixture(64);
  const header = openRing(buffer, { kind: RingKind.NET_TX }).data.byteOffset - 16;
  assert.equal(ringAt(buffer, header).capacity, 64);
  assert.throws(() => ringAt(buffer, header + 2), { code: "MISALIGNED" });
  assert.throws(() => ringAt(buffer, buffer.byteLength - 12), { code: "BOUNDS" });
  assert.throws(() => ringAt(buffer, header + 16), { code: "CAPACITY" });
  new Uint32Array(buffer, header + 12, 1)[0] = 1 << 20;
  assert.throws(() => ringAt(buffer, header), { code: "BOUNDS" });
  assert.throws(() => openRing("no buffer", { kind: 2 }), TypeError);
});

// §3.3: commits become visible in reservation order. §3.6: no waiting without end.
test("a producer behind a stalled one owes its commit, and pays when that one goes on", () => {
  const f = fixture(64);
  const second = openRing(f.buffer, { kind: RingKind.NET_TX });
  f.words[1] = 8; // somebody reserved 8 bytes and has not committed
  assert.equal(second.push(Uint8Array.of(2)), true);
  assert.equal(f.words[1], 16);
  assert.equal(f.words[2], 0, "not visible before the first one");
  assert.equal(second.push(Uint8Array.of(3)), false, "full while it owes");
  f.data.set([1, 0, 0, 0, 1]);
  f.words[2] = 8; // the first one goes on
  assert.equal(second.push(Uint8Array.of(3)), true);
  assert.deepEqual(
    [8, 8, 8].map((max) => f.ring.pop(max)[0]),
    [1, 2, 3],
  );
});

// §3.6: the words may be anything at any moment; nothing outside the ring changes, nothing hangs.
test("random words and random bytes never reach outside the ring", () => {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed;
  };
  for (const capacity of [4, 24, 64, 100]) {
    const f = fixture(capacity);
    for (let round = 0; round < 4000; round++) {
      f.words[random() % 3] =
        random() % 4 === 0 ? random() : f.words[random() % 3] + (random() % 64);
      f.data[random() % capacity] = random() % 3 === 0 ? 0xff : random() % 32;
      const act = random() % 4;
      if (act < 2) f.ring.tryPush(new Uint8Array(random() % 40));
      else if (act === 2) f.ring.popInto(new Uint8Array(64));
      else f.ring.consume(8, 64, () => undefined);
    }
    assert.equal(f.around(), f.untouched);
    f.ring.drain();
    f.words[1] = f.words[2] = f.words[0] & ~3;
    f.ring.pop(64);
    f.ring.drain();
    assert.equal(f.ring.pop(64), undefined);
  }
});

// §3.5: waiting.
test("waitData returns at once for what is there and on unshared memory never blocks a push", async () => {
  const f = fixture(64);
  assert.equal(await f.ring.waitDataAsync(1), false);
  const waiting = f.ring.waitDataAsync(10000);
  f.ring.push(Uint8Array.of(1));
  assert.equal(await waiting, true);
  assert.equal(await f.ring.waitDataAsync(10000), true);
  assert.equal(f.ring.waitData(10000), true);
});

test("a producer waits for space until the consumer moves", async (t) => {
  const awake = setInterval(() => undefined, 1000); // Atomics.waitAsync keeps no Node alive
  t.after(() => clearInterval(awake));
  for (const shared of [false, true]) {
    const { ring } = fixture(32, { shared });
    ring.push(new Uint8Array(28));
    assert.equal(ring.push(new Uint8Array(1)), false);
    assert.equal(await ring.waitSpaceAsync(1), false);
    const waiting = ring.waitSpaceAsync(10000);
    ring.pop(64);
    assert.equal(await waiting, true);
    assert.equal(ring.push(new Uint8Array(1)), true);
    if (shared) assert.equal(ring.waitSpace(10000), true);
  }
});

test("without Atomics.waitAsync the asynchronous wait polls", async () => {
  const waitAsync = Atomics.waitAsync;
  Atomics.waitAsync = undefined;
  try {
    const { ring } = fixture(64, { shared: true });
    const waiting = ring.waitDataAsync();
    setTimeout(() => ring.push(Uint8Array.of(1)), 2);
    assert.equal(await waiting, true);
  } finally {
    Atomics.waitAsync = waitAsync;
  }
});
