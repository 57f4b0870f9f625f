import { VmtapeError } from "../../base/errors.js";
import { viewOf } from "../elf/elf.js";
import { btfHeader, btfInfo, btfKind, btfType, btfWords } from "./layout.js";

export interface BtfOptions {
  /** Named in errors. */
  readonly name?: string;
  /** The kernel's types, which a module's go on from. */
  readonly base?: BtfData | undefined;
}

/** No kernel has more types, and none larger tables; what claims more is not believed. */
const mostTypes = 1 << 24;
export const largestBtf = 256 << 20;
/** No name is longer. Source: Linux, KSYM_NAME_LEN and generated names with room to spare. */
const longestName = 4096;

/**
 * BTF as it is stored, with the place of each type: nothing else is decoded. Ids go on from the base's; id 0 is void.
 *
 * Types after a damaged one are not there: `damage` says so.
 */
export class BtfData {
  /** Names the first id of this data, after the base's. */
  readonly firstId: number;
  /** One more than the last id. */
  readonly endId: number;
  /** What ended the reading early. */
  readonly damage: string | undefined;

  private constructor(
    readonly name: string,
    readonly base: BtfData | undefined,
    /** The type section as words. */
    readonly words: Uint32Array,
    /** The word at which each type starts, from `firstId` on. */
    private readonly starts: Uint32Array,
    private readonly strings: Buffer,
    damage: string | undefined,
  ) {
    this.firstId = base ? base.endId : 1;
    this.endId = this.firstId + starts.length;
    this.damage = damage;
  }

  /**
   * Finds every type. Cost: 10 ms for the 100,000 of a stock kernel; the bytes are borrowed where they are aligned.
   *
   * @throws VmtapeError `bad-file` when it is no BTF or its header is damaged, `unsupported` for another version
   */
  static open(bytes: Uint8Array, { name = "BTF", base }: BtfOptions = {}): BtfData {
    const { types, strings } = splitBtf(bytes, name);
    const words = asWords(types);
    const { starts, damage } = findTypes(words);
    const text = Buffer.from(strings.buffer, strings.byteOffset, strings.byteLength);
    return new BtfData(name, base, words, starts, text, damage);
  }

  /** Where its strings start in the numbering that goes on from the base's. */
  private get firstString(): number {
    return this.base ? this.base.endOfStrings : 0;
  }

  private get endOfStrings(): number {
    return this.firstString + this.strings.length;
  }

  /** The data that holds this id: this one, or its base. */
  owner(id: number): BtfData | undefined {
    if (id >= this.endId) return undefined;
    return id >= this.firstId ? this : this.base?.owner(id);
  }

  /** The word at which a type of this very data starts. */
  startOf(id: number): number {
    return this.starts[id - this.firstId]!;
  }

  /** The name at an offset; empty when there is none. */
  text(offset: number): string {
    const at = offset - this.firstString;
    if (at < 0) return this.base?.text(offset) ?? "";
    const end = this.endOfText(at);
    return this.strings.toString("utf8", at, end);
  }

  private endOfText(at: number): number {
    if (at >= this.strings.length) return at;
    const limit = Math.min(this.strings.length, at + longestName);
    const end = this.strings.indexOf(0, at);
    return end < 0 || end > limit ? limit : end;
  }

  /** Ids of this very data with exactly this name, ascending, whatever their kind. */
  find(name: string): number[] {
    const wanted = Buffer.from(name);
    this.buckets ??= this.fillBuckets();
    const { heads, next } = this.buckets;
    const found: number[] = [];
    if (wanted.length === 0) return found;
    const bucket = hashOf(wanted, 0, wanted.length) & (heads.length - 1);
    for (let link = heads[bucket]!; link !== 0; link = next[link - 1]!) {
      if (this.isNamed(link - 1, wanted)) found.push(link - 1 + this.firstId);
    }
    return found;
  }

