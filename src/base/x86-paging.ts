/**
 * The walk through an x86 processor's page tables, in every paging mode: from the root to a page, or to the entry
 * that ends the way. Source: Intel SDM, volume 3, chapter 4 "Paging" (tables 4-2 to 4-20); unlike a processor it sets
 * no accessed bits. All other page walkers of vmtape call this one.
 */

/** How addresses are translated. */
export type PagingMode = "none" | "32-bit" | "pae" | "4-level" | "5-level";

/** The state of the registers that decides how addresses are translated. */
export interface PagingState {
  readonly cr3: bigint;
  readonly mode: PagingMode;
  /** In 32-bit mode: are there 4 MB pages? */
  readonly largePages: boolean;
}

/**
 * Reads an entry of 4 or 8 bytes, `offset` bytes into the table at physical address `table`. Undefined where there is
 * no memory.
 */
export type EntryReader = (table: bigint, offset: number, bytes: 4 | 8) => Promise<bigint | undefined>;

/** How a page may be accessed. Every mapped page may be read; without `user`, only by the kernel. */
export interface PageAccess {
  readonly write: boolean;
  readonly execute: boolean;
  readonly user: boolean;
}

/** Where a walk ended: at a page, or at a hole as large as a table's entry. */
export interface Walk {
  /** The first virtual address of the page or hole. */
  readonly start: bigint;
  /** The first address after it, 2^64 at most. */
  readonly end: bigint;
  /** Physical address of the page's first byte; undefined for a hole. */
  readonly page: bigint | undefined;
  /** The last entry that was read; 0 when none was. */
  readonly entry: bigint;
  /** Allowed by the entries of all levels, with execute protection (NX) taken as enabled; undefined for a hole. */
  readonly access: PageAccess | undefined;
}

const present = 1n;
const writable = 1n << 1n;
const forUser = 1n << 2n;
const large = 1n << 7n;
const noExecute = 1n << 63n;
/** Bits 12 to 51: the physical address in an entry of 8 bytes, and in CR3. */
export const frameMask = 0x000f_ffff_ffff_f000n;
const frameMask32 = 0xffff_f000n;
const end32 = 1n << 32n;
const end64 = 1n << 64n;

interface Level {
  /** Number of the lowest bit of those that choose the entry. */
  readonly shift: bigint;
  readonly entries: bigint;
  /** Entries of this level have no access bits. */
  readonly isPlain?: boolean;
  readonly mayBePage?: boolean;
}

interface Tables {
  readonly entryBytes: 4 | 8;
  readonly rootMask: bigint;
  readonly frameMask: bigint;
  /**
   * Bits of an address. In 64-bit modes all higher bits must equal the highest of these; in 32-bit modes there are
   * none.
   */
  readonly addressBits: number;
  /** From the root table on. */
  readonly levels: readonly Level[];
}

const entries = 512n;
const wide = { entryBytes: 8, rootMask: frameMask, frameMask } as const;
const lower: readonly Level[] = [
  { shift: 21n, entries, mayBePage: true },
  { shift: 12n, entries },
];
const fourLevels: readonly Level[] = [
  { shift: 39n, entries },
  { shift: 30n, entries, mayBePage: true },
  ...lower,
];
const narrow = (mayBePage: boolean): Tables => ({
  entryBytes: 4,
  rootMask: frameMask32,
  frameMask: frameMask32,
  addressBits: 32,
  levels: [
    { shift: 22n, entries: 1024n, mayBePage },
    { shift: 12n, entries: 1024n },
  ],
});
const tables = {
  "32-bit": narrow(false),
  "32-bit-large": narrow(true),
  pae: {
    ...{ entryBytes: 8, rootMask: 0xffff_ffe0n, frameMask, addressBits: 32 },
    levels: [{ shift: 30n, entries: 4n, isPlain: true }, ...lower],
  },
  "4-level": { ...wide, addressBits: 48, levels: fourLevels },
  "5-level": { ...wide, addressBits: 57, levels: [{ shift: 48n, entries }, ...fourLevels] },
} as const satisfies Record<string, Tables>;

const all: PageAccess = { write: true, execute: true, user: true };

/**
 * Translates a virtual address, with at most five reads.
 *
 * @param address 64 bits, unsigned
 */
