// What Linux gets out of a card beyond moving frames. The second card, eth1, is on a wire whose other
// end the test holds: frames are checked there, one by one.
import assert from "node:assert/strict";
import { frameTo } from "./wire.js";
import { WIRE_MAC } from "./world.js";

const PEER = "192.0.2.1"; // TEST-NET-1; whoever is asked for on the wire is there
const VLAN_PEER = "198.51.100.1";
const OTHER_MAC = "52:54:00:99:99:99";
const ALL_NODES = "33:33:00:00:00:01"; // RFC 4291 §2.7.1: every IPv6 host is in this group

const REG_CTRL = 0x00000;
const REG_VET = 0x00038;
const CTRL_VME = 1 << 30; // tags are stripped and inserted by the card
const TPID_CUSTOMER = 0x8100;
const TPID_SERVICE = 0x88a8;

const IPV4 = 0x0800;
const FLAPS = 10;
const RELOADS = 20;

const isE1000 = ({ model }) => model === "e1000";
const hasFilters = ({ filters }) => filters;

const stat = async (guest, name, device = "eth1") =>
  Number(await guest.must(`cat /sys/class/net/${device}/statistics/${name}`));

/** Sends the frames and says how many of them the driver was given. */
async function delivered({ guest, wire }, frames) {
  const before = await stat(guest, "rx_packets");
  for (const frame of frames) wire.send(frame);
  return (await stat(guest, "rx_packets")) - before; // the frames are in the card before the shell
}

async function pings(guest, address, options = "") {
  assert.match(await guest.must(`ping -c 2 ${options} ${address}`), / 0% packet loss/);
}

const carrier = (guest, device = "eth1") =>
  guest.must(`until [ "$(cat /sys/class/net/${device}/carrier)" = 1 ]; do sleep 0.1; done`);

