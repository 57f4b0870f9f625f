import { expect, test } from "vitest";
import { parseRoms } from "../../src/qemu/rom-images.js";

test("only images in RAM count", () => {
  const answer = [
    'fw=genroms/multiboot_dma.bin size=0x000400 name="multiboot_dma.bin"',
    'addr=0000000000100000 size=0x01b000 mem=ram name="/t/kernel ELF program header segment 0"',
    'addr=0000000001000000 size=0x1b00000 mem=ram name="a mem=rom name"',
    'addr=00000000fffc0000 size=0x040000 mem=rom name="bios-256k.bin"',
    '/rom@etc/acpi/tables size=0x200000 name="etc/acpi/tables"',
    "",
  ];
  const found = [
    { address: 0x100000, bytes: 0x1b000 },
    { address: 0x1000000, bytes: 0x1b00000 },
  ];
  expect(parseRoms(answer.join("\r\n"))).toEqual(found);
  expect(parseRoms("")).toEqual([]);
});
