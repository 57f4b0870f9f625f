import { type EntryReader, type PageAccess, type PagingState, walkPages } from "../base/x86-paging.js";
import { registerValue } from "./x86-registers.js";

/** A translated address: the physical one, and how many bytes from it on belong to the same page. */
export interface Translation {
  readonly physical: bigint;
  readonly left: number;
}

/** A range of addresses with the same access, or an unmapped one. */
export interface MappedRange {
  readonly start: bigint;
  /** The first address after it, 2^64 at most. */
  readonly end: bigint;
  /** Undefined where nothing is mapped. */
  readonly access: PageAccess | undefined;
}

const cr0Paging = 1n << 31n;
const cr4 = { pageSizeExtension: 1n << 4n, physicalExtension: 1n << 5n, fiveLevels: 1n << 12n } as const;
const longModeActive = 1n << 10n;
const noExecuteEnabled = 1n << 11n;

/** The paging mode that the registers of a `g` block set. Source: Intel SDM, volume 3, section 4.1.1. */
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

/**
 * The physical address of a virtual one; undefined when it is not mapped. At most five reads. When the processor uses
 * 32-bit addresses, the higher bits of `address` are ignored.
 */
export async function translate(
  state: PagingState,
  address: bigint,
  read: EntryReader,
): Promise<Translation | undefined> {
  const isWide = state.mode === "4-level" || state.mode === "5-level";
  const at = isWide ? address : BigInt.asUintN(32, address);
  const { start, end, page } = await walkPages(state, at, read);
  return page === undefined ? undefined : { physical: page + (at - start), left: Number(end - at) };
}

/** The most pages of a range; longer ones are cut. */
const mostPages = 1024;
const addressEnd = 1n << 64n;

/**
 * The range around a virtual address that has the same access everywhere, or is mapped nowhere. A very long range may
 * be cut.
 *
 * Cost: a walk for each page, or for each hole as large as a table's entry.
 *
 * @param block the `g` block, which tells the paging mode and whether NX is enabled
 */
export async function mappedRange(
  block: Uint8Array,
  address: bigint,
  read: EntryReader,
): Promise<MappedRange> {
  const state = pagingState(block);
  const protects = (registerValue(block, "efer") & noExecuteEnabled) !== 0n;
  const look = async (at: bigint): Promise<MappedRange> => {
    const { start, end, access } = await walkPages(state, at, read);
    return { start, end, access: access && !protects ? { ...access, execute: true } : access };
  };
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
