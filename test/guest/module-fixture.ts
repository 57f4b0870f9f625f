/** Kernel modules as small as can be: an ELF file with nothing but a `.modinfo`. */

const elfHeaderSize = 64;
const sectionHeaderSize = 64;

/** `facts` are `key=value` strings. */
export function fakeModule(...facts: readonly string[]): Buffer {
  const info = Buffer.from(facts.map((fact) => `${fact}\0`).join(""));
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const infoAt = elfHeaderSize;
  const namesAt = infoAt + info.length;
  const tableAt = namesAt + names.length;
  const file = Buffer.alloc(tableAt + 3 * sectionHeaderSize);
  file.write("\x7fELF\x02\x01\x01", "latin1");
  file.writeUInt16LE(1, 0x10); // relocatable
  file.writeUInt16LE(62, 0x12); // x86-64
  file.writeBigUInt64LE(BigInt(tableAt), 0x28);
  file.writeUInt16LE(sectionHeaderSize, 0x3a);
  file.writeUInt16LE(3, 0x3c);
  file.writeUInt16LE(2, 0x3e);
  info.copy(file, infoAt);
  names.copy(file, namesAt);
  section(1, 1, infoAt, info.length);
  section(2, 10, namesAt, names.length);
  return file;

  function section(index: number, name: number, offset: number, size: number): void {
    const at = tableAt + index * sectionHeaderSize;
    file.writeUInt32LE(name, at);
    file.writeBigUInt64LE(BigInt(offset), at + 0x18);
    file.writeBigUInt64LE(BigInt(size), at + 0x20);
  }
}
