// Debian's U-Boot for x86 (package u-boot-qemu), which has drivers of its own for both our cards.
// It is a ROM that runs in place, right below 4 GiB, and v86 cannot execute what is not RAM: so
// SeaBIOS loads it by the multiboot protocol, behind a page table that makes the copy in RAM appear
// where the ROM belongs. The ROM itself is the package's, byte for byte.
import { imageFile } from "./guest.js";

const LOAD_AT = 80 << 20; // out of the way of U-Boot, which moves to the end of RAM, and of Linux
const IMAGE_BYTES = 4 << 20; // one large page: the ROM is at its end, what starts it at its begin
const ROM_BYTES = 1 << 20;
const ENTRY = 0xfff0001c; // where the ROM's own reset code jumps to, in 32-bit mode

const MAGIC = 0x1badb002; // Multiboot 0.6.96 §3.1
const PAGE_ALIGN_MEMORY_ADDRESSES = 0x10003; // bits 0 and 1, 16: the header says where to load

const CODE_AT = 0x40;
const GDTR_AT = 0x100;
const GDT_AT = 0x108;
const PAGES_AT = 0x1000;
const GDT = [0, 0, 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300]; // flat: code 10, data 18
const LARGE_PAGE = 0x83; // present, writable, 4 MiB
const PAGE_SHIFT = 22;
const PAGES = 1024;

const bytesOf = (word) => [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24];

// biome-ignore format: an instruction a line
const code = [
  0xfa, // cli
  0x0f, 0x01, 0x15, ...bytesOf(LOAD_AT + GDTR_AT), // lgdt
  0xb8, ...bytesOf(LOAD_AT + PAGES_AT), 0x0f, 0x22, 0xd8, // cr3 = page directory
  0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x10, 0x0f, 0x22, 0xe0, // cr4 |= PSE
  0x0f, 0x20, 0xc0, 0x0d, ...bytesOf(0x80000000), 0x0f, 0x22, 0xc0, // cr0 |= PG
  0x31, 0xc0, // eax = 0: the processor's self test found nothing
  0x31, 0xc9, // ecx = 0: no tables from an earlier stage
  0xea, ...bytesOf(ENTRY), 0x10, 0x00, // ljmp 10:ENTRY
];

/** What to give Guest as `multiboot`. @returns {ArrayBuffer} */
export function ubootImage() {
  const image = new ArrayBuffer(IMAGE_BYTES);
  const bytes = new Uint8Array(image);
  const view = new DataView(image);
  const put = (at, words) => {
    words.forEach((word, index) => {
      view.setUint32(at + 4 * index, word >>> 0, true);
    });
  };
  const flags = PAGE_ALIGN_MEMORY_ADDRESSES;
  const end = LOAD_AT + IMAGE_BYTES;
  put(0, [MAGIC, flags, -(MAGIC + flags), LOAD_AT, LOAD_AT, end, end, LOAD_AT + CODE_AT]);
  bytes.set(code, CODE_AT);
  view.setUint16(GDTR_AT, GDT.length * 4 - 1, true);
  put(GDTR_AT + 2, [LOAD_AT + GDT_AT]);
  put(GDT_AT, GDT);
  const pages = Array.from({ length: PAGES }, (_, page) => (page << PAGE_SHIFT) | LARGE_PAGE);
  pages[PAGES - 1] = LOAD_AT | LARGE_PAGE; // only the last page is not what it says
  put(PAGES_AT, pages);
  const rom = new Uint8Array(imageFile("u-boot.rom"));
  if (rom.length !== ROM_BYTES) throw new Error(`u-boot.rom has ${rom.length} bytes, not 1 MiB`);
  bytes.set(rom, IMAGE_BYTES - ROM_BYTES);
  return image;
}
