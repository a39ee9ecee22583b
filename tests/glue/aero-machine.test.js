// The machine object row by row (spec/host-api.md §5), with either card and with none.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import init, { Machine, open_ring_by_kind } from "aero-nic/aero";
import { buildRings, openRing, RingKind } from "aero-nic/ring";

import { asCard, emulatorMemory, GUEST_BASE, virtioDriver } from "./aero-support.js";
import { Driver, numberedFrame } from "./driver.js";
import { RAM_BYTES } from "./virtio-driver.js";

function ringsOf(bytes = 65536) {
  const sab = buildRings([
    { kind: RingKind.NET_TX, capacity: bytes },
    { kind: RingKind.NET_RX, capacity: bytes },
  ]);
  const [tx, rx] = [RingKind.NET_TX, RingKind.NET_RX].map((kind) => openRing(sab, { kind }));
  return { sab, tx, rx };
}

/** What both drivers do, under one set of names. */
const cards = [
  {
    option: "enable_e1000",
    id: 0x100e8086,
    drive(machine, ram) {
      const driver = new Driver(asCard(machine), ram);
      return {
        start: () => driver.start(),
        send: (frame) => driver.queue(frame),
        received: () => driver.received(),
      };
    },
  },
  {
    option: "enable_virtio_net",
    id: 0x10411af4,
    drive(machine, ram) {
      const driver = virtioDriver(machine, ram);
      return {
        start() {
          driver.start();
          driver.post(16);
        },
        send: (frame) => driver.send(frame),
        received: () => driver.received(),
      };
    },
  },
];

async function machineWith(options) {
  const memory = emulatorMemory(true, RAM_BYTES);
  await init({ memory });
  const machine = new Machine({ guest_base: GUEST_BASE, guest_size: RAM_BYTES, ...options });
  return { memory, machine, ram: new Uint8Array(memory.buffer, GUEST_BASE, RAM_BYTES) };
}

