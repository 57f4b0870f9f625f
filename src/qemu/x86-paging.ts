import { registerValue } from "./x86-registers.js";

/**
 * Virtual to physical addresses as an x86 processor translates them, in every paging mode. Source: Intel SDM,
 * volume 3, chapter 4 "Paging" (tables 4-2 to 4-20) and section 3.3; nothing is set in the tables (no accessed bit).
 */

/** What of the registers decides how addresses are translated. */
export interface PagingState {
  readonly cr3: bigint;
  readonly mode: "none" | "32-bit" | "pae" | "4-level" | "5-level";
  /** 4 MB pages, in 32-bit mode. */
  readonly largePages: boolean;
}

/** Reads a table's entry: 4 or 8 bytes of RAM; undefined where there is none. */
export type EntryReader = (physical: bigint, bytes: 4 | 8) => Promise<bigint | undefined>;

/** A page: its physical address, and how many bytes from it on belong to it. */
export interface Translation {
  readonly physical: bigint;
  readonly left: number;
}

const cr0Paging = 1n << 31n;
const cr4 = { pageSizeExtension: 1n << 4n, physicalExtension: 1n << 5n, fiveLevels: 1n << 12n } as const;
const longModeActive = 1n << 10n;

const present = 1n;
const large = 1n << 7n;
const frameMask = 0x000f_ffff_ffff_f000n;
const pageShift = 12n;

/** Reads the paging mode off a `g` block. */
export function pagingState(block: Uint8Array): PagingState {
  const control = registerValue(block, "cr4");
  const largePages = (control & cr4.pageSizeExtension) !== 0n;
  return { cr3: registerValue(block, "cr3"), mode: pagingMode(block, control), largePages };
}

function pagingMode(block: Uint8Array, control: bigint): PagingState["mode"] {
  if ((registerValue(block, "cr0") & cr0Paging) === 0n) return "none";
  if ((registerValue(block, "efer") & longModeActive) !== 0n) {
    return (control & cr4.fiveLevels) !== 0n ? "5-level" : "4-level";
  }
  return (control & cr4.physicalExtension) !== 0n ? "pae" : "32-bit";
}

/** Where a virtual address lies; undefined when it is not mapped. At most five reads. */
export function translate(
  state: PagingState,
  address: bigint,
  read: EntryReader,
): Promise<Translation | undefined> {
  switch (state.mode) {
    case "none":
      return Promise.resolve(identity(address & 0xffff_ffffn));
    case "32-bit":
      return walk32(state, address & 0xffff_ffffn, read);
    case "pae":
      return walkPae(state, address & 0xffff_ffffn, read);
    default:
      return isCanonical(address, state.mode === "4-level" ? 48n : 57n)
        ? walkLong(state.cr3 & frameMask, address, state.mode === "4-level" ? 3 : 4, read)
        : Promise.resolve(undefined);
  }
}

async function walk32(
  { cr3, largePages }: PagingState,
  address: bigint,
  read: EntryReader,
): Promise<Translation | undefined> {
  const directory = await read((cr3 & 0xffff_f000n) + (address >> 22n) * 4n, 4);
  if (directory === undefined || (directory & present) === 0n) return undefined;
  if (largePages && (directory & large) !== 0n) {
    // Bits 13 to 20 are bits 32 to 39 of the address (PSE-36).
    const high = ((directory >> 13n) & 0xffn) << 32n;
    return within(address, high | (directory & 0xffc0_0000n), 22n);
  }
  const entry = await read((directory & 0xffff_f000n) + ((address >> pageShift) & 0x3ffn) * 4n, 4);
  if (entry === undefined || (entry & present) === 0n) return undefined;
  return within(address, entry & 0xffff_f000n, pageShift);
}

async function walkPae(
  { cr3 }: PagingState,
  address: bigint,
  read: EntryReader,
): Promise<Translation | undefined> {
  const pointer = await read((cr3 & 0xffff_ffe0n) + (address >> 30n) * 8n, 8);
  if (pointer === undefined || (pointer & present) === 0n) return undefined;
  return walkLong(pointer & frameMask, address, 1, read);
}

/** From a table of 512 entries at `level` (0: of pages) down. */
async function walkLong(
  table: bigint,
  address: bigint,
  level: number,
  read: EntryReader,
): Promise<Translation | undefined> {
  let frame = table;
  for (let depth = level; depth >= 0; depth--) {
    const shift = pageShift + 9n * BigInt(depth);
    const entry = await read(frame + ((address >> shift) & 0x1ffn) * 8n, 8);
    if (entry === undefined || (entry & present) === 0n) return undefined;
    if (depth === 0 || (depth <= 2 && (entry & large) !== 0n)) {
      const offset = (1n << shift) - 1n;
      return within(address, entry & frameMask & ~offset, shift);
    }
    frame = entry & frameMask;
  }
  return undefined;
}

function within(address: bigint, page: bigint, shift: bigint): Translation {
  const offset = address & ((1n << shift) - 1n);
  return { physical: page + offset, left: Number((1n << shift) - offset) };
}

/** Without paging: up to the end of a page's length, so that callers go on page by page. */
function identity(address: bigint): Translation {
  return { physical: address, left: Number((1n << pageShift) - (address & ((1n << pageShift) - 1n))) };
}

function isCanonical(address: bigint, bits: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(Number(bits), address)) === address;
}
