// aero-nic/ring: NET_TX and NET_RX for JavaScript, without a card (spec/net-rings.md).

export { Ring, RingStatus } from "./ring-core.js";
export {
  buildRings,
  openRing,
  RingError,
  RingKind,
  ringAt,
  ringBufferBytes,
} from "./ring-layout.js";
