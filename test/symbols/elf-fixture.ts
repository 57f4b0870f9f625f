/**
 * Writes small ELF files for tests: sections one after the other, a symbol table made from a list, and the headers at
 * the end. It is the reverse of the reader, and shares no code with it.
 */
export interface FixtureSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size?: number;
  /** Name of a section, or "ABS" or "UND". */
  readonly section: string;
  /** Default function (2). */
  readonly type?: number;
  /** Default global (1). */
  readonly binding?: number;
}

export interface FixtureSection {
  readonly name: string;
  readonly address?: bigint;
  readonly bytes?: Uint8Array;
  /** For a section without bytes. */
  readonly size?: number;
  /** Default PROGBITS (1). */
  readonly type?: number;
  /** Default ALLOC | EXECINSTR (6). */
  readonly flags?: number;
}

export interface FixtureElf {
  readonly bits?: 32 | 64;
  /** Default ET_EXEC (2). */
  readonly type?: number;
  readonly machine?: number;
  readonly sections: readonly FixtureSection[];
  readonly symbols?: readonly FixtureSymbol[];
  /** One LOAD segment for each section with an address. */
  readonly segments?: boolean;
}

export function makeElf(elf: FixtureElf): Uint8Array {
  const is64 = (elf.bits ?? 64) === 64;
  const word = is64 ? 8 : 4;
  const sections: (FixtureSection & { link?: number; entrySize?: number })[] = [...elf.sections];
  const indexOf = (name: string) => sections.findIndex((section) => section.name === name) + 1;

  if (elf.symbols) {
    const strings = new Strings();
    const entries = elf.symbols.map((symbol) => {
      const section = { ABS: 0xfff1, UND: 0 }[symbol.section] ?? indexOf(symbol.section);
      const info = ((symbol.binding ?? 1) << 4) | (symbol.type ?? 2);
      const name = strings.add(symbol.name);
      return is64
        ? pack([name, 4], [info, 1], [0, 1], [section, 2], [symbol.value, 8], [symbol.size ?? 0, 8])
        : pack([name, 4], [symbol.value, 4], [symbol.size ?? 0, 4], [info, 1], [0, 1], [section, 2]);
    });
    const entrySize = is64 ? 24 : 16;
    const bytes = Buffer.concat([new Uint8Array(entrySize), ...entries]);
    const link = sections.length + 2;
    sections.push({ name: ".symtab", type: 2, flags: 0, bytes, link, entrySize });
    sections.push({ name: ".strtab", type: 3, flags: 0, bytes: strings.bytes() });
  }
  const sectionNames = new Strings();
  const names = [...sections.map(({ name }) => name), ".shstrtab"].map((name) => sectionNames.add(name));
  sections.push({ name: ".shstrtab", type: 3, flags: 0, bytes: sectionNames.bytes() });

  const loaded = elf.segments ? sections.filter(({ address }) => address !== undefined) : [];
  const headerSize = is64 ? 64 : 52;
  const programSize = is64 ? 56 : 32;
  let offset = headerSize + loaded.length * programSize;
  const placed = sections.map((section) => {
    const bytes = section.bytes ?? new Uint8Array(0);
    offset = Math.ceil(offset / 8) * 8;
    const place = { section, bytes, offset };
    offset += bytes.length;
    return place;
  });
  const sectionHeaders = Math.ceil(offset / 8) * 8;
  const header = pack(
    [0x464c457f, 4],
    [is64 ? 2 : 1, 1],
    [1, 1],
    [1, 1],
    [0, 9],
    [elf.type ?? 2, 2],
    [elf.machine ?? 62, 2],
    [1, 4],
    [0x401000, word],
    [loaded.length > 0 ? headerSize : 0, word],
    [sectionHeaders, word],
    [0, 4],
    [headerSize, 2],
    [programSize, 2],
    [loaded.length, 2],
    [is64 ? 64 : 40, 2],
    [placed.length + 1, 2],
    [placed.length, 2],
  );
  const result = Buffer.alloc(sectionHeaders + (placed.length + 1) * (is64 ? 64 : 40));
  result.set(header);
  placed.forEach(({ bytes, offset: at }) => {
    result.set(bytes, at);
  });
  loaded.forEach((section, i) => {
    const { bytes, offset: at } = placed.find((place) => place.section === section)!;
    const size = section.size ?? bytes.length;
    const address = section.address!;
    result.set(
      is64
        ? pack([1, 4], [5, 4], [at, 8], [address, 8], [address, 8], [bytes.length, 8], [size, 8], [1, 8])
        : pack([1, 4], [at, 4], [address, 4], [address, 4], [bytes.length, 4], [size, 4], [5, 4], [1, 4]),
      headerSize + i * programSize,
    );
  });
  placed.forEach(({ section, bytes, offset: at }, i) => {
    result.set(
      pack(
        [names[i]!, 4],
        [section.type ?? 1, 4],
        [section.flags ?? 6, word],
        [section.address ?? 0n, word],
        [at, word],
        [section.size ?? bytes.length, word],
        [section.link ?? 0, 4],
        [0, 4],
        [1, word],
        [section.entrySize ?? 0, word],
      ),
      sectionHeaders + (i + 1) * (is64 ? 64 : 40),
    );
  });
  return result;
}

/** Little-endian integers of the given sizes, one after the other. */
export function pack(...fields: readonly (readonly [value: number | bigint, size: number])[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [, size]) => sum + size, 0));
  let at = 0;
  for (const [value, size] of fields) {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let i = 0; i < size; i++) {
      bytes[at++] = Number(rest & 255n);
      rest >>= 8n;
    }
  }
  return bytes;
}

class Strings {
  private text = "\0";

  add(name: string): number {
    const offset = this.text.length;
    this.text += `${name}\0`;
    return offset;
  }

  bytes(): Uint8Array {
    return Buffer.from(this.text, "latin1");
  }
}
