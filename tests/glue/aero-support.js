// What the tests of aero-nic/aero share: an emulator's memory with guest RAM in it, and bridges as
// the drivers of driver.js and virtio-driver.js want a card.
import { VirtioDriver } from "./virtio-driver.js";

export const PAGE = 65536;
export const GUEST_BASE = 0x800000;
const EXTRA_PAGES = 16;

/** @param {boolean} shared @param {number} ramBytes */
export function emulatorMemory(shared, ramBytes) {
  const pages = (GUEST_BASE + ramBytes) / PAGE + EXTRA_PAGES;
  return new WebAssembly.Memory({ initial: pages, maximum: 2 * pages, shared });
}

/** An E1000Bridge or Machine for class Driver. */
export function asCard(bridge) {
  return {
    configWrite: (offset, size, value) => bridge.pci_config_write(offset, size, value),
    barRead: (_, offset, size) => bridge.mmio_read(offset, size),
    barWrite: (_, offset, size, value) => bridge.mmio_write(offset, size, value),
  };
}

/** The driver of a VirtioNetPciBridge or Machine. */
export function virtioDriver(bridge, ram) {
  return new VirtioDriver(
    {
      read: (_, offset, size) => bridge.mmio_read(offset, size),
      write: (_, offset, size, value) => bridge.mmio_write(offset, size, value),
      command: (value) => bridge.set_pci_command(value),
    },
    ram,
  );
}
