import { VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { sizeOf, type Type } from "../types/type.js";
import {
  bytesOf,
  checkedSize,
  type Hole,
  loadValue,
  optimizedOut,
  readMemory,
  type Value,
} from "../values/value.js";
import { LebReader } from "./abbrev.js";
import { evaluateExpression } from "./expression.js";
import { locationOp } from "./type-layout.js";

/** A function's frame, as the values of its variables need it. */
export interface VariableFrame {
  readonly memory: GuestMemory;
  /**
   * A register by DWARF's number: x86-64 has rax 0, rdx 1, rcx 2, rbx 3, rsi 4, rdi 5, rbp 6, rsp 7, r8 8 …, rip 16, and
   * xmm0 17 …, whose values have 128 bits.
   */
  readonly register: (number: number) => bigint | undefined;
  /** The stack pointer before the call that made the frame. */
  readonly cfa?: bigint | undefined;
  /** What was added to the addresses of the file. */
  readonly loadBias?: bigint | undefined;
  /** What a register held when the function was entered; undefined when nobody knows any more. */
  readonly entry?: ((number: number) => Promise<bigint | undefined>) | undefined;
}

/** An xmm register has 16 bytes. */
const largestRegister = 16;

/** An expression is computed again with what it read of memory; one that reads more is made to harm. */
const mostReads = 32;
const mostPieces = 256;

/**
 * The value that a location expression describes: in memory, in a register, computed, or in pieces of these.
 *
 * @throws VmtapeError `bad-file` for a damaged expression; memory that is missing is told when the value is read
 */
export async function locatedValue(
  block: Uint8Array,
  type: Type,
  frame: VariableFrame,
  frameBase: bigint | undefined,
): Promise<Value> {
  const pieces = splitPieces(block);
  const [first] = pieces;
  if (!first) return { type, missing: optimizedOut };
  if (pieces.length === 1 && first.size === undefined) return simpleValue(first.code, type, frame, frameBase);
  const bytes = new Uint8Array(checkedSize(type));
  const holes: Hole[] = [];
  let at = 0;
  for (const { code, size = 0, isBits } of pieces) {
    if (isBits) return { type, missing: optimizedOut };
    const end = Math.min(bytes.length, at + size);
    const piece = await simpleValue(code, wordsOf(end - at), frame, frameBase);
    if (piece.missing === undefined) bytes.set(await loadValue(piece, frame.memory), at);
    else holes.push({ start: at, end, missing: piece.missing });
    at = end;
  }
  if (at < bytes.length) holes.push({ start: at, end: bytes.length, missing: optimizedOut });
  if (holes.reduce((sum, { start, end }) => sum + end - start, 0) === bytes.length) {
    return { type, missing: holes[0]?.missing ?? optimizedOut };
  }
  return holes.length > 0 ? { type, bytes, holes } : { type, bytes };
}

/**
 * The address or value that an expression without pieces computes: a frame base.
 *
 * @returns undefined when a register is not known or memory is not mapped
 */
export async function computedBase(block: Uint8Array, frame: VariableFrame): Promise<bigint | undefined> {
  const register = registerOf(block);
  return register === undefined ? compute(block, frame, undefined) : frame.register(register);
}

/** A type of so many bytes that stand for nothing. */
function wordsOf(size: number): Type {
  return { kind: "int", name: "", size, signed: false, style: "number" };
}

async function simpleValue(
  code: Uint8Array,
  type: Type,
  frame: VariableFrame,
  frameBase: bigint | undefined,
): Promise<Value> {
  const size = sizeOf(type);
  const register = registerOf(code);
  if (register !== undefined) {
    const value = frame.register(register);
    if (value === undefined || size > largestRegister) return { type, missing: optimizedOut };
    return { type, bytes: bytesOf(value, size) };
  }
  switch (code[0]) {
    case undefined:
      return { type, missing: optimizedOut };
    case locationOp.implicitPointer:
    case locationOp.gnuImplicitPointer:
      return { type, missing: "synthetic pointer" };
    case locationOp.implicitValue: {
      const reader = new LebReader(code, 1);
      const length = reader.unsigned();
      const bytes = new Uint8Array(size);
      bytes.set(code.subarray(reader.at, reader.at + Math.min(length, size)));
      return { type, bytes };
    }
    default:
  }
  if (holds(code, threadOps)) return { type, missing: "a variable of a thread" };
  if (holds(code, entryOps)) {
    const plain = await withEntryValues(code, frame);
    return plain ? simpleValue(plain, type, frame, frameBase) : { type, missing: optimizedOut };
  }
  const isValue = code.at(-1) === locationOp.stackValue;
  let result: bigint | undefined;
  try {
    result = await compute(code, frame, frameBase);
  } catch (error) {
    if (!(error instanceof VmtapeError) || error.code !== "unsupported") throw error;
    return { type, missing: error.message };
  }
  if (result === undefined) return { type, missing: optimizedOut };
  return isValue ? { type, bytes: bytesOf(result, size) } : { type, address: BigInt.asUintN(64, result) };
}

/** Runs an expression; memory it asks for is read, and it runs again. */
async function compute(
  code: Uint8Array,
  frame: VariableFrame,
  frameBase: bigint | undefined,
): Promise<bigint | undefined> {
  const known = new Map<string, bigint>();
  for (let reads = 0; reads < mostReads; reads++) {
    let wanted: { readonly address: bigint; readonly size: number } | undefined;
    const result = evaluateExpression(code, {
      register: frame.register,
      frameBase,
      cfa: frame.cfa,
      loadBias: frame.loadBias,
      memory(address, size) {
        const value = known.get(`${address}+${size}`);
        if (value === undefined) wanted ??= { address, size };
        return value;
      },
    });
    if (!wanted) return result;
    const bytes = await readMemory(frame.memory, wanted.address, wanted.size);
    const value = bytes.reduceRight((high, byte) => (high << 8n) | BigInt(byte), 0n);
    known.set(`${wanted.address}+${wanted.size}`, value);
  }
  throw new VmtapeError("limit-exceeded", `a DWARF location reads memory more than ${mostReads} times`, {
    limit: mostReads,
  });
}

/** The register an expression names, when that is all of it. */
function registerOf(code: Uint8Array): number | undefined {
  const first = code[0];
  if (first === undefined) return undefined;
  if (code.length === 1 && first >= locationOp.reg0 && first < locationOp.reg0 + 32)
    return first - locationOp.reg0;
  if (first !== locationOp.regx) return undefined;
  const reader = new LebReader(code, 1);
  const number = reader.unsigned();
  return reader.at === code.length ? number : undefined;
}

const threadOps: readonly number[] = [locationOp.formTlsAddress, locationOp.gnuPushTlsAddress];
const entryOps: readonly number[] = [locationOp.entryValue, locationOp.gnuEntryValue];

/** The same expression with the numbers that registers held at the entry; undefined when one is not known. */
async function withEntryValues(code: Uint8Array, frame: VariableFrame): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < code.length; ) {
    const next = at + lengthOf(code, at);
    if (entryOps.includes(code[at]!)) {
      const inner = new LebReader(code, at + 1);
      const length = inner.unsigned();
      const register = registerOf(code.subarray(inner.at, inner.at + length));
      const value = register === undefined ? undefined : await frame.entry?.(register);
      if (value === undefined) return undefined;
      parts.push(Uint8Array.of(locationOp.const8u), bytesOf(value, 8));
    } else parts.push(code.subarray(at, next));
    at = next;
  }
  return Buffer.concat(parts);
}

