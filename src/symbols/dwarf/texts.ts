import { NameList } from "../tables/name-list.js";
import type { DwarfFile } from "./file.js";
import { textHome } from "./layout.js";

/** No name is longer. */
const longestName = 1 << 20;
/** All names together may be so many times as long as the sections they stand in. */
const mostSharing = 2;

/**
 * Collects texts, each once: function names, paths. A text is known by its place in a string section, which is
 * cheaper to ask than its letters; 0 is the empty text.
 */
export class TextCollector {
  private bytes = new Uint8Array(1 << 16);
  private used = 0;
  private count = 1;
  private starts = new Uint32Array(1024);
  private ends = new Uint32Array(1024);
  private readonly byPlace = new Map<number, number>();
  private readonly byText = new Map<string, number>();
  private bytesLeft = Number.POSITIVE_INFINITY;

  /** @param mostBytes the sections the texts are from: all together are at most some times as long */
  constructor(mostBytes?: number) {
    if (mostBytes !== undefined) this.bytesLeft = (1 << 20) + mostBytes * mostSharing;
  }

  /** The id of the NUL-terminated text at an offset of a string section. */
  at(file: DwarfFile, offset: number, home: number): number {
    if (home === textHome.info) {
      const { bytes, base } = file.readAside(offset);
      return this.fromBytes(bytes, offset - base);
    }
    // Places in the shared file are told apart from those in this one.
    const isShared = home === textHome.alt || file.isShared;
    const place = offset * 8 + (home === textHome.str && isShared ? textHome.alt : home) + (isShared ? 4 : 0);
    const known = this.byPlace.get(place);
    if (known !== undefined) return known;
    const bytes =
      home === textHome.alt
        ? file.alt?.section(".debug_str")
        : file.section(home === textHome.str ? ".debug_str" : ".debug_line_str");
    const id = bytes && home !== textHome.none ? this.add(bytes, offset) : 0;
    this.byPlace.set(place, id);
    return id;
  }

  /** The id of a text. */
  of(text: string): number {
    if (text === "") return 0;
    const known = this.byText.get(text);
    if (known !== undefined) return known;
    const letters = Buffer.from(text);
    this.bytesLeft -= letters.length;
    if (this.bytesLeft < 0) return 0;
    const id = this.push(letters, 0, letters.length);
    this.byText.set(text, id);
    return id;
  }

  build(): NameList {
    return new NameList(
      this.bytes.slice(0, this.used),
      this.starts.slice(0, this.count),
      this.ends.slice(0, this.count),
    );
  }

  private fromBytes(bytes: Uint8Array, start: number): number {
    const end = this.endOf(bytes, start);
    return this.of(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8"));
  }

  private add(bytes: Uint8Array, start: number): number {
    if (!(start < bytes.length)) return 0;
    const end = this.endOf(bytes, start);
    return end === start ? 0 : this.push(bytes, start, end);
  }

  private endOf(bytes: Uint8Array, start: number): number {
    const limit = Math.min(bytes.length, start + longestName);
    if (this.bytesLeft < 0) return start;
    const found = bytes.subarray(start, limit).indexOf(0);
    const end = found < 0 ? limit : start + found;
    this.bytesLeft -= end - start;
    return end;
  }

  private push(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (this.used + length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.used + length, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, this.used));
      this.bytes = grown;
    }
    this.bytes.set(bytes.subarray(start, end), this.used);
    if (this.count === this.starts.length) {
      const starts = new Uint32Array(this.count * 2);
      const ends = new Uint32Array(this.count * 2);
      starts.set(this.starts);
      ends.set(this.ends);
      this.starts = starts;
      this.ends = ends;
    }
    this.starts[this.count] = this.used;
    this.used += length;
    this.ends[this.count] = this.used;
    return this.count++;
  }
}
