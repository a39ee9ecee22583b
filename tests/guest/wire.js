// A cable with nobody but the test at the other end: the card's frames come here one by one, and
// what the test sends reaches the card. It answers ARP and pings, so the guest finds somebody there.

const PEER_MAC = [0x02, 0, 0, 0, 0, 0xfe];
const ARP = 0x0806;
const IPV4 = 0x0800;
const ICMP = 1;

/** @typedef {{ tpid: number, tci: number }} Tag  of IEEE 802.1Q */

/** "52:54:00:12:34:56" as bytes. @param {string} text */
function mac(text) {
  return text.split(":").map((group) => Number.parseInt(group, 16));
}

/**
 * A frame from the other end, 60 bytes or longer, with a payload no protocol knows.
 * @param {string} to  MAC
 * @param {Tag} [tag]
 */
export function frameTo(to, tag) {
  return encode(mac(to), tag, 0x88b5, new Uint8Array(46)); // local experimental EtherType 1
}

function encode(to, tag, type, payload) {
  const tagBytes = tag ? [tag.tpid >> 8, tag.tpid & 255, tag.tci >> 8, tag.tci & 255] : [];
  return Uint8Array.from([...to, ...PEER_MAC, ...tagBytes, type >> 8, type & 255, ...payload]);
}

function word(bytes, at) {
  return (bytes[at] << 8) | bytes[at + 1];
}

/** The other end of one card's cable, until the card is closed. */
export class Wire {
  /** What the guest sent, oldest first. @type {{ tag: Tag | null, type: number, bytes: number }[]} */
  frames = [];
  /** EtherTypes that begin a tag. */
  tpids = [0x8100];
  #nic;

  /** @param {import("aero-nic").Nic} nic  without a tunnel */
  constructor(nic) {
    this.#nic = nic;
    const poll = nic.poll.bind(nic);
    nic.poll = () => {
      const more = poll();
      for (let frame = nic.takeFrame(); frame !== null; frame = nic.takeFrame()) this.#hear(frame);
      return more;
    };
  }

  /** @param {Uint8Array} frame */
  send(frame) {
    if (!this.#nic.receive(frame))
      throw new Error(`the card has no room for ${frame.length} bytes`);
  }

  #hear(frame) {
    const tagged = this.tpids.includes(word(frame, 12));
    const tag = tagged ? { tpid: word(frame, 12), tci: word(frame, 14) } : null;
    const at = tagged ? 16 : 12;
    const type = word(frame, at);
    const payload = frame.slice(at + 2);
    this.frames.push({ tag, type, bytes: frame.length });
    const answer =
      type === ARP ? answerArp(payload) : type === IPV4 ? answerPing(payload) : undefined;
    if (answer) this.send(encode(frame.slice(6, 12), tag, type, answer));
  }
}

/** To everybody who asks for anybody's address. */
function answerArp(payload) {
  if (word(payload, 6) !== 1) return undefined;
  const asker = payload.slice(8, 18);
  const wanted = payload.slice(24, 28);
  if (wanted.every((byte, at) => byte === asker[6 + at])) return undefined; // a probe for doubles
  return [...payload.slice(0, 6), 0, 2, ...PEER_MAC, ...wanted, ...asker, ...payload.slice(28)];
}

/** RFC 792: the echo comes back with its addresses exchanged and the type 0. */
function answerPing(payload) {
  const icmp = (payload[0] & 15) * 4;
  if (payload[9] !== ICMP || payload[icmp] !== 8) return undefined;
  payload.set([...payload.slice(16, 20), ...payload.slice(12, 16)], 12);
  payload[icmp] = 0;
  const sum = word(payload, icmp + 2) + 0x0800; // RFC 1624
  payload.set([((sum >> 8) + (sum >> 16)) & 255, sum & 255], icmp + 2);
  return payload;
}
