// Prints what a page downloads: both wasm files and the JavaScript of the package, gzipped.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const glue = join(dirname(fileURLToPath(import.meta.url)), "../../wasm-glue");
const sizes = {};
for (const name of ["nic-plain.wasm", "nic-shared.wasm"]) {
  const bytes = readFileSync(join(glue, "dist", name));
  sizes[name] = { bytes: bytes.length, gzipped: gzipSync(bytes, { level: 9 }).length };
}
const scripts = readdirSync(join(glue, "src")).filter((name) => name.endsWith(".js"));
const source = Buffer.concat(scripts.map((name) => readFileSync(join(glue, "src", name))));
sizes["src/*.js"] = {
  bytes: source.length,
  gzipped: scripts
    .map((name) => gzipSync(readFileSync(join(glue, "src", name)), { level: 9 }).length)
    .reduce((sum, bytes) => sum + bytes, 0),
};

console.log("file              bytes   gzipped");
for (const [name, size] of Object.entries(sizes)) {
  console.log(
    `${name.padEnd(16)}${String(size.bytes).padStart(7)}${String(size.gzipped).padStart(10)}`,
  );
}
const json = process.argv.indexOf("--json");
if (json > 0) writeFileSync(process.argv[json + 1], `${JSON.stringify({ sizes }, null, 2)}\n`);
