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

/** What a program may do with a page; without `user`, the kernel alone may. Of any page it may read. */
export interface PageAccess {
  readonly write: boolean;
  readonly execute: boolean;
  readonly user: boolean;
}

/** Addresses that are mapped alike. */
export interface MappedRange {
  readonly start: bigint;
  /** The first address behind it, 2^64 at most. */
  readonly end: bigint;
  /** Undefined where nothing is mapped. */
  readonly access: PageAccess | undefined;
}

const cr0Paging = 1n << 31n;
const cr4 = { pageSizeExtension: 1n << 4n, physicalExtension: 1n << 5n, fiveLevels: 1n << 12n } as const;
const longModeActive = 1n << 10n;

const noExecuteEnabled = 1n << 11n;

const present = 1n;
const writable = 1n << 1n;
const forUser = 1n << 2n;
const large = 1n << 7n;
const noExecute = 1n << 63n;
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

/** A longer stretch is told in pieces. */
const mostPages = 1024;
const addressEnd = 1n << 64n;

/**
 * The stretch around a virtual address that is mapped alike, or not at all. A very long one may be cut.
 *
 * Cost: a walk for each page, or for each hole as large as a table's entry.
 *
 * @param block the `g` block, for the mode and whether pages can be protected from execution
 */
export async function mappedRange(
  block: Uint8Array,
  address: bigint,
  read: EntryReader,
): Promise<MappedRange> {
  const state = pagingState(block);
  const protects = (registerValue(block, "efer") & noExecuteEnabled) !== 0n;
  const look = (at: bigint) => pageAt(state, at, read, protects);
  const found = await look(address);
  let { start, end } = found;
  for (let i = 0; i < mostPages && end < addressEnd; i++) {
    const next = await look(end);
    if (!isSameAccess(next.access, found.access)) break;
    end = next.end;
  }
  for (let i = 0; i < mostPages && start > 0n; i++) {
    const before = await look(start - 1n);
    if (!isSameAccess(before.access, found.access)) break;
    start = before.start;
  }
  return { start, end, access: found.access };
}

function isSameAccess(a: PageAccess | undefined, b: PageAccess | undefined): boolean {
  if (!a || !b) return a === b;
  return a.write === b.write && a.execute === b.execute && a.user === b.user;
}

/** The page an address lies in, or the hole that a table's entry leaves. */
async function pageAt(
  state: PagingState,
  address: bigint,
  read: EntryReader,
  protects: boolean,
): Promise<MappedRange> {
  const wide = state.mode === "4-level" || state.mode === "5-level";
  if (!wide && address >> 32n !== 0n) return { start: 1n << 32n, end: addressEnd, access: undefined };
  if (state.mode === "none")
    return { start: 0n, end: 1n << 32n, access: { write: true, execute: true, user: true } };
  const bits = state.mode === "4-level" ? 48n : 57n;
  if (wide && !isCanonical(address, bits)) {
    const half = 1n << (bits - 1n);
    return { start: half, end: addressEnd - half, access: undefined };
  }
  let frame = state.cr3 & (wide ? frameMask : state.mode === "pae" ? 0xffff_ffe0n : 0xffff_f000n);
  let access: PageAccess = { write: true, execute: true, user: true };
  for (const { shift, entries, bytes, isPlain, mayBePage } of levels(state)) {
    const entry = await read(frame + ((address >> shift) & (entries - 1n)) * BigInt(bytes), bytes);
    const start = (address >> shift) << shift;
    const end = start + (1n << shift);
    if (entry === undefined || (entry & present) === 0n) return { start, end, access: undefined };
    if (!isPlain) {
      access = {
        write: access.write && (entry & writable) !== 0n,
        execute: access.execute && !(protects && bytes === 8 && (entry & noExecute) !== 0n),
        user: access.user && (entry & forUser) !== 0n,
      };
    }
    if (shift === pageShift || (mayBePage && (entry & large) !== 0n)) return { start, end, access };
    frame = bytes === 4 ? entry & 0xffff_f000n : entry & frameMask;
  }
  throw new RangeError("a table of pages has no last level");
}

interface Level {
  readonly shift: bigint;
  readonly entries: bigint;
  readonly bytes: 4 | 8;
  /** Its entries say nothing of access. */
  readonly isPlain?: boolean;
  readonly mayBePage?: boolean;
}

/** The tables of a mode, from the root. */
function levels({ mode, largePages }: PagingState): readonly Level[] {
  if (mode === "32-bit") {
    return [
      { shift: 22n, entries: 1024n, bytes: 4, mayBePage: largePages },
      { shift: 12n, entries: 1024n, bytes: 4 },
    ];
  }
  const entries = 512n;
  const bytes = 8;
  const lower: readonly Level[] = [
    { shift: 21n, entries, bytes, mayBePage: true },
    { shift: 12n, entries, bytes },
  ];
  if (mode === "pae") return [{ shift: 30n, entries: 4n, bytes, isPlain: true }, ...lower];
  const upper: readonly Level[] = [
    { shift: 39n, entries, bytes },
    { shift: 30n, entries, bytes, mayBePage: true },
  ];
  return [...(mode === "5-level" ? [{ shift: 48n, entries, bytes } as const] : []), ...upper, ...lower];
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
