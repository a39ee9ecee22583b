/**
 * Reads tests/vectors/<name>.txt as tests/support/vectors.h does: one case a line, fields
 * separated by blanks, the last one holds the rest of the line.
 */
import { readFileSync } from "node:fs";

/**
 * @param {string} name
 * @param {number} fields
 * @returns {{where: string, fields: string[]}[]}
 */
export function readVectors(name, fields) {
  const text = readFileSync(new URL(`../vectors/${name}.txt`, import.meta.url), "utf8");
  const cases = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const where = `${name}.txt:${index + 1}`;
    const words = line.trim().split(/\s+/);
    if (words.length < fields) throw new Error(`${where}: ${words.length} fields, want ${fields}`);
    const rest = words.splice(fields - 1).join(" ");
    cases.push({ where, fields: [...words, rest] });
  }
  if (cases.length === 0) throw new Error(`${name}.txt has no case`);
  return cases;
}

/** "-" is no bytes. */
export function fromHex(hex) {
  if (hex === "-") return new Uint8Array(0);
  if (!/^([0-9a-f]{2})+$/.test(hex)) throw new Error(`not hex: ${hex}`);
  return Uint8Array.from(hex.match(/../g), (pair) => Number.parseInt(pair, 16));
}

export function toHex(bytes) {
  if (bytes.length === 0) return "-";
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