export async function walkPages(state: PagingState, address: bigint, read: EntryReader): Promise<Walk> {
  const { mode } = state;
  const isWide = mode === "4-level" || mode === "5-level";
  if (!isWide && address >= end32) return hole(end32, end64);
  if (mode === "none") return { start: 0n, end: end32, page: 0n, entry: 0n, access: all };
  const { entryBytes, rootMask, frameMask, addressBits, levels }: Tables =
    tables[mode === "32-bit" && state.largePages ? "32-bit-large" : mode];
  if (isWide && BigInt.asUintN(64, BigInt.asIntN(addressBits, address)) !== address) {
    const half = 1n << BigInt(addressBits - 1);
    return hole(half, end64 - half);
  }
  let table = state.cr3 & rootMask;
  let access = all;
  for (const { shift, entries, isPlain, mayBePage } of levels) {
    const index = (address >> shift) & (entries - 1n);
    const entry = await read(table, Number(index) * entryBytes, entryBytes);
    const start = (address >> shift) << shift;
    const end = start + (1n << shift);
    if (entry === undefined || (entry & present) === 0n) return hole(start, end, entry);
    if (!isPlain) {
      access = {
        write: access.write && (entry & writable) !== 0n,
        execute: access.execute && (entryBytes === 4 || (entry & noExecute) === 0n),
        user: access.user && (entry & forUser) !== 0n,
      };
    }
    table = entry & frameMask;
    const isLarge = mayBePage === true && (entry & large) !== 0n;
    if (isLarge || shift === pageShift) {
      // Bits 13 to 20 of a 4 MB page's entry are bits 32 to 39 of its address (PSE-36).
      const high = isLarge && entryBytes === 4 ? ((entry >> 13n) & 0xffn) << 32n : 0n;
      return { start, end, page: high | (table & ~((1n << shift) - 1n)), entry, access };
    }
  }
  throw new RangeError("a table of pages has no last level");
}

const pageShift = 12n;

/**
 * Visits all page tables below a root, each at least once.
 *
 * @param readTable reads all bytes of a table; undefined where there is no memory
 * @param visit called with the physical address of a table's page and the number of levels below it; when it returns
 *   false, the tables below that one are not visited
 */
export async function eachTable(
  state: PagingState,
  readTable: (table: bigint, bytes: number) => Promise<Uint8Array | undefined>,
  visit: (table: bigint, below: number) => boolean,
): Promise<void> {
  const { mode } = state;
  if (mode === "none") return;
  const layout: Tables = tables[mode === "32-bit" && state.largePages ? "32-bit-large" : mode];
  await descend(layout, state.cr3 & layout.rootMask, layout.levels.length - 1, readTable, visit);
}

/**
 * As {@link eachTable}, for the tables below an entry of a table that has `below` levels below it; none when the
 * entry maps a page or nothing.
 */
export async function eachTableBelow(
  state: PagingState,
  entry: bigint,
  below: number,
  readTable: (table: bigint, bytes: number) => Promise<Uint8Array | undefined>,
  visit: (table: bigint, below: number) => boolean,
): Promise<void> {
  if (state.mode === "none" || below === 0) return;
  const layout: Tables = tables[state.mode === "32-bit" && state.largePages ? "32-bit-large" : state.mode];
  const level = layout.levels[layout.levels.length - 1 - below];
  if (!level || !leadsToTable(level, entry)) return;
  await descend(layout, entry & layout.frameMask, below - 1, readTable, visit);
}

const leadsToTable = (level: Level, entry: bigint) =>
  (entry & present) !== 0n && !(level.mayBePage === true && (entry & large) !== 0n);

async function descend(
  layout: Tables,
  table: bigint,
  below: number,
  readTable: (table: bigint, bytes: number) => Promise<Uint8Array | undefined>,
  visit: (table: bigint, below: number) => boolean,
): Promise<void> {
  if (!visit(table & ~0xfffn, below) || below === 0) return;
  const { entryBytes, levels, frameMask: frame } = layout;
  const level = levels[levels.length - 1 - below]!;
  const bytes = await readTable(table, Number(level.entries) * entryBytes);
  if (!bytes) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + entryBytes <= bytes.length; at += entryBytes) {
    if ((bytes[at]! & 1) === 0) continue;
    const entry = entryBytes === 4 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
    if (leadsToTable(level, entry)) await descend(layout, entry & frame, below - 1, readTable, visit);
  }
}

function hole(start: bigint, end: bigint, entry = 0n): Walk {
  return { start, end, page: undefined, entry, access: undefined };
}
