import { VmtapeError } from "../../base/errors.js";
import { viewOf } from "../elf/elf.js";
import {
  type OrcDialect,
  orcEntry,
  orcFlags,
  orcPlaceSize,
  orcRegister,
  orcType,
  renumbered,
} from "./orc-layout.js";

/** No kernel has more entries: stock ones have 0.7 to 1.2 million. */
const mostEntries = 1 << 24;
/** A step of the index. As in the kernel (LOOKUP_BLOCK_SIZE), a block has some five entries. */
const blockBits = 8;
/** Text lies within the reach of a relative call. */
const widestText = 2 ** 31;

/** An entry, decoded. */
export interface OrcEntry {
  /** One of `orcType`. */
  readonly type: number;
  /** One of `orcRegister`. */
  readonly spRegister: number;
  readonly spOffset: number;
  readonly bpRegister: number;
  readonly bpOffset: number;
}

/**
 * The ORC tables of a kernel or one of its modules. Addresses are keys (`tables/address.ts`), as the tables were linked or
 * loaded; with KASLR subtract the slide first.
 */
export class OrcTable {
  /** The entry of address a is the last one whose place is at or before it. */
  private readonly places: Float64Array;
  /** The entry of each place, in the same order, `orcEntry.size` bytes each. */
  private readonly entries: DataView;
  /** For each block of 256 bytes from the first place on, the last entry at or before its start. */
  private readonly blocks: Uint32Array;
  private readonly flags: (typeof orcFlags)[OrcDialect];
  /** Each entry says its type, and patches that push tell of it (from 6.4). */
  readonly isTyped: boolean;
  private readonly isRenumbered: boolean;

  private constructor(
    places: Float64Array,
    entries: Uint8Array,
    readonly dialect: OrcDialect,
  ) {
    this.places = places;
    this.entries = viewOf(entries);
    this.flags = orcFlags[dialect];
    this.isTyped = hasTypes(dialect);
    this.isRenumbered = dialect === "renumbered";
    this.blocks = indexBlocks(places);
  }

  /**
   * Reads the two arrays; sorts them when they are not sorted, as in a module's file. Cost: 10 ms for a stock kernel.
   *
   * @param placesAt key of the address of the first array, to which its contents are relative
   * @param dialect default: as the entries themselves look
   * @throws VmtapeError `bad-file` when they are of no sense together, `limit-exceeded` when there are too many
   */
  static read(places: Uint8Array, placesAt: number, entries: Uint8Array, dialect?: OrcDialect): OrcTable {
    const count = entries.length / orcEntry.size;
    if (!Number.isInteger(count) || places.length !== count * orcPlaceSize || count === 0) {
      throw new VmtapeError(
        "bad-file",
        `ORC tables of ${places.length} and ${entries.length} bytes do not go together`,
        { places: places.length, entries: entries.length },
      );
    }
    if (count > mostEntries) {
      throw new VmtapeError("limit-exceeded", `${count} ORC entries are more than ${mostEntries}`, {
        limit: mostEntries,
      });
    }
    const keys = new Float64Array(count);
    const view = viewOf(places);
    let isSorted = true;
    for (let i = 0; i < count; i++) {
      const key = placesAt + i * orcPlaceSize + view.getInt32(i * orcPlaceSize, true);
      keys[i] = key;
      if (i > 0 && key < keys[i - 1]!) isSorted = false;
    }
    const known = dialect ?? orcDialect(entries);
    const table = isSorted ? { keys, entries } : sorted(keys, entries, known);
    if (table.keys[count - 1]! - table.keys[0]! >= widestText) {
      throw new VmtapeError("bad-file", "ORC tables that reach further than a kernel's text", {});
    }
    return new OrcTable(table.keys, table.entries, known);
  }

  get count(): number {
    return this.places.length;
  }

  /** Key of the first address it has an entry for; what lies far after the last is no concern of it. */
  get first(): number {
    return this.places[0]!;
  }

  get last(): number {
    return this.places[this.places.length - 1]!;
  }

