// The budget of the package (docs/architecture.md): each .wasm at most 64 KiB, the JavaScript at
// most 24 KiB gzipped for what a user of one entry gets: the package proper, the adapter for v86, the
// drop-in module aero-nic/aero.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
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

/** The files an entry is made of, itself included. @param {string[]} entries */
function reachable(entries) {
  const found = new Set(entries);
  for (const name of found) {
    const source = readFileSync(new URL(name, folder("src")), "utf8");
    for (const { fileName } of typescript.preProcessFile(source).importedFiles)
      if (fileName.startsWith("./")) found.add(fileName.slice(2));
  }
  return [...found];
}

for (const [what, entries, most] of [
  ["the package", ["index.js", "ring.js", "pump.worker.js"], 24 * 1024],
  ["aero-nic/v86", ["v86.js"], 24 * 1024],
  ["aero-nic/aero", ["aero.js"], 24 * 1024],
])
  test(`the JavaScript of ${what} fits ${most / 1024} KiB gzipped`, (t) => {
    const files = reachable(entries);
    const sources = files.map((name) =>
      shipped(readFileSync(new URL(name, folder("src")), "utf8")),
    );
    const { length } = gzipSync(sources.join(""), { level: 9 });
    t.diagnostic(`${length} bytes in ${files.length} files`);
    assert.ok(length > 0 && length <= most);
  });
