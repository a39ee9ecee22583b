/* format.js - numbers as people read them. */

const number = new Intl.NumberFormat("en-US");

/** 1234567 -> "1,234,567" */
export function count(value) {
  return number.format(Math.round(value));
}

/** 16777216 -> "16.8 MB" (powers of 1000, as networks count) */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let scaled = value;
  let unit = 0;
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 || scaled >= 99.95 ? Math.round(scaled) : scaled.toFixed(1)} ${units[unit]}`;
}

/** bits per second as Mbit/s: "0", "0.04", "3.2", "412" */
export function mbits(value) {
  const scaled = value / 1e6;
  if (scaled < 0.005) return "0";
  if (scaled < 0.1) return scaled.toFixed(2);
  return scaled < 99.95 ? scaled.toFixed(1) : String(Math.round(scaled));
}

/** 0 -> "< 1 ms", 4.2 -> "4.2 ms", 17.3 -> "17 ms" */
export function milliseconds(value) {
  if (value < 1) return "< 1 ms";
  return `${value < 9.95 ? Number(value.toFixed(1)) : Math.round(value)} ms`;
}
