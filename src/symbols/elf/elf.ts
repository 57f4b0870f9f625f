import { VmtapeError } from "../../base/errors.js";
import type { SyncSource } from "../../base/sync-source.js";
import {
  fileType,
  gnuBuildId,
  type HeaderLayout,
  ident,
  layout32,
  layout64,
  programType,
  sectionType,
} from "./layout.js";

/** A section header; numbers beyond 2^53 make the file `bad-file`, except addresses, which are whole. */
export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly entrySize: number;
}

/** A program header. */
export interface ElfSegment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: bigint;
  readonly physicalAddress: bigint;
  readonly fileSize: number;
  readonly memorySize: number;
}

/** More headers than this are refused: Linux allows 65,535 segments, and no linker writes as many sections. */
const maxHeaders = 1 << 20;
/** No section table's names are larger in a file that means well; nor are its notes, or so many. */
const maxNameSection = 64 << 20;
const maxNoteSection = 1 << 20;
const maxNoteSections = 64;

/**
 * The headers of a little-endian ELF file, read through a positional source: a few kilobytes, whatever the size
 * of the file. A damaged section table gives fewer sections; a damaged file header is an error.
 */
export class ElfFile {
  readonly sections: readonly ElfSection[];
  readonly segments: readonly ElfSegment[];

  private constructor(
    readonly source: SyncSource,
    readonly layout: HeaderLayout,
    /** `e_type`: one of `fileType`. */
    readonly type: number,
    /** `e_machine`: see `machine`. */
    readonly machine: number,
    readonly entry: bigint,
    header: DataView,
  ) {
    const at = layout.header;
    this.sections = readSections(
      source,
      layout,
      numberAt(header, at.sectionHeaders, layout.wordSize),
      header.getUint16(at.sectionHeaderSize, true),
      header.getUint16(at.sectionHeaderCount, true),
      header.getUint16(at.sectionNames, true),
    );
    this.segments = readSegments(
      source,
      layout,
      numberAt(header, at.programHeaders, layout.wordSize),
      header.getUint16(at.programHeaderSize, true),
      header.getUint16(at.programHeaderCount, true),
    );
  }

  /**
   * Reads the headers.
   *
   * @throws VmtapeError `bad-file` when it is no ELF file or the header is cut, `unsupported` when big-endian
   */
  static open(source: SyncSource): ElfFile {
    const { name } = source;
    const first = source.read(0, Math.min(source.size, ident.size));
    if (!isElf(first)) throw new VmtapeError("bad-file", `${name} is not an ELF file`, { file: name });
    if (first.length < ident.size) throw headerCut(name);
    if (first[ident.data] !== ident.littleEndian) {
      throw new VmtapeError("unsupported", `${name} is not a little-endian ELF file`, { file: name });
    }
    const fileClass = first[ident.class];
    if (fileClass !== ident.class32 && fileClass !== ident.class64) {
      throw new VmtapeError("bad-file", `${name} is an ELF file of unknown class ${fileClass}`, {
        file: name,
      });
    }
    const layout = fileClass === ident.class64 ? layout64 : layout32;
    if (source.size < layout.header.size) throw headerCut(name);
    const header = viewOf(source.read(0, layout.header.size));
    return new ElfFile(
      source,
      layout,
      header.getUint16(layout.header.type, true),
      header.getUint16(layout.header.machine, true),
      wordAt(header, layout.header.entry, layout.wordSize),
      header,
    );
  }

  /** Whether addresses are only known once it is loaded: a shared library or a position-independent program. */
  get isPositionIndependent(): boolean {
    return this.type === fileType.shared;
  }

  /** The first section of this name. */
  section(name: string): ElfSection | undefined {
    return this.sections.find((section) => section.name === name);
  }

  /**
   * The stored bytes of a section; empty for one that has none (.bss).
   *
   * @throws VmtapeError `bad-file` when they leave the file
   */
  contents(section: ElfSection): Uint8Array {
    if (section.type === sectionType.noBits) return new Uint8Array(0);
    return this.source.read(section.offset, section.size);
  }

  /** The GNU build id in hexadecimal, when there is one. */
  get buildId(): string | undefined {
    const notes = this.sections.filter(
      ({ type, size }) => type === sectionType.note && size <= maxNoteSection,
    );
    for (const section of notes.slice(0, maxNoteSections)) {
      const id = inFile(this.source, section) && findBuildId(this.contents(section));
      if (id) return id;
    }
    // Without sections (a kernel unpacked as far as needed) the segments still say where notes are.
    const segments = this.segments.filter(
      ({ type, fileSize }) => type === programType.note && fileSize <= maxNoteSection,
    );
    for (const { offset, fileSize } of segments.slice(0, maxNoteSections)) {
      const id = offset + fileSize <= this.source.size && findBuildId(this.source.read(offset, fileSize));
      if (id) return id;
    }
    return undefined;
  }
}

