/*
 * options.js - what the address says: proxy, token, card, isolated, memory.
 *
 * They may stand after ? or after #; the latter wins and is where a token belongs, since no server
 * gets to see it.
 */
const MEMORY_MIB = { default: 128, min: 96, max: 1024 }; // an initrd needs more than 64

/** The cards of aero-nic that the guest's image has a driver for; the first one is the default. */
export const CARDS = {
  e1000: { text: "an Intel E1000", driver: "e1000" },
  "virtio-net": { text: "a virtio-net card", driver: "virtio_net" },
};

/**
 * @param {Location} location
 * @returns {{ proxy: string, token: string, model: string, memoryMib: number, wantsIsolation: boolean,
 *             problems: string[] }}  problems: one sentence for each value that was not usable
 */
export function readOptions(location) {
  const given = new URLSearchParams(location.search);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) given.set(name, value);
  const problems = [];

  let proxy = given.get("proxy") || `ws://${location.hostname}:8090/l2`;
  try {
    const url = new URL(proxy);
    if (!["ws:", "wss:", "http:", "https:"].includes(url.protocol)) throw new Error("scheme");
  } catch {
    problems.push("proxy= must be a ws:// or wss:// address; the default is used instead.");
    proxy = `ws://${location.hostname}:8090/l2`;
  }

  const [defaultCard] = Object.keys(CARDS);
  let model = given.get("card") ?? defaultCard;
  if (!Object.hasOwn(CARDS, model)) {
    problems.push(
      `card= takes ${Object.keys(CARDS).join(" or ")}; ${defaultCard} is used instead.`,
    );
    model = defaultCard;
  }

  let memoryMib = MEMORY_MIB.default;
  const memory = given.get("memory");
  if (memory !== null) {
    const mib = Number(memory);
    if (Number.isInteger(mib) && mib >= MEMORY_MIB.min && mib <= MEMORY_MIB.max) memoryMib = mib;
    else {
      problems.push(
        `memory= takes ${MEMORY_MIB.min} to ${MEMORY_MIB.max} MiB; ${memoryMib} is used instead.`,
      );
    }
  }
  return {
    proxy,
    token: given.get("token") ?? "",
    model,
    memoryMib,
    wantsIsolation: given.get("isolated") !== "0",
    problems,
  };
}

/** This page's address with another card in it; the options stay. */
export function addressWithCard(location, model) {
  const url = new URL(location.href);
  const hash = new URLSearchParams(url.hash.slice(1));
  hash.delete("card"); // it would win
  url.hash = hash;
  url.searchParams.set("card", model);
  return url.href;
}

/** This page's address with the isolation headers asked for or not; the options stay. */
export function addressWithIsolation(location, wanted) {
  const url = new URL(location.href);
  if (wanted) url.searchParams.delete("isolated");
  else url.searchParams.set("isolated", "0");
  return url.href;
}