/** @type {import("./linux-cases.js").Case[]} */
export const depthCases = [
  {
    name: "the counters in sysfs are the card's own",
    when: isE1000,
    run: async ({ guest, nic }) => {
      const own = () => JSON.stringify(nic.stats());
      const names = ["tx_packets", "tx_bytes", "rx_packets", "rx_bytes"];
      let before;
      let seen;
      do {
        before = own();
        const files = names.map((name) => `/sys/class/net/eth0/statistics/${name}`).join(" ");
        seen = (await guest.must(`cat ${files}`)).trim().split("\n").map(Number);
      } while (own() !== before); // a frame came in between
      const { txFrames, txBytes, rxFrames, rxBytes } = nic.stats();
      assert.deepEqual(seen.slice(0, 3), [txFrames, txBytes, rxFrames]);
      const padding = seen[3] - rxBytes; // ARP is shorter than a frame may be
      assert.ok(padding >= 0 && padding < 1000, `rx_bytes: ${padding} more than the card's`);
    },
  },
  {
    name: "a second card in the next slot works beside the first",
    run: async ({ guest, wireNic }) => {
      await guest.must(`ip addr add 192.0.2.2/24 dev eth1 && ip link set eth1 up`);
      assert.equal(await guest.must("cat /sys/class/net/eth1/address"), `${WIRE_MAC}\n`);
      await carrier(guest);
      await pings(guest, PEER);
      assert.ok(wireNic.stats().interrupts > 0);
      await pings(guest, "10.0.2.2");
    },
  },
  {
    name: "a frame for another address stays outside, unless the card is promiscuous",
    run: async (world, { filters }) => {
      const { guest } = world;
      const frames = [frameTo(OTHER_MAC), frameTo(WIRE_MAC), frameTo(OTHER_MAC)];
      const without = filters ? 1 : 3; // a card that cannot filter always is
      assert.equal(await delivered(world, frames), without);
      await guest.must("ip link set eth1 promisc on");
      assert.equal(await delivered(world, frames), 3);
      await guest.must("ip link set eth1 promisc off");
      assert.equal(await delivered(world, frames), without);
    },
  },
  {
    name: "multicast comes in after the join only, also beyond the exact filter's 15 entries",
    when: hasFilters,
    run: async (world) => {
      const { guest } = world;
      // An IPv6 address joins the group of its low 24 bits (RFC 4291 §2.7.1).
      const hosts = Array.from({ length: 20 }, (_, at) => (0x100 + at * 7).toString(16));
      const frames = hosts.map((host) => frameTo(`33:33:ff:00:0${host[0]}:${host.slice(1)}`));
      const each = (verb) =>
        guest.must(
          `for host in ${hosts.join(" ")}; do ip addr ${verb} 2001:db8::$host/64 dev eth1; done`,
        );
      assert.equal(await delivered(world, frames), 0);
      await each("add");
      assert.equal(await delivered(world, frames), frames.length);
      await each("del");
      assert.equal(await delivered(world, frames), 0);
      await guest.must("ifconfig eth1 allmulti");
      assert.equal(await delivered(world, frames), frames.length);
      await guest.must("ifconfig eth1 -allmulti");
    },
  },
  {
    name: "sysfs shows what the card's registers count: a frame too long (ROC), multicast (MPRC)",
    when: isE1000,
    run: async ({ guest, wire }) => {
      const tooLong = new Uint8Array(1600);
      tooLong.set(frameTo(WIRE_MAC));
      /** The driver reads the registers every two seconds; a new error shows that it has. */
      const readOut = async (errors) => {
        wire.send(tooLong);
        const file = "/sys/class/net/eth1/statistics/rx_length_errors";
        await guest.must(`until [ "$(cat ${file})" = ${errors} ]; do sleep 0.2; done`);
        return stat(guest, "multicast");
      };
      const before = await readOut(1);
      for (let sent = 0; sent < 3; sent++) wire.send(frameTo(ALL_NODES));
      assert.equal((await readOut(2)) - before, 3);
    },
  },
  {
    name: "a VLAN interface: its frames carry the tag on the wire, and lose it on the way in",
    run: async ({ guest, wire, wireNic }, card) => {
      await guest.must(
        "while read -r module; do insmod /lib/modules/$module.ko; done </lib/modules/vlan.order",
      );
      await guest.must("ip link add link eth1 name eth1.7 type vlan id 7");
      await guest.must("ip addr add 198.51.100.2/24 dev eth1.7 && ip link set eth1.7 up");
      const seen = async () => {
        wire.frames = [];
        await pings(guest, VLAN_PEER);
        return wire.frames.filter(({ type }) => type === IPV4).map(({ tag }) => tag);
      };
      const customer = { tpid: TPID_CUSTOMER, tci: 7 };
      assert.deepEqual(await seen(), [customer, customer]);
      if (!isE1000(card)) return; // there the driver does it
      assert.ok(wireNic.barRead(0, REG_CTRL, 4) & CTRL_VME);
      // Linux knows nothing of this, so another type on the wire can only be the card's doing.
      wire.tpids.push(TPID_SERVICE);
      wireNic.barWrite(0, REG_VET, 4, TPID_SERVICE);
      const service = { tpid: TPID_SERVICE, tci: 7 };
      assert.deepEqual(await seen(), [service, service]);
      wireNic.barWrite(0, REG_VET, 4, TPID_CUSTOMER);
    },
  },
  {
    name: "a frame of a VLAN nobody is in stays outside",
    when: hasFilters,
    run: async (world) => {
      const tagged = (tci) => frameTo(WIRE_MAC, { tpid: TPID_CUSTOMER, tci });
      const filtered = world.wireNic.stats().rxFiltered;
      assert.equal(await delivered(world, [tagged(8), tagged(7), tagged(0xfff)]), 1);
      assert.equal(world.wireNic.stats().rxFiltered - filtered, 2);
    },
  },
  {
    name: "the largest frames of this wire go out and come in whole",
    run: async ({ guest, wire }, { mtuMax }) => {
      await guest.must("ip link del eth1.7");
      await guest.must(`ip link set eth1 mtu ${mtuMax}`);
      wire.frames = [];
      await pings(guest, PEER, `-s ${mtuMax - 28}`);
      const sizes = wire.frames.filter(({ type }) => type === IPV4).map(({ bytes }) => bytes);
      assert.deepEqual(sizes, [mtuMax + 14, mtuMax + 14]);
      await guest.must("ip link set eth1 mtu 1500");
    },
  },
  {
    name: `a cable pulled and plugged in ${FLAPS} times in a row is in at the end`,
    run: async ({ guest, wireNic }) => {
      for (let done = 0; done < FLAPS; done++) {
        wireNic.setLink(false);
        if (done % 2 === 0) await guest.must("true"); // time for the driver to see it, or none
        wireNic.setLink(true);
      }
      await carrier(guest);
      await pings(guest, PEER);
    },
  },
  {
    name: `the driver can be unloaded and loaded ${RELOADS} times`,
    run: async ({ guest, nic, wireNic }, { driver }) => {
      const complete =
        `insmod /lib/modules/${driver}.ko && ip link set eth0 up && ip link set eth1 up &&` +
        " ip addr add 192.0.2.2/24 dev eth1";
      for (let done = 1; done <= RELOADS; done++) {
        await guest.must(`rmmod ${driver} && ${complete}`);
        assert.equal(await guest.must("cat /sys/class/net/eth1/address"), `${WIRE_MAC}\n`);
        if (done % 10 !== 0) continue;
        await carrier(guest);
        await pings(guest, PEER);
      }
      for (const { rxBadRing = 0, badChains = 0, needsReset = 0 } of [nic.stats(), wireNic.stats()])
        assert.deepEqual([rxBadRing, badChains, needsReset], [0, 0, 0]);
      await guest.must("udhcpc -i eth0 -t 20 -T 1 -n -q -S >/dev/null 2>&1");
      await pings(guest, "10.0.2.2");
    },
  },
].map((one) => ({ ...one, wire: true }));
