// What a page downloads of the package, measured one way for test and benchmark.
import { readFileSync, statSync } from "node:fs";
import { gzipSync } from "node:zlib";

import typescript from "typescript";

const folder = (name) => new URL(`../../wasm-glue/${name}/`, import.meta.url);

/** A module for each card and kind of memory, and the tunnel's. */
export const modules = [
  ...["e1000", "virtio-net"].flatMap((card) => [`${card}-plain.wasm`, `${card}-shared.wasm`]),
  "tunnel.wasm",
];

/** What users of one entry get. */
export const entries = {
  "the package": ["index.js", "pump.worker.js"],
  "the package with aero-nic/v86": ["index.js", "pump.worker.js", "v86.js"],
  "aero-nic/ring": ["ring.js"],
  "aero-nic/aero": ["aero.js"],
};

/** @param {string} name */
export function moduleBytes(name) {
  const url = new URL(name, folder("dist"));
  return { bytes: statSync(url).size, gzipped: gzipSync(readFileSync(url), { level: 9 }).length };
}

// Comments and indentation stripped, as every bundler does; names as they are. No text of the package
// spans lines, so that the white space a line begins with is never a part of one.
function shipped(source) {
  const compilerOptions = {
    target: typescript.ScriptTarget.ES2022,
    module: typescript.ModuleKind.ESNext,
    removeComments: true,
  };
  const { outputText } = typescript.transpileModule(source, { compilerOptions });
  return outputText.replace(/^[ \t]+/gm, "");
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

/** The files behind these entries as one stream. @param {string[]} names */
export function scriptBytes(names) {
  const files = reachable(names);
  const sources = files.map((name) => shipped(readFileSync(new URL(name, folder("src")), "utf8")));
  const text = sources.join("");
  return {
    files: files.length,
    bytes: text.length,
    gzipped: gzipSync(text, { level: 9 }).length,
  };
}
