import { VmtapeError } from "../../base/errors.js";
import type { SyncSource } from "../../base/sync-source.js";
import { hasContents, openSection, sectionBytes } from "../elf/contents.js";
import { type ElfFile, viewOf } from "../elf/elf.js";
import { type AbbrevTable, readAbbrevs, type UnitShape } from "./abbrev.js";

/** A part of the units' section that is in memory. */
export interface UnitBytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Offset in the section of the first byte. */
  readonly base: number;
}

/** The units' section is read in pieces of so much, or of a whole unit where that is longer. */
const windowSize = 8 << 20;
/** Abbreviations are kept as long as they were so long together, or are the only ones. */
const keptTableBytes = 4 << 20;
const mostNotes = 20;
/** A look aside reads so much, and so many pieces are kept. */
const asideSize = 64 << 10;
const keptAsides = 128;
/** Reading abbreviations again and again may cost so many times their size: files that mean well read each once. */
const mostRereading = 4;

/**
 * The debug sections of one file. `.debug_info`, the largest by far, is read in pieces; the others are read whole
 * when they are first needed.
 */
export class DwarfFile {
  readonly name: string;
  /** The file that several debug files share, where there is one (.gnu_debugaltlink). */
  alt: DwarfFile | undefined;
  /** Whether this is such a shared file. */
  isShared = false;
  private readonly texts: string[] = [];
  /** First damaged place of each section, and how many there are. */
  private readonly damages = new Map<string, { readonly offset: number; count: number }>();
  private units: SyncSource | undefined;
  private window: UnitBytes = emptyBytes;
  private readonly asides = new Map<number, UnitBytes>();
  private readonly sections = new Map<string, Uint8Array>();
  private readonly tables = new Map<number, AbbrevTable>();
  private keptBytes = 0;
  private tableBytesLeft = Number.POSITIVE_INFINITY;

  private constructor(private readonly elf: ElfFile) {
    this.name = elf.source.name;
  }

  /**
   * The debug sections of a file, of which none is read yet; undefined when the file has none.
   */
  static open(elf: ElfFile): DwarfFile | undefined {
    return hasContents(elf, ".debug_info") ? new DwarfFile(elf) : undefined;
  }

  /**
   * The units' section; unpacked now if it is packed.
   *
   * @throws VmtapeError `bad-file` (outside the file or damaged), `unsupported`, `limit-exceeded`
   */
  get info(): SyncSource {
    this.units ??= openSection(this.elf, ".debug_info")!;
    return this.units;
  }

  /** A debug section by its name; empty when there is none or it cannot be read, which is noted. */
  section(name: string): Uint8Array {
    const known = this.sections.get(name);
    if (known) return known;
    let bytes: Uint8Array = new Uint8Array(0);
    try {
      bytes = sectionBytes(this.elf, name);
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
      this.note(error.message);
    }
    this.sections.set(name, bytes);
    return bytes;
  }

  /** Lets go of what `section` has read: the next use reads it again. */
  release(name: string): void {
    this.sections.delete(name);
  }

  /** What could not be used, in words for people. */
  get notes(): readonly string[] {
    const damages = Array.from(this.damages, ([section, { offset, count }]) => {
      const others = count > 1 ? ` and in ${count - 1} places more` : "";
      return `${section} of ${this.name} is damaged at byte ${offset}${others}: what follows in the unit is left out`;
    });
    return [...this.texts, ...damages];
  }

  /** Notes a fact once. */
  note(text: string): void {
    if (!this.texts.includes(text) && this.texts.length < mostNotes) this.texts.push(text);
  }

  /** Notes that a unit is damaged at an offset of a section. */
  noteDamage(section: string, offset: number): void {
    const known = this.damages.get(section);
    if (known) known.count++;
    else this.damages.set(section, { offset, count: 1 });
  }

  /** Whether reading has cost more than the file is worth, so that nothing more is read. */
  get isExhausted(): boolean {
    return this.tableBytesLeft < 0;
  }

  /**
   * Bytes `[start, end)` of `.debug_info`, for a pass from its beginning to its end. They hold until the next call.
   */
  read(start: number, end: number): UnitBytes {
    if (!holds(this.window, start, end)) {
      const stop = Math.min(this.info.size, Math.max(end, start + windowSize));
      this.window = unitBytes(this.info.read(start, stop - start), start);
    }
    return this.window;
  }

  /** Bytes from an offset on, for a look elsewhere while a pass goes on: at least `asideSize`, or to the end. */
  readAside(offset: number): UnitBytes {
    const whole = this.window;
    if (holds(whole, offset, Math.min(this.info.size, offset + asideSize))) return whole;
    const block = Math.floor(offset / asideSize);
    const known = this.asides.get(block);
    if (known) return known;
    const start = block * asideSize;
    const piece = unitBytes(this.info.read(start, Math.min(this.info.size - start, asideSize * 2)), start);
    if (this.asides.size >= keptAsides) this.asides.delete(this.asides.keys().next().value!);
    this.asides.set(block, piece);
    return piece;
  }

  /** The abbreviations at an offset; undefined once reading them has cost more than the file is worth. */
  abbrevs(offset: number, shape: UnitShape): AbbrevTable | undefined {
    const key =
      offset * 16 +
      (shape.addressSize === 8 ? 1 : 0) +
      (shape.offsetSize === 8 ? 2 : 0) +
      (shape.version <= 2 ? 4 : 0);
    const known = this.tables.get(key);
    if (known) return known;
    const abbrevs = this.section(".debug_abbrev");
    if (!(offset < abbrevs.length)) return undefined;
    if (this.tableBytesLeft === Number.POSITIVE_INFINITY) {
      this.tableBytesLeft = (abbrevs.length + (1 << 20)) * mostRereading;
    }
    if (this.isExhausted) return undefined;
    const table = readAbbrevs(abbrevs, offset, shape);
    this.tableBytesLeft -= table.length;
    if (this.isExhausted)
      this.note(`${this.name} names the same abbreviations too many times: it is damaged`);
    this.keptBytes += table.length;
    for (const [oldest, { length }] of this.tables) {
      if (this.keptBytes <= keptTableBytes) break;
      this.tables.delete(oldest);
      this.keptBytes -= length;
    }
    this.tables.set(key, table);
    return table;
  }
}

const emptyBytes = unitBytes(new Uint8Array(0), 0);

function unitBytes(bytes: Uint8Array, base: number): UnitBytes {
  return { bytes, view: viewOf(bytes), base };
}

function holds({ bytes, base }: UnitBytes, start: number, end: number): boolean {
  return start >= base && end <= base + bytes.length;
}
