// aero-nic/ring: NET_TX and NET_RX for JavaScript, without a card (spec/net-rings.md).

export { Ring, RingError, RingStatus, ringAt } from "./ring-core.js";
export { buildRings, openRing, RingKind, ringBufferBytes } from "./ring-layout.js";
