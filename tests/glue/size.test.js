// The budget of the package (docs/architecture.md): each .wasm at most 64 KiB, all JavaScript at
// most 24 KiB gzipped.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import typescript from "typescript";

const folder = (name) => new URL(`../../wasm-glue/${name}/`, import.meta.url);

for (const name of ["nic-plain.wasm", "nic-shared.wasm"]) {
  test(`${name} fits 64 KiB`, (t) => {
    const { size } = statSync(new URL(name, folder("dist")));
    t.diagnostic(`${size} bytes`);
    assert.ok(size > 0 && size <= 64 * 1024);
  });
}

// Comments stripped, as every bundler does; names and white space as they are.
function shipped(source) {
  const compilerOptions = {
    target: typescript.ScriptTarget.ES2022,
    module: typescript.ModuleKind.ESNext,
    removeComments: true,
  };
  return typescript.transpileModule(source, { compilerOptions }).outputText;
}

test("the JavaScript fits 24 KiB gzipped", (t) => {
  const files = readdirSync(folder("src")).filter((name) => name.endsWith(".js"));
  const sources = files.map((name) => shipped(readFileSync(new URL(name, folder("src")), "utf8")));
  const { length } = gzipSync(sources.join(""), { level: 9 });
  t.diagnostic(`${length} bytes in ${files.length} files`);
  assert.ok(length > 0 && length <= 24 * 1024);
});
