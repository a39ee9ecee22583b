// v86's own card on our proxy: one WebSocket message per frame and no code of ours between them, so
// that the same proxy and the same site serve both cards.
import { WebSocket } from "ws";

const FRAME = 0;
const PING = 1;
const PONG = 2;
const HELLO = 0x10;
const HEADER_BYTES = 4; // l2-tunnel.md §3
/** l2-extensions.md §1: no extension but frames of up to 65550 bytes (tag 1). */
const LONG_FRAMES = Buffer.of(1, 0, 0, 0, 1, 4, 0, 1, 0, 0x0e);

function message(type, payload) {
  return Buffer.concat([Buffer.of(0xa2, 0x03, type, 0), payload]);
}

/**
 * @param {object} emulator  a V86 with a net_device but without a relay
 * @param {string} url  of the proxy
 * @param {boolean} [jumbo]  frames may be longer than 2048 bytes
 * @returns {Promise<{ close: () => void }>}  once it is open
 */
export async function joinPlainly(emulator, url, jumbo = false) {
  const socket = new WebSocket(url, "aero-l2-tunnel-v1", { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  if (jumbo) socket.send(message(HELLO, LONG_FRAMES));
  emulator.add_listener("net0-send", (frame) => socket.send(message(FRAME, frame)));
  socket.on("message", (data) => {
    const payload = data.subarray(HEADER_BYTES);
    if (data[2] === FRAME) emulator.bus.send("net0-receive", new Uint8Array(payload));
    else if (data[2] === PING) socket.send(message(PONG, payload));
  });
  return { close: () => socket.terminate() };
}