  /** Index of the entry for an address, -1 when it lies before or on the last place, which is an end mark. Cost: 50 ns. */
  find(key: number): number {
    const { places, blocks } = this;
    const first = places[0]!;
    if (!(key >= first && key < places[places.length - 1]!)) return -1;
    const block = Math.floor((key - first) / 2 ** blockBits);
    let low = blocks[block]!;
    let high = blocks[block + 1]!;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (places[middle]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Key of the place of an entry. */
  place(index: number): number {
    return this.places[index]!;
  }

  /** One of `orcType`; an unknown type is `undefined`, as it is to the kernel. */
  type(index: number): number {
    const flags = this.entries.getUint8(index * orcEntry.size + orcEntry.flags);
    if (this.isTyped) {
      const type = flags & this.flags.typeMask;
      return type <= orcType.partialRegisters ? type : orcType.undefined;
    }
    if (this.spRegister(index) === 0) return flags & this.flags.end ? orcType.endOfStack : orcType.undefined;
    const type = (flags & this.flags.typeMask) + orcType.call;
    return type <= orcType.partialRegisters ? type : orcType.undefined;
  }

  /** One of `orcRegister`, or a number that is none. */
  spRegister(index: number): number {
    const number = this.entries.getUint8(index * orcEntry.size + orcEntry.registers) & 15;
    return this.isRenumbered ? renumbered[number]! : number;
  }

  /** As `spRegister`. */
  bpRegister(index: number): number {
    const number = this.entries.getUint8(index * orcEntry.size + orcEntry.registers) >>> 4;
    return this.isRenumbered ? renumbered[number]! : number;
  }

  spOffset(index: number): number {
    return this.entries.getInt16(index * orcEntry.size + orcEntry.spOffset, true);
  }

  bpOffset(index: number): number {
    return this.entries.getInt16(index * orcEntry.size + orcEntry.bpOffset, true);
  }

  entry(index: number): OrcEntry {
    return {
      type: this.type(index),
      spRegister: this.spRegister(index),
      spOffset: this.spOffset(index),
      bpRegister: this.bpRegister(index),
      bpOffset: this.bpOffset(index),
    };
  }
}

/**
 * The dialect of entries, from what they are: nearly all describe callable functions, which is type 0 up to 6.3 and 2
 * from 6.4; bit 3 is set in 6.3 for an end of the stack, never before; and most frames are found from rsp, which has another
 * number from 7.1 on.
 */
export function orcDialect(entries: Uint8Array): OrcDialect {
  let calls = 0;
  let typedCalls = 0;
  let fromSp = 0;
  let fromMovedSp = 0;
  let high = 0;
  for (let at = 0; at + orcEntry.size <= entries.length; at += orcEntry.size) {
    const flags = entries[at + orcEntry.flags]!;
    const base = entries[at + orcEntry.registers]! & 15;
    const isUndefined = base === orcRegister.undefined;
    if (isUndefined) {
      if (flags === 1 << 3) high++;
      continue;
    }
    if ((flags & 7) === 0) calls++;
    else if ((flags & 7) === orcType.call) typedCalls++;
    if (base === orcRegister.sp) fromSp++;
    else if (renumbered[base] === orcRegister.sp) fromMovedSp++;
  }
  if (typedCalls > calls) return fromMovedSp > fromSp ? "renumbered" : "typed";
  return high > 0 ? "end3" : "end2";
}

function hasTypes(dialect: OrcDialect): boolean {
  return dialect === "typed" || dialect === "renumbered";
}

function indexBlocks(places: Float64Array): Uint32Array {
  const first = places[0]!;
  const count = Math.floor((places[places.length - 1]! - first) / 2 ** blockBits) + 2;
  const blocks = new Uint32Array(count);
  let entry = 0;
  for (let block = 0; block < count; block++) {
    const start = first + block * 2 ** blockBits;
    while (entry + 1 < places.length && places[entry + 1]! <= start) entry++;
    blocks[block] = entry;
  }
  return blocks;
}

/** Of two entries for one place the one that knows something comes last and answers, as `orc_sort_cmp` has it. */
function sorted(keys: Float64Array, entries: Uint8Array, dialect: OrcDialect) {
  const isEmpty = (i: number) => {
    const at = i * orcEntry.size;
    if (hasTypes(dialect)) return (entries[at + orcEntry.flags]! & 7) === 0 ? 0 : 1;
    return (entries[at + orcEntry.registers]! & 15) === 0 ? 0 : 1;
  };
  const order = Uint32Array.from(keys, (_, i) => i).sort(
    (a, b) => keys[a]! - keys[b]! || isEmpty(a) - isEmpty(b),
  );
  const sortedEntries = new Uint8Array(entries.length);
  order.forEach((from, to) => {
    const at = from * orcEntry.size;
    sortedEntries.set(entries.subarray(at, at + orcEntry.size), to * orcEntry.size);
  });
  return { keys: Float64Array.from(order, (i) => keys[i]!), entries: sortedEntries };
}