function holds(code: Uint8Array, operations: readonly number[]): boolean {
  for (let at = 0; at < code.length; ) {
    if (operations.includes(code[at]!)) return true;
    at += lengthOf(code, at);
  }
  return false;
}

interface Piece {
  readonly code: Uint8Array;
  /** Bytes; undefined for an expression that is no piece. */
  readonly size: number | undefined;
  readonly isBits: boolean;
}

function splitPieces(block: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (let at = 0; at < block.length && pieces.length < mostPieces; ) {
    const operation = block[at]!;
    const next = at + lengthOf(block, at);
    if (operation === locationOp.piece || operation === locationOp.bitPiece) {
      const size = new LebReader(block, at + 1).unsigned();
      pieces.push({ code: block.subarray(start, at), size, isBits: operation === locationOp.bitPiece });
      start = next;
    }
    at = next;
  }
  if (start < block.length || pieces.length === 0) {
    pieces.push({ code: block.subarray(start), size: undefined, isBits: false });
  }
  return pieces;
}

/** Operands of each operation: a letter for each, as `bytesOfOperand` has it. DWARF 5, 7.7.1. */
const operands: ReadonlyMap<number, string> = new Map([
  [0x03, "8"],
  [0x08, "1"],
  [0x09, "1"],
  [0x0a, "2"],
  [0x0b, "2"],
  [0x0c, "4"],
  [0x0d, "4"],
  [0x0e, "8"],
  [0x0f, "8"],
  [0x10, "u"],
  [0x11, "u"],
  [0x15, "1"],
  [0x23, "u"],
  [0x28, "2"],
  [0x2f, "2"],
  [0x90, "u"],
  [0x91, "u"],
  [0x92, "uu"],
  [0x93, "u"],
  [0x94, "1"],
  [0x95, "1"],
  [0x98, "2"],
  [0x99, "4"],
  [0x9a, "4"],
  [0x9d, "uu"],
  [0x9e, "b"],
  [0xa0, "4u"],
  [0xa1, "u"],
  [0xa2, "u"],
  [0xa3, "b"],
  [0xa4, "ub1"],
  [0xa5, "uu"],
  [0xa6, "1u"],
  [0xa7, "1u"],
  [0xa8, "u"],
  [0xa9, "u"],
  [0xf2, "4u"],
  [0xf3, "b"],
  [0xf5, "uu"],
  [0xf6, "1u"],
  [0xf7, "u"],
  [0xf9, "u"],
  [0xfa, "4"],
  [0xfb, "u"],
  [0xfc, "u"],
  [0xfd, "4u"],
]);

/** Bytes of an operation with its operands; to the end of the code where it is cut. */
function lengthOf(code: Uint8Array, at: number): number {
  const operation = code[at]!;
  const kinds = operation >= 0x70 && operation < 0x90 ? "u" : (operands.get(operation) ?? "");
  const reader = new LebReader(code, at + 1);
  for (const kind of kinds) {
    if (kind === "u") reader.unsigned();
    else if (kind === "b") {
      const length = reader.unsigned();
      reader.at += length;
    } else reader.at += Number(kind);
  }
  return Math.min(reader.at, code.length) - at;
}
