// The JSDoc types of the package hold together, and from them come declarations for every entry.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const glue = fileURLToPath(new URL("../../wasm-glue", import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const out = mkdtempSync(join(tmpdir(), "aero-types-")); // the package's own folder is left alone
after(() => rmSync(out, { recursive: true }));

test("tsc finds no fault, and declares every entry of package.json", () => {
  const run = spawnSync(process.execPath, [tsc, "-p", glue, "--outDir", out], { encoding: "utf8" });
  assert.equal(run.stdout + run.stderr, "");
  assert.equal(run.status, 0);
  const { exports } = JSON.parse(readFileSync(join(glue, "package.json"), "utf8"));
  const declared = Object.values(exports).flatMap((entry) => entry.types ?? []);
  assert.ok(declared.length > 0);
  for (const file of declared)
    assert.ok(existsSync(join(out, file.replace(/^\.\/types\//, ""))), file);
});