  private isNamed(index: number, wanted: Buffer): boolean {
    const offset = this.words[this.starts[index]! + btfType.name]!;
    const at = offset - this.firstString;
    if (at < 0) return this.base?.text(offset) === wanted.toString();
    return (
      at + wanted.length <= this.strings.length &&
      this.endOfText(at) === at + wanted.length &&
      this.strings.compare(wanted, 0, wanted.length, at, at + wanted.length) === 0
    );
  }

  /** Hash chains over names: the first index + 1 of each bucket, and the one after each index. */
  private buckets: { readonly heads: Int32Array; readonly next: Int32Array } | undefined;

  private fillBuckets() {
    const { words, starts, strings, firstString } = this;
    const count = starts.length;
    let size = 16;
    while (size < count) size *= 2;
    const heads = new Int32Array(size);
    const next = new Int32Array(count);
    // From the last to the first, so that each chain ascends.
    for (let i = count - 1; i >= 0; i--) {
      const offset = words[starts[i]! + btfType.name]!;
      if (offset === 0) continue;
      const at = offset - firstString;
      let hash: number;
      if (at >= 0) {
        hash = hashOf(strings, at, this.endOfText(at));
      } else {
        const text = Buffer.from(this.base?.text(offset) ?? "");
        hash = hashOf(text, 0, text.length);
      }
      const bucket = hash & (size - 1);
      next[i] = heads[bucket]!;
      heads[bucket] = i + 1;
    }
    return { heads, next };
  }
}

/** FNV-1a, 32 bits. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

function splitBtf(bytes: Uint8Array, name: string) {
  const fail = (what: string, offset: number) =>
    new VmtapeError("bad-file", `${name}: ${what}`, { file: name, offset });
  if (bytes.length < btfHeader.size) throw fail("BTF is cut within its header", bytes.length);
  const view = viewOf(bytes);
  const magic = view.getUint16(btfHeader.magic, true);
  if (magic !== btfHeader.magicValue) throw fail("it is no BTF", 0);
  const version = bytes[btfHeader.version]!;
  if (version !== btfHeader.versionValue) {
    throw new VmtapeError("unsupported", `${name} holds BTF of version ${version}`, { file: name });
  }
  const header = view.getUint32(btfHeader.length, true);
  const part = (what: string, offsetAt: number, lengthAt: number) => {
    const start = header + view.getUint32(offsetAt, true);
    const length = view.getUint32(lengthAt, true);
    if (header < btfHeader.size || start + length > bytes.length || length > largestBtf) {
      throw fail(`the ${what} of its BTF leave it`, offsetAt);
    }
    return bytes.subarray(start, start + length);
  };
  return {
    types: part("types", btfHeader.typesOffset, btfHeader.typesLength),
    strings: part("strings", btfHeader.stringsOffset, btfHeader.stringsLength),
  };
}

function asWords(bytes: Uint8Array): Uint32Array {
  const count = bytes.length >>> 2;
  if (bytes.byteOffset % 4 === 0) return new Uint32Array(bytes.buffer, bytes.byteOffset, count);
  return new Uint32Array(bytes.slice(0, count * 4).buffer);
}

function findTypes(words: Uint32Array): { starts: Uint32Array; damage: string | undefined } {
  // The smallest type has three words.
  const starts = new Uint32Array(Math.min(mostTypes, Math.floor(words.length / btfType.words)));
  let count = 0;
  let at = 0;
  let damage: string | undefined;
  while (at < words.length) {
    if (at + btfType.words > words.length || count === starts.length) {
      damage = "the last type is cut";
      break;
    }
    const info = words[at + btfType.info]!;
    const kind = (info >>> btfInfo.kindShift) & btfInfo.kindMask;
    const shape = btfWords[kind];
    if (!shape || kind === btfKind.unknown) {
      damage = `type ${count + 1} is of unknown kind ${kind}`;
      break;
    }
    const end = at + btfType.words + shape.fixed + shape.each * (info & btfInfo.countMask);
    if (end > words.length) {
      damage = "the last type is cut";
      break;
    }
    starts[count++] = at;
    at = end;
  }
  return { starts: starts.slice(0, count), damage };
}
