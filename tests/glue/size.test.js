// The budget of the package (docs/architecture.md): each .wasm at most 64 KiB, the JavaScript at
// most 24 KiB gzipped for what a user of one entry gets: the package proper, alone and with the adapter
// for v86; the rings; the drop-in module aero-nic/aero.
import assert from "node:assert/strict";
import { test } from "node:test";
import { entries, moduleBytes, modules, scriptBytes } from "../support/package-size.js";

for (const name of modules) {
  test(`${name} fits 64 KiB`, (t) => {
    const { bytes } = moduleBytes(name);
    t.diagnostic(`${bytes} bytes`);
    assert.ok(bytes > 0 && bytes <= 64 * 1024);
  });
}

for (const [what, names] of Object.entries(entries)) {
  test(`the JavaScript of ${what} fits 24 KiB gzipped`, (t) => {
    const { files, gzipped } = scriptBytes(names);
    t.diagnostic(`${gzipped} bytes in ${files} files`);
    assert.ok(gzipped > 0 && gzipped <= 24 * 1024);
  });
}
