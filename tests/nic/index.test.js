// The index of tests/nic/README.md names tests that exist, in the files it says.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const folder = new URL("./", import.meta.url);

/** @param {string} area  "e1000.rx" */
function names(area) {
  const file = area === "packet.checksum" ? "packet_test.c" : `${area.replace(".", "_")}_test.c`;
  const source = readFileSync(new URL(file, folder), "utf8");
  return new Set([...source.matchAll(/^static void (\w+)\(void \*\*state\)/gm)].map((m) => m[1]));
}

test("every name of the index is a test of its file", () => {
  const text = readFileSync(new URL("README.md", folder), "utf8");
  const rows = text.slice(text.indexOf("## Index")).split("\n");
  let area = "";
  let count = 0;
  for (const row of rows.filter((line) => line.startsWith("| "))) {
    for (const [, newArea, name] of row.matchAll(
      /\b((?:e1000|virtio|pci|packet)\.\w+)\b|`(\w+)`/g,
    )) {
      if (newArea !== undefined) area = newArea;
      if (name === undefined) continue;
      assert.ok(names(area).has(name), `${area} has no ${name}: ${row}`);
      count++;
    }
  }
  assert.ok(count > 100);
});
