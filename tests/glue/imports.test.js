// What the modules import and export: an undefined C symbol silently becomes an import, so
// the lists are compared whole (docs/toolchain.md).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { modules } from "../support/package-size.js";

const HOST = ["dma_read", "dma_write", "dma_written", "irq", "message", "now_ms", "tx_full"];
const POSITION = [
  "__indirect_function_table",
  "__memory_base",
  "__stack_pointer",
  "__table_base",
  "memory",
];
const exportsHeader = readFileSync(
  new URL("../../wasm-glue/abi/exports.h", import.meta.url),
  "utf8",
);

for (const name of modules) {
  const variant = name.includes("shared") ? "shared" : "plain";
  const url = new URL(`../../wasm-glue/dist/${name}`, import.meta.url);
  const module = new WebAssembly.Module(readFileSync(url));
  const isTunnel = name === "tunnel.wasm";
  const host = isTunnel ? [] : HOST;
  /** Who exports a function: its prefix says it. */
  const isOurs = (name) => name.startsWith("abi_") || name.startsWith("tunnel_") === isTunnel;

  test(`${name}: imports the host's functions and its place, nothing else`, () => {
    const imports = WebAssembly.Module.imports(module);
    assert.ok(imports.every((entry) => entry.module === "env"));
    const names = (kind) => imports.filter((entry) => (entry.kind === "function") === kind);
    assert.deepEqual(
      names(true)
        .map((entry) => entry.name)
        .sort(),
      host,
    );
    assert.deepEqual(
      names(false)
        .map((entry) => entry.name)
        .sort(),
      POSITION,
    );
  });

  test(`${name}: exports what exports.h declares`, () => {
    const declared = [...exportsHeader.matchAll(/ABI_EXPORT\((\w+)\)/g)]
      .map(([, name]) => name)
      .filter(isOurs);
    const names = WebAssembly.Module.exports(module).map((entry) => entry.name);
    const linker = names.filter((name) => name.startsWith("__wasm"));
    assert.deepEqual(linker, ["__wasm_call_ctors"]);
    assert.deepEqual(names.filter((name) => !linker.includes(name)).sort(), declared.sort());
  });

  test(`${name}: takes ${variant} memory only`, async () => {
    const instantiate = (shared) => {
      const i32 = (mutable) => new WebAssembly.Global({ value: "i32", mutable }, 65536);
      const env = {
        memory: new WebAssembly.Memory({ initial: 4, maximum: 4, shared }),
        __memory_base: i32(false),
        __table_base: new WebAssembly.Global({ value: "i32" }, 0),
        __stack_pointer: i32(true),
        __indirect_function_table: new WebAssembly.Table({ initial: 256, element: "anyfunc" }),
        ...Object.fromEntries(host.map((name) => [name, () => 0])),
      };
      return WebAssembly.instantiate(module, { env });
    };
    await instantiate(variant === "shared");
    await assert.rejects(instantiate(variant !== "shared"), WebAssembly.LinkError);
  });
}
