// Prints what a page downloads: each wasm file, and the JavaScript of each entry of the package,
// comments and indentation stripped as every bundler does.
import { writeFileSync } from "node:fs";
import { entries, moduleBytes, modules, scriptBytes } from "../support/package-size.js";

const sizes = {};
for (const name of modules) sizes[name] = moduleBytes(name);
for (const [what, names] of Object.entries(entries)) sizes[what] = scriptBytes(names);

console.log("what                               bytes   gzipped");
for (const [name, { bytes, gzipped }] of Object.entries(sizes)) {
  console.log(`${name.padEnd(31)}${String(bytes).padStart(9)}${String(gzipped).padStart(10)}`);
}
const json = process.argv.indexOf("--json");
if (json > 0) writeFileSync(process.argv[json + 1], `${JSON.stringify({ sizes }, null, 2)}\n`);
