// aero-nic/aero: our card in the shape of an emulator's own bridge module (spec/host-api.md), to be
// loaded in its place. Names are those of that interface.

export { E1000Bridge } from "./aero-e1000.js";
export { guest_ram_layout, init as default, mem_load_u32, mem_store_u32 } from "./aero-entry.js";
export { Machine } from "./aero-machine.js";
export { open_ring_by_kind, SharedRingBuffer } from "./aero-ring.js";
export { VirtioNetPciBridge } from "./aero-virtio.js";
