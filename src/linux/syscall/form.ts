import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { type Code, constant } from "../pass/collect-code.js";
import { errorOf, pointerText, quoted } from "./text.js";

/** Where a probe finds the arguments of a call. */
export interface CallPlace {
  argument(index: number): Code;
  /** The program's stack pointer. */
  readonly stack: Code;
  /** Where the strings are that the task's program was begun with: arguments, and after the environment its path. */
  readonly program: {
    readonly argumentStart: Code;
    readonly argumentEnd: Code;
    readonly environmentEnd: Code;
  };
  /** Where it has one: at the call's end. */
  readonly result: Code | undefined;
}

/** The numbers of a call that is shown. */
export interface CallNumbers {
  readonly arguments: readonly bigint[];
  /** Undefined while it runs. */
  readonly result: bigint | undefined;
}

/** What is known of one call when it is shown. */
export interface FormCall extends CallNumbers {
  /** Bytes of a word in the program's structures. */
  readonly wordBytes: 4 | 8;
  /** What was collected when it began. */
  readonly early: readonly (HitPiece | undefined)[];
  /** The same; where that could not be read, what was collected at its end. */
  readonly before: readonly (HitPiece | undefined)[];
  /** The same at its end. */
  readonly again: readonly (HitPiece | undefined)[];
  /** What was collected at its end alone. */
  readonly after: readonly (HitPiece | undefined)[];
}

/** How all the arguments of a call are shown, where one decides about the others. */
export interface CallForm {
  /** Collected when the call begins, and again at its end. */
  before(place: CallPlace): ProbeItem[];
  /** Collected at its end. */
  after(place: CallPlace): ProbeItem[];
  /** A text each. */
  texts(call: FormCall): string[];
}

/** A table of values with names. */
export type ValueNames = ReadonlyMap<bigint, string>;

/** Names one after another, from a number on; `-` is none. */
export function numbered(prefix: string, names: string, from = 0): ValueNames {
  const words = names.trim().split(/\s+/);
  return new Map(
    words
      .map((name, i) => [BigInt(from + i), prefix + name] as const)
      .filter(([, name]) => name !== `${prefix}-`),
  );
}

/** Pairs of a name and a number. */
export function namedValues(prefix: string, pairs: Readonly<Record<string, number>>): ValueNames {
  return new Map(Object.entries(pairs).map(([name, value]) => [BigInt(value), prefix + name]));
}

/** A value by name, else in hexadecimal. */
export function nameOf(names: ValueNames, value: bigint): string {
  return names.get(value) ?? hexText(value);
}

/** Bits by name, in the table's order; the rest in hexadecimal. */
export function bitsText(names: ValueNames, value: bigint): string {
  let left = value;
  const shown: string[] = [];
  for (const [bits, name] of names) {
    if (bits === 0n || (left & bits) !== bits) continue;
    shown.push(name);
    left &= ~bits;
  }
  if (left !== 0n) shown.push(hexText(left));
  return shown.length > 0 ? shown.join("|") : (names.get(0n) ?? "0");
}

export function hexText(value: bigint): string {
  return value === 0n ? "0" : `0x${value.toString(16)}`;
}

export function low(value: bigint): bigint {
  return BigInt.asUintN(32, value);
}

export function signed(value: bigint): string {
  return String(BigInt.asIntN(32, value));
}

export function memoryItem(address: Code, length: number): ProbeItem {
  return { collect: "memory", address: address.bytes, length: constant(length).bytes, most: length };
}

export function textItem(address: Code, most: number): ProbeItem {
  return { collect: "text", address: address.bytes, most };
}

/** Did it fail, or has it not ended? */
export function hasFailed({ result }: CallNumbers): boolean {
  return result === undefined || errorOf(result) !== undefined;
}

/** The bytes of a piece; undefined when there are not so many. */
export function viewOf(piece: HitPiece | undefined, bytes: number): DataView | undefined {
  if (!piece || piece.state === "unreadable" || piece.bytes.length < bytes) return undefined;
  return new DataView(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
}

/** A string that was collected; its address where it was not. */
export function stringText(piece: HitPiece | undefined, address: bigint): string {
  if (address === 0n) return "NULL";
  if (!piece || piece.state === "unreadable") return pointerText(address);
  return quoted(piece.bytes, piece.state === "cut");
}

/** A string in a field of fixed size. */
export function fieldString(view: DataView, offset: number, length: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, length);
  const end = bytes.indexOf(0);
  return quoted(end < 0 ? bytes : bytes.subarray(0, end), end < 0);
}

/** What an address leads to, by the view of it; the address where it was not collected. */
export function structureText(
  piece: HitPiece | undefined,
  address: bigint,
  bytes: number,
  show: (view: DataView) => string,
): string {
  const view = address === 0n ? undefined : viewOf(piece, bytes);
  return view ? show(view) : pointerText(address);
}
