import type { GuestAddress, PhysicalAddress } from "../../base/units.js";
import type { filmDoubts } from "../../formats/film-stream.js";
import type { Position } from "../session/position.js";
import type { Column } from "./column.js";

/** Flags of an instant. */
export const filmFlags = {
  /** No instruction ran here, but an interrupt was delivered; the instant is known from its frame. */
  inferred: 1,
  /** Not all of its registers are known. */
  vague: 2,
  /** A delivery leads from here to the next instant. */
  delivery: 4,
} as const;

/** An instruction as it was executed. */
export interface FilmCode {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** Whether the code segment is one of 16, 32 or 64 bits. */
  readonly width: 16 | 32 | 64;
}

/** The columns of a film: by instant, by change of a register, by access. */
export interface FilmColumns {
  /** Differences from the icount of the first instant. */
  readonly icounts: Column<Uint32Array>;
  readonly brctrs: Column<Uint32Array>;
  readonly pcs: Column<BigUint64Array>;
  /** The number in `code`, from 1 on, of the instruction that runs there; 0 when none does. */
  readonly codes: Column<Uint32Array>;
  readonly code: FilmCode[];
  readonly flags: Column<Uint8Array>;
  /** How many deliveries were made at the instant's icount before it. */
  readonly delivered: Column<Uint16Array>;
  readonly reps: Map<number, bigint>;
  /** Of each word of the `g` block: the instants at which it changed, and its new values. */
  readonly words: readonly { readonly at: Column<Uint32Array>; readonly values: Column<BigUint64Array> }[];
  /** The index of each instant's first access, and at the end the number of all. */
  readonly firstAccess: Column<Uint32Array>;
  readonly addresses: Column<BigUint64Array>;
  readonly physical: Column<BigUint64Array>;
  readonly lengths: Column<Uint16Array>;
  readonly accessFlags: Column<Uint8Array>;
  readonly firstByte: Column<Uint32Array>;
  readonly bytes: Column<Uint8Array>;
}

/** An access of one step to memory, within one page. */
export interface FilmAccess {
  /** The index of the instant before it. */
  readonly index: number;
  readonly address: GuestAddress;
  /** Undefined where it could not be known. */
  readonly physical: PhysicalAddress | undefined;
  readonly length: number;
  readonly write: boolean;
  /** It was to a device, so that `bytes` are not known. */
  readonly device: boolean;
  /** Of a write to RAM: the written bytes. Borrowed. */
  readonly bytes: Uint8Array | undefined;
}

/** An instant from which on memory may have been written by something other than instructions, and why. */
export interface FilmDoubt {
  readonly index: number;
  readonly why: (typeof filmDoubts)[number] | "event";
  readonly address: bigint;
}

/** A `g` block, and the words in which it differs from the block before. */
export interface WalkedRegisters {
  readonly block: Uint8Array;
  readonly changed: readonly number[];
}

/** One instruction or delivery that changed a register. */
export interface RegisterStep {
  /** The instant before it. */
  readonly position: Position;
  readonly kind: "instruction" | "delivery";
  /** As they lie in the `g` block: little-endian. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}
