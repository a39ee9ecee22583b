// The cards that the guests' cases are run with. A case reads here what a card can do, so that one
// table of cases serves all of them.

/**
 * @typedef {object} Card
 * @property {string} [name]  in the table
 * @property {string} model  of createNic()
 * @property {object} [options]  more options of createNic()
 * @property {string} driver  Linux's
 * @property {string} [append]  to Linux's command line
 * @property {string} [speed]  Mbit/s that sysfs shows; left out: the driver cannot know
 * @property {boolean} filters  by address, group and VLAN; else everything comes in
 * @property {number} mtuMax  the largest that this card's wire carries
 * @property {number[]} [features]  virtio: the bits that Linux 6.1 takes of what we offer
 * @property {RegExp} [ipxe]  the name of the chip in iPXE
 * @property {{ device: string, mac: string }} [uboot]  what U-Boot calls it
 */

const MAC = "52:54:00:12:34:56"; // createNic()'s
const JUMBO_MTU = 9000; // of 65520 that the rings carry: l2-extensions.md §4

// Virtio 1.2 §5.1.3 and §6
const CONTRACT = [5, 16, 28]; // MAC, STATUS, INDIRECT_DESC: virtio-net.md §3
const STANDARD = [
  ...CONTRACT, // and those of Linux 6.1's driver:
  ...[0, 1, 3, 7, 8, 9], // CSUM, GUEST_CSUM, MTU, GUEST_TSO4, GUEST_TSO6, GUEST_ECN
  ...[11, 12, 13, 15], // HOST_TSO4, HOST_TSO6, HOST_ECN, MRG_RXBUF
  ...[17, 18, 19, 21, 23, 29], // CTRL_VQ, CTRL_RX, CTRL_VLAN, ANNOUNCE, CTRL_MAC_ADDR, EVENT_IDX
];
const ANY_LAYOUT = 27; // below 32: all that a legacy driver sees
const VERSION_1 = 32;
const SPEED_DUPLEX = 63;

const virtio = { model: "virtio-net", driver: "virtio_net", filters: true, mtuMax: JUMBO_MTU };

/** @type {Record<string, Card>} */
export const cards = {
  e1000: {
    model: "e1000",
    driver: "e1000",
    speed: "1000",
    filters: true,
    mtuMax: JUMBO_MTU,
    ipxe: /^82540em$/i,
    uboot: { device: "e1000#0", mac: MAC },
  },
  "virtio-modern": {
    ...virtio,
    options: { transport: "modern", mtu: JUMBO_MTU },
    speed: "1000",
    features: [...STANDARD, VERSION_1, SPEED_DUPLEX],
    ipxe: /^virtio-net$/i,
    uboot: { device: "virtio-net#0", mac: MAC },
  },
  // A transitional card, and a driver that takes it for a legacy one.
  "virtio-legacy": {
    ...virtio,
    options: { transport: "transitional", mtu: JUMBO_MTU },
    append: "aero.virtio_pci=force_legacy=1",
    features: [...STANDARD, ANY_LAYOUT],
  },
  // No memory BAR at all. The contract has its I/O BAR at 2 (virtio-net.md §1), where neither Linux nor
  // iPXE looks for a legacy card: there is no guest for contract and legacy together.
  "virtio-legacy-only": {
    ...virtio,
    options: { transport: "legacy", mtu: JUMBO_MTU },
    features: [...STANDARD, ANY_LAYOUT],
    ipxe: /^virtio-net$/i,
  },
  // Linux puts its 12 bytes of header and the frame into one descriptor: header mode "auto" sees that.
  "virtio-contract": {
    ...virtio,
    options: { transport: "modern", profile: "contract" },
    filters: false,
    mtuMax: 1500,
    features: [...CONTRACT, VERSION_1],
  },
  "virtio-transitional": {
    ...virtio,
    options: { transport: "transitional" },
    features: [...STANDARD, VERSION_1, SPEED_DUPLEX],
    ipxe: /^virtio-net$/i,
    // Its driver is the legacy one here, and reads the same byte of the MAC six times.
    uboot: { device: "virtio-net#0", mac: "52:52:52:52:52:52" },
  },
};

for (const [name, card] of Object.entries(cards)) card.name = name;

/**
 * The cards this run is about: that of AERO_GUEST_CARD, else all that `able` says yes to.
 * @param {(card: Card) => boolean} [able]
 * @returns {Card[]}
 */
export function chosenCards(able = () => true) {
  const name = process.env.AERO_GUEST_CARD;
  if (name === undefined) return Object.values(cards).filter(able);
  if (!Object.hasOwn(cards, name))
    throw new Error(`AERO_GUEST_CARD=${name}: give one of ${Object.keys(cards).join(", ")}`);
  return [cards[name]];
}

/** What the card asks of Linux's command line. @param {Card} card */
export function linuxAppend({ driver, append }) {
  return `aero.driver=${driver} ${append ?? ""}`.trim();
}
