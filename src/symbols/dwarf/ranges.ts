import { littleEndian, viewOf } from "../elf/elf.js";
import { LebReader } from "./abbrev.js";
import { addressAt, type EntryReader } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { form, rangeEntry } from "./layout.js";
import type { Unit } from "./unit.js";

/**
 * Reads lists of address ranges: `.debug_ranges` of DWARF 4 (2.17.3) and `.debug_rnglists` of DWARF 5 (2.17.3, 7.25).
 * The ranges of the last list read stand in `starts` and `ends`, which the next list overwrites; empty ones and ones
 * that run backwards are left out.
 */
export class RangeReader {
  starts = new Float64Array(16);
  ends = new Float64Array(16);
  count = 0;
  /** A hostile file may name one long list many times: so many ranges are read, and then no more. */
  private rangesLeft: number;

  constructor(
    private readonly file: DwarfFile,
    /** For addresses by index. */
    private readonly reader: EntryReader,
  ) {
    this.rangesLeft = 1000 + Math.ceil(file.info.size / 4);
  }

  /** Reads the list that an attribute DW_AT_ranges names. */
  read(unit: Unit, code: number, value: number): void {
    this.count = 0;
    if (this.rangesLeft < 0) return;
    if (unit.version >= 5) this.readList(unit, code === form.rnglistx ? this.listAt(unit, value) : value);
    else this.readPairs(unit, value);
    this.rangesLeft -= this.count;
    if (this.rangesLeft < 0)
      this.file.note(`${this.file.name} has more ranges than its size allows: it is damaged`);
  }

  private listAt({ rangesBase, offsetSize }: Unit, index: number): number {
    const bytes = this.file.section(".debug_rnglists");
    const at = rangesBase + index * offsetSize;
    if (!(at + offsetSize <= bytes.length)) return Number.NaN;
    return rangesBase + littleEndian(viewOf(bytes), at, offsetSize);
  }

  private readPairs({ addressSize, lowPc }: Unit, offset: number): void {
    const bytes = this.file.section(".debug_ranges");
    const view = viewOf(bytes);
    let base = lowPc;
    for (let at = offset; at + 2 * addressSize <= bytes.length; at += 2 * addressSize) {
      const start = addressAt(view, at, addressSize);
      const end = addressAt(view, at + addressSize, addressSize);
      if (start === 0 && end === 0) return;
      if (start === (addressSize === 8 ? -1 : 0xffffffff)) base = end;
      else this.push(base + start, base + end);
    }
  }

  private readList({ addressSize, lowPc }: Unit, offset: number): void {
    const bytes = this.file.section(".debug_rnglists");
    if (!(offset < bytes.length)) return;
    const view = viewOf(bytes);
    const cursor = new LebReader(bytes, offset);
    const word = () => {
      const at = cursor.at;
      cursor.at += addressSize;
      return cursor.at <= bytes.length ? addressAt(view, at, addressSize) : Number.NaN;
    };
    const indexed = () => this.reader.indexedAddress(cursor.unsigned());
    let base = lowPc;
    while (cursor.at < bytes.length) {
      switch (bytes[cursor.at++]!) {
        case rangeEntry.end:
          return;
        case rangeEntry.baseIndex:
          base = indexed();
          break;
        case rangeEntry.startIndexEndIndex:
          this.push(indexed(), indexed());
          break;
        case rangeEntry.startIndexLength: {
          const start = indexed();
          this.push(start, start + cursor.unsigned());
          break;
        }
        case rangeEntry.offsetPair: {
          const start = cursor.unsigned();
          this.push(base + start, base + cursor.unsigned());
          break;
        }
        case rangeEntry.base:
          base = word();
          break;
        case rangeEntry.startEnd:
          this.push(word(), word());
          break;
        case rangeEntry.startLength: {
          const start = word();
          this.push(start, start + cursor.unsigned());
          break;
        }
        default:
          return;
      }
    }
  }

  private push(start: number, end: number): void {
    // Also false when one is not a number.
    if (!(end > start)) return;
    if (this.count === this.starts.length) {
      const starts = new Float64Array(this.count * 2);
      const ends = new Float64Array(this.count * 2);
      starts.set(this.starts);
      ends.set(this.ends);
      this.starts = starts;
      this.ends = ends;
    }
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
  }
}