for (const { option, id, drive } of cards) {
  describe(`a machine with ${option}`, () => {
    async function open(options) {
      const { machine, ram } = await machineWith({ [option]: true, ...options });
      return { machine, ram, driver: drive(machine, ram) };
    }

    test("the option switches its card on, also in camelCase", async () => {
      const { machine } = await open();
      assert.equal(machine.pci_config_read(0, 4), id);
      machine.free();
      const alias = option.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
      const other = new Machine({ guestBase: GUEST_BASE, guestSize: RAM_BYTES, [alias]: true });
      assert.equal(other.pciConfigRead(0, 4), id);
    });

    for (const [name, attach] of [
      ["attach_l2_tunnel_from_io_ipc_sab", (machine, sab, name) => machine[name](sab)],
      ...["attach_l2_tunnel_rings", "attach_net_rings"].map((name) => [
        name,
        (machine, sab) =>
          machine[name](
            open_ring_by_kind(sab, RingKind.NET_TX, 0),
            open_ring_by_kind(sab, RingKind.NET_RX, 0),
          ),
      ]),
    ])
      test(`${name}: frames go to and come from these rings, one pump tick each`, async () => {
        const { machine, driver } = await open();
        const { sab, tx, rx } = ringsOf();
        attach(machine, sab, name);
        driver.start();
        driver.send(numberedFrame(1, 700));
        rx.push(numberedFrame(2, 800));
        assert.equal(tx.hasData, false);
        machine.poll_network();
        assert.deepEqual(tx.pop(), numberedFrame(1, 700));
        assert.deepEqual(driver.received(), [numberedFrame(2, 800)]);
        assert.equal(machine.irq_level(), true);
      });

    test("attaching again replaces the rings; the counters are those of the new ones", async () => {
      const { machine, driver } = await open();
      const first = ringsOf();
      const second = ringsOf(8192);
      machine.attach_l2_tunnel_from_io_ipc_sab(first.sab);
      driver.start();
      driver.send(numberedFrame(1));
      machine.poll_network();
      first.rx.push(numberedFrame(2)); // nobody takes it any more
      machine.attach_l2_tunnel_from_io_ipc_sab(second.sab);
      driver.send(numberedFrame(3));
      second.rx.push(numberedFrame(4));
      machine.poll_network();
      assert.deepEqual(first.tx.pop(), numberedFrame(1));
      assert.equal(first.tx.hasData, false);
      assert.equal(first.rx.hasData, true);
      assert.deepEqual(second.tx.pop(), numberedFrame(3));
      assert.deepEqual(driver.received(), [numberedFrame(4)]);
      assert.equal(machine.net_stats().tx_pushed_frames, 1n);
      for (let i = 0; i < 50; i++) machine.attach_l2_tunnel_from_io_ipc_sab(first.sab); // no leak
    });

    for (const name of ["detach_network", "detach_net_rings"])
      test(`${name}: what the guest sends then is discarded, and the guest goes on`, async () => {
        const { machine, driver } = await open();
        const { sab, tx, rx } = ringsOf();
        driver.start();
        for (let number = 0; number < 20; number++) driver.send(numberedFrame(number, 1000));
        machine.poll_network(); // there never was a back end
        machine.attach_l2_tunnel_from_io_ipc_sab(sab);
        machine.poll_network();
        assert.equal(tx.hasData, false);
        machine[name]();
        machine[name]();
        for (let number = 0; number < 20; number++) driver.send(numberedFrame(number, 1000));
        rx.push(numberedFrame(99));
        machine.poll_network();
        assert.deepEqual(driver.received(), []);
        machine.attach_l2_tunnel_from_io_ipc_sab(sab);
        driver.send(numberedFrame(5));
        machine.poll_network();
        assert.deepEqual(tx.pop(), numberedFrame(5));
        assert.equal(tx.hasData, false);
        assert.deepEqual(driver.received(), [numberedFrame(99)]);
      });

    test("net-rings.md §5: what NET_RX's owner drains never reaches the guest", async () => {
      const { machine, driver } = await open();
      const { sab, rx } = ringsOf();
      machine.attach_l2_tunnel_from_io_ipc_sab(sab);
      for (let number = 0; number < 5; number++) rx.push(numberedFrame(number, 100 + number));
      machine.poll_network(); // no driver yet: they wait, or are lost
      rx.drain();
      machine.poll_network();
      assert.equal(rx.hasData, false);
      driver.start();
      rx.push(numberedFrame(9, 90));
      machine.poll_network();
      assert.deepEqual(driver.received(), [numberedFrame(9, 90)]);
      assert.equal(machine.net_stats().rx_broken, false);
    });

    test("net_stats: null without rings, else as virtio_net_stats", async () => {
      const { machine, driver } = await open();
      assert.equal(machine.net_stats(), null);
      const { sab } = ringsOf();
      machine.attach_l2_tunnel_from_io_ipc_sab(sab);
      driver.start();
      driver.send(numberedFrame(1, 70));
      machine.poll_network();
      const stats = machine.net_stats();
      assert.equal(stats.tx_pushed_bytes, 70n);
      assert.equal(stats.rx_broken, false);
      assert.equal(Object.keys(stats).length, 12);
      machine.detach_network();
      assert.equal(machine.net_stats(), null);
    });

    test("detached for a saved state, attached afterwards: another machine goes on", async () => {
      const { machine, ram, driver } = await open();
      const { sab, tx, rx } = ringsOf();
      machine.attach_l2_tunnel_from_io_ipc_sab(sab);
      driver.start();
      machine.detach_network();
      const state = machine.save_state();
      const other = new Machine({ guest_base: GUEST_BASE, guest_size: RAM_BYTES, [option]: true });
      other.load_state(state);
      other.attach_l2_tunnel_from_io_ipc_sab(sab);
      rx.push(numberedFrame(1));
      other.poll_network();
      assert.deepEqual(driver.received(), [numberedFrame(1)]);
      assert.ok(ram.length > 0 && tx.capacity > 0);
      assert.throws(() => other.load_state(new Uint8Array(3)), {
        name: "Error",
        message: "this is not a saved state of this machine's card",
      });
    });

    test("the machine's own command register is mirrored by set_pci_command", async () => {
      const { machine, driver } = await open();
      const { sab, tx } = ringsOf();
      machine.attach_l2_tunnel_from_io_ipc_sab(sab);
      driver.start();
      machine.set_pci_command(3);
      driver.send(numberedFrame(1));
      machine.poll_network();
      assert.equal(tx.hasData, false);
      machine.set_pci_command(7);
      assert.equal(machine.pci_config_read(4, 2), 7);
      machine.poll_network();
      assert.deepEqual(tx.pop(), numberedFrame(1));
    });
  });
}

