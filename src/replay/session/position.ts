import { VmtapeError } from "../../base/errors.js";
import { exactInJson } from "../../base/json.js";
import {
  type Brctr,
  brctr,
  type GuestAddress,
  guestAddress,
  hex,
  type Icount,
  icount,
} from "../../base/units.js";

/**
 * An instant between two instructions. It can be named in two ways: by its icount (where deliveries share that, with
 * the pc), or by (pc, brctr, rep), as XenTT's locations are. There, pc is the address of the next instruction, brctr,
 * the number of branch records so far, tells one visit to that address from another, and rep is the number of
 * iterations done of a `rep` instruction that is half way.
 */
export interface Position {
  readonly icount: Icount;
  readonly pc: GuestAddress;
  readonly brctr: Brctr;
  /** Iterations of the `rep` instruction at `pc` that are done; 0 before it, and for every other instruction. */
  readonly rep: bigint;
}

/** A position as a user writes it. A place without a visit means its first one. */
export type WrittenPosition =
  | { readonly kind: "start" | "end" }
  | { readonly kind: "icount"; readonly icount: Icount }
  | { readonly kind: "address"; readonly address: GuestAddress; readonly visit?: Visit }
  | { readonly kind: "symbol"; readonly name: string; readonly visit?: Visit };

/** One visit to a place: the one with `brctr` branch records before it, and `rep` iterations done. */
export interface Visit {
  readonly brctr: Brctr;
  readonly rep: bigint;
}

const largestCount = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * Reads `start`, `end`, `@ICOUNT`, `SYMBOL[:BRCTR]`, `0xADDR[:BRCTR[/REP]]`. Digits may be grouped with `_`
 * or `,`.
 *
 * @throws `usage` for anything else
 */
export function parsePosition(text: string): WrittenPosition {
  if (text === "start" || text === "end") return { kind: text };
  if (text.startsWith("@")) return { kind: "icount", icount: icount(parseCount(text.slice(1), text)) };
  // A C++ name may contain colons. A visit follows the last one, and is a number.
  const match = /^(.+?)(?::(\d[\d_,]*)(?:\/(\d[\d_,]*))?)?$/s.exec(text);
  const [, place = "", branches, rep] = match ?? [];
  const visit = branches === undefined ? undefined : parseVisit(branches, rep, text);
  const address = /^0x([0-9a-f]{1,16})$/i.exec(place);
  if (address) return { kind: "address", address: guestAddress(BigInt(place)), ...(visit && { visit }) };
  if (place === "" || /^[\d@:]|^0x|\s|[:/]$/i.test(place)) throw badPosition(text);
  return { kind: "symbol", name: place, ...(visit && { visit }) };
}

function parseVisit(branches: string, rep: string | undefined, text: string): Visit {
  return { brctr: brctr(parseCount(branches, text)), rep: rep === undefined ? 0n : parseCount(rep, text) };
}

function parseCount(digits: string, text: string): bigint {
  const plain = digits.replace(/[_,]/g, "");
  if (!/^\d{1,16}$/.test(plain) || BigInt(plain) > largestCount) throw badPosition(text);
  return BigInt(plain);
}

function badPosition(text: string): VmtapeError {
  const shown = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  return new VmtapeError(
    "usage",
    `'${shown}' is no position: write start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]`,
    { got: shown },
  );
}

/** A written position as text; `parsePosition` reads it back. */
export function formatWritten(position: WrittenPosition): string {
  switch (position.kind) {
    case "icount":
      return `@${position.icount}`;
    case "address":
      return hex(position.address) + formatVisit(position.visit);
    case "symbol":
      return position.name + formatVisit(position.visit);
    default:
      return position.kind;
  }
}

function formatVisit(visit: Visit | undefined): string {
  if (!visit) return "";
  return visit.rep === 0n ? `:${visit.brctr}` : `:${visit.brctr}/${visit.rep}`;
}

/**
 * A position as vmtape prints it: `0xffffffff81091685:123456789 @5986628577 <do_idle+0x85>`.
 *
 * @param name of the pc, without brackets, where one is known
 */
export function formatPosition(position: Position, name?: string): string {
  const visit = formatVisit({ brctr: position.brctr, rep: position.rep });
  return `${hex(position.pc)}${visit} @${position.icount}${name === undefined ? "" : ` <${name}>`}`;
}

/** A position in JSON: counts as numbers, or as text beyond 2^53; the address as text. */
export interface PositionJson {
  readonly icount: number | string;
  readonly brctr: number | string;
  readonly pc: string;
  readonly rep: number | string;
}

/** See {@link PositionJson}. */
export function positionToJson({ icount: at, brctr: branches, pc, rep }: Position): PositionJson {
  return { icount: exactInJson(at), brctr: exactInJson(branches), pc: hex(pc), rep: exactInJson(rep) };
}

/** Orders positions of one tape in time: negative when `a` is the earlier. */
export function comparePositions(a: Position, b: Position): number {
  if (a.icount !== b.icount) return a.icount < b.icount ? -1 : 1;
  // A delivery executes no instruction, but is a branch record.
  return a.brctr < b.brctr ? -1 : a.brctr > b.brctr ? 1 : 0;
}