/** Whether the bytes start an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return ident.magic.every((byte, i) => bytes[i] === byte);
}

function readSections(
  source: SyncSource,
  layout: HeaderLayout,
  offset: number,
  entrySize: number,
  statedCount: number,
  statedNames: number,
): ElfSection[] {
  const at = layout.section;
  if (offset === 0 || entrySize < at.size || offset + at.size > source.size) return [];
  // Counts that do not fit in 16 bits are kept in the first, otherwise empty, header.
  const zeroth = viewOf(source.read(offset, at.size));
  const count = statedCount || numberAt(zeroth, at.length, layout.wordSize);
  const names = statedNames === 0xffff ? zeroth.getUint32(at.link, true) : statedNames;
  const fitting = Math.min(count, Math.floor((source.size - offset) / entrySize), maxHeaders);
  const table = viewOf(source.read(offset, fitting * entrySize));
  const sections: (ElfSection & { readonly nameOffset: number })[] = [];
  for (let index = 0; index < fitting; index++) {
    const base = index * entrySize;
    sections.push({
      index,
      name: "",
      nameOffset: table.getUint32(base + at.name, true),
      type: table.getUint32(base + at.type, true),
      flags: numberAt(table, base + at.flags, layout.wordSize),
      address: wordAt(table, base + at.address, layout.wordSize),
      offset: numberAt(table, base + at.offset, layout.wordSize),
      size: numberAt(table, base + at.length, layout.wordSize),
      link: table.getUint32(base + at.link, true),
      info: table.getUint32(base + at.info, true),
      entrySize: numberAt(table, base + at.entrySize, layout.wordSize),
    });
  }
  const nameSection = sections[names];
  const usable = nameSection && nameSection.size <= maxNameSection && inFile(source, nameSection);
  const strings = usable ? source.read(nameSection.offset, nameSection.size) : new Uint8Array(0);
  return sections.map(({ nameOffset, ...section }) => ({ ...section, name: stringAt(strings, nameOffset) }));
}

function readSegments(
  source: SyncSource,
  layout: HeaderLayout,
  offset: number,
  entrySize: number,
  count: number,
): ElfSegment[] {
  const at = layout.program;
  if (offset === 0 || entrySize < at.size || offset + at.size > source.size) return [];
  const fitting = Math.min(count, Math.floor((source.size - offset) / entrySize));
  const table = viewOf(source.read(offset, fitting * entrySize));
  return Array.from({ length: fitting }, (_, index) => {
    const base = index * entrySize;
    return {
      type: table.getUint32(base + at.type, true),
      flags: table.getUint32(base + at.flags, true),
      offset: numberAt(table, base + at.offset, layout.wordSize),
      address: wordAt(table, base + at.address, layout.wordSize),
      physicalAddress: wordAt(table, base + at.physicalAddress, layout.wordSize),
      fileSize: numberAt(table, base + at.fileSize, layout.wordSize),
      memorySize: numberAt(table, base + at.memorySize, layout.wordSize),
    };
  });
}

/** Walks ELF notes (u32 name size, u32 size, u32 type, name, contents, each padded to 4) to the build id. */
function findBuildId(notes: Uint8Array): string | undefined {
  const view = viewOf(notes);
  for (let offset = 0; offset + 12 <= notes.length; ) {
    const nameSize = view.getUint32(offset, true);
    const size = view.getUint32(offset + 4, true);
    const type = view.getUint32(offset + 8, true);
    const start = offset + 12 + Math.ceil(nameSize / 4) * 4;
    if (start + size > notes.length) return undefined;
    const isGnu = nameSize === 4 && stringAt(notes, offset + 12) === "GNU";
    if (isGnu && type === gnuBuildId) return Buffer.from(notes.subarray(start, start + size)).toString("hex");
    offset = start + Math.ceil(size / 4) * 4;
  }
  return undefined;
}

/** Whether the stored bytes of a section lie inside the file. */
export function inFile(source: SyncSource, section: ElfSection): boolean {
  return section.offset + section.size <= source.size;
}

/** The NUL-terminated UTF-8 string at `offset`; empty outside, cut at the end. */
export function stringAt(strings: Uint8Array, offset: number): string {
  if (offset >= strings.length) return "";
  const end = strings.indexOf(0, offset);
  return Buffer.from(
    strings.buffer,
    strings.byteOffset + offset,
    (end < 0 ? strings.length : end) - offset,
  ).toString("utf8");
}

/** A DataView over the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A 4- or 8-byte word. */
export function wordAt(view: DataView, offset: number, size: 4 | 8): bigint {
  return size === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
}

/** A 4- or 8-byte word as a number; beyond 2^53 it is inexact, and then larger than any file. */
export function numberAt(view: DataView, offset: number, size: 4 | 8): number {
  const low = view.getUint32(offset, true);
  return size === 8 ? view.getUint32(offset + 4, true) * 2 ** 32 + low : low;
}

/** An unsigned number of 1, 2, 3, 4 or 8 bytes. */
export function littleEndian(view: DataView, at: number, size: number): number {
  switch (size) {
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true);
    case 3:
      return view.getUint16(at, true) + view.getUint8(at + 2) * 65536;
    case 4:
      return view.getUint32(at, true);
    default:
      return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  }
}

function headerCut(name: string): VmtapeError {
  return new VmtapeError("bad-file", `${name} ends inside its ELF header`, { file: name });
}
