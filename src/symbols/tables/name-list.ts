/** Many names in one byte array: no string is made until somebody asks for it. */
export class NameList {
  /**
   * @param bytes UTF-8 of all names, in any order
   * @param starts offset of each name
   * @param ends offset after each name
   */
  constructor(
    readonly bytes: Uint8Array,
    readonly starts: Uint32Array,
    readonly ends: Uint32Array,
  ) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private readonly buffer: Buffer;
  /** Hash chains: the first index + 1 of each bucket, and the one after each index. */
  private buckets: { readonly heads: Int32Array; readonly next: Int32Array } | undefined;

  /** Names without their number from the linker. */
  private linked: Map<string, number> | undefined;

  static from(names: readonly string[]): NameList {
    const parts = names.map((name) => Buffer.from(name));
    const starts = new Uint32Array(names.length);
    const ends = new Uint32Array(names.length);
    let offset = 0;
    for (let i = 0; i < parts.length; i++) {
      starts[i] = offset;
      offset += parts[i]!.length;
      ends[i] = offset;
    }
    return new NameList(Buffer.concat(parts), starts, ends);
  }

  get count(): number {
    return this.starts.length;
  }

  /** The name at `index`. */
  at(index: number): string {
    return this.buffer.toString("utf8", this.starts[index]!, this.ends[index]!);
  }

  /** Every index whose name is exactly this, ascending. The first call builds a hash table: 20 ms for 200,000. */
  find(name: string): number[] {
    const wanted = Buffer.from(name);
    this.buckets ??= this.fillBuckets();
    const { heads, next } = this.buckets;
    const found: number[] = [];
    const bucket = hashOf(wanted, 0, wanted.length) & (heads.length - 1);
    for (let link = heads[bucket]!; link !== 0; link = next[link - 1]!) {
      const start = this.starts[link - 1]!;
      if (this.ends[link - 1]! - start !== wanted.length) continue;
      if (wanted.compare(this.bytes, start, start + wanted.length) === 0) found.push(link - 1);
    }
    return found.sort((a, b) => a - b);
  }

  /**
   * The index of a name as a linker may have it: exactly this, else the only one of this name that link-time optimisation
   * gave a number, `NAME.llvm.123`. Costs as `find`, and the first miss one pass over all names.
   */
  findLinked(name: string): number | undefined {
    const [exact] = this.find(name);
    if (exact !== undefined) return exact;
    this.linked ??= this.fillLinked();
    const found = this.linked.get(name);
    return found === ambiguous ? undefined : found;
  }

  /**
   * Every index whose name is this and what compilers put after names of functions they changed; see
   * `compilerSuffixes`. One pass over all names, 5 ms for 200,000.
   */
  findVariants(name: string): number[] {
    const wanted = Buffer.from(`${name}.`);
    const found: number[] = [];
    for (let index = 0; index < this.count; index++) {
      const start = this.starts[index]!;
      const end = this.ends[index]!;
      // The cheap questions first.
      if (end - start <= wanted.length || this.bytes[start + wanted.length - 1] !== dot) continue;
      if (wanted.compare(this.bytes, start, start + wanted.length) !== 0) continue;
      if (compilerSuffixes.test(this.buffer.toString("latin1", start + wanted.length - 1, end)))
        found.push(index);
    }
    return found;
  }

  /** Orders two names by their bytes, as strcmp does. */
  compare(a: number, b: number): number {
    const { bytes } = this;
    let i = this.starts[a]!;
    let j = this.starts[b]!;
    const iEnd = this.ends[a]!;
    const jEnd = this.ends[b]!;
    while (i < iEnd && j < jEnd) {
      const difference = bytes[i++]! - bytes[j++]!;
      if (difference !== 0) return difference;
    }
    return iEnd - i - (jEnd - j);
  }

  private fillLinked(): Map<string, number> {
    const found = new Map<string, number>();
    if (!this.buffer.includes(linkedMark)) return found;
    for (let index = 0; index < this.count; index++) {
      const match = linkedName.exec(this.at(index));
      if (match) found.set(match[1]!, found.has(match[1]!) ? ambiguous : index);
    }
    return found;
  }

  private fillBuckets(): { readonly heads: Int32Array; readonly next: Int32Array } {
    const { count } = this;
    const heads = new Int32Array(2 ** Math.ceil(Math.log2(count + 1)));
    const next = new Int32Array(count);
    for (let index = 0; index < count; index++) {
      const bucket = hashOf(this.bytes, this.starts[index]!, this.ends[index]!) & (heads.length - 1);
      next[index] = heads[bucket]!;
      heads[bucket] = index + 1;
    }
    return { heads, next };
  }
}

const dot = 0x2e;
const linkedMark = ".llvm.";
const linkedName = /^(.+)\.llvm\.\d+$/;
/** Stands for several indexes. */
const ambiguous = -1;

/**
 * What compilers put after the name of a function that they cloned, split or made local to a link: GCC's `.isra.0`,
 * `.constprop.0`, `.part.0`, `.cold`, `.lto_priv.0`, Clang's `.llvm.123`, and `.0` of what is static in a function.
 */
export const compilerSuffixes =
  /^(?:\.(?:(?:isra|constprop|part|cold|lto_priv|llvm|clone|specialized)\.\d+|cold|localalias|\d+))+$/;

/** Whether a name is that of the part of a function that is hardly ever run. */
export function isColdPart(name: string): boolean {
  return /\.cold(?:\.\d+)?$/.test(name);
}

/** FNV-1a with a final mix. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