test("at most one card is on: the E1000 wins", async () => {
  const { machine } = await machineWith({ enable_e1000: true, enable_virtio_net: true });
  assert.equal(machine.pci_config_read(0, 4), 0x100e8086);
});

test("a virtio card's transport is an option", async () => {
  const { machine } = await machineWith({ enable_virtio_net: true, transport_mode: "legacy" });
  machine.set_pci_command(1);
  assert.equal(machine.io_read(0, 4), 0x10010020);
  machine.io_write(0x0e, 2, 1);
  assert.equal(machine.io_read(0x0e, 2), 1);
});

test("without a card every call is safe", async () => {
  const { machine } = await machineWith({});
  const { sab } = ringsOf();
  machine.attach_l2_tunnel_from_io_ipc_sab(sab);
  machine.poll_network();
  assert.equal(machine.net_stats(), null);
  assert.equal(machine.mmio_read(0, 4), 0xffffffff);
  assert.equal(machine.io_read(0, 4), 0xffffffff);
  assert.equal(machine.pci_config_read(0, 4), 0xffffffff);
  machine.mmio_write(0, 4, 0);
  machine.io_write(0, 4, 0);
  machine.pci_config_write(0, 4, 0);
  machine.set_pci_command(7);
  assert.equal(machine.irq_level(), false);
  machine.load_state(machine.save_state());
  machine.detach_network();
});

test("rings that are none, or no longer, are refused with a sentence", async () => {
  const { machine } = await machineWith({ enable_e1000: true });
  const { sab } = ringsOf();
  const tx = open_ring_by_kind(sab, RingKind.NET_TX, 0);
  const message = "the rings of a network must be two SharedRingBuffer objects";
  for (const rx of [undefined, null, 5, sab, {}])
    assert.throws(() => machine.attach_l2_tunnel_rings(tx, rx), { name: "Error", message });
  const freed = open_ring_by_kind(sab, RingKind.NET_RX, 0);
  freed.free();
  assert.throws(() => machine.attach_l2_tunnel_rings(tx, freed), { name: "Error", message });
  assert.throws(() => machine.attach_l2_tunnel_from_io_ipc_sab(new SharedArrayBuffer(64)), /magic/);
});

test("camelCase names are the same methods, and after free() every one throws", async () => {
  const { machine } = await machineWith({ enable_virtio_net: true });
  const names = Object.getOwnPropertyNames(Machine.prototype).filter((n) => n !== "constructor");
  for (const name of names) {
    const alias = name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
    assert.equal(typeof machine[alias], "function", alias);
  }
  const { sab } = ringsOf();
  const rings = [RingKind.NET_TX, RingKind.NET_RX].map((kind) => open_ring_by_kind(sab, kind, 0));
  machine.free();
  for (const name of names)
    assert.throws(
      () =>
        name.endsWith("_sab") || name.endsWith("Sab")
          ? machine[name](sab)
          : machine[name](...rings),
      { name: "Error", message: "this Machine was freed" },
      name,
    );
});
