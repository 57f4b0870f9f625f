import type { GuestAddress, PhysicalAddress } from "../../base/units.js";
import type { filmDoubts } from "../../formats/film-stream.js";
import type { Position } from "../session/position.js";
import type { Column } from "./column.js";

/** What is known of an instant beside its position. */
export const filmFlags = {
  /** No instruction ran here: an interrupt came, and its frame tells. */
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
  /** Bits of the code segment. */
  readonly width: 16 | 32 | 64;
}

/** Columns of a film: of each instant, of each change of a register, of each access. */
export interface FilmColumns {
  /** Differences from the first instant's. */
  readonly icounts: Column<Uint32Array>;
  readonly brctrs: Column<Uint32Array>;
  readonly pcs: Column<BigUint64Array>;
  /** The instruction that runs there, by its number in `code`, from 1 on; 0 where none does. */
  readonly codes: Column<Uint32Array>;
  readonly code: FilmCode[];
  readonly flags: Column<Uint8Array>;
  /** Deliveries made at its icount before it. */
  readonly delivered: Column<Uint16Array>;
  readonly reps: Map<number, bigint>;
  /** Words of the `g` block: the instants at which each changed, and to what. */
  readonly words: readonly { readonly at: Column<Uint32Array>; readonly values: Column<BigUint64Array> }[];
  /** Of each instant, and one more. */
  readonly firstAccess: Column<Uint32Array>;
  readonly addresses: Column<BigUint64Array>;
  readonly physical: Column<BigUint64Array>;
  readonly lengths: Column<Uint16Array>;
  readonly accessFlags: Column<Uint8Array>;
  readonly firstByte: Column<Uint32Array>;
  readonly bytes: Column<Uint8Array>;
}

/** A piece of memory that one step touched; it lies in one page. */
export interface FilmAccess {
  /** The instant before it. */
  readonly index: number;
  readonly address: GuestAddress;
  /** Undefined where it could not be known. */
  readonly physical: PhysicalAddress | undefined;
  readonly length: number;
  readonly write: boolean;
  /** No RAM: `bytes` are not known. */
  readonly device: boolean;
  /** Of a write to RAM: the bytes after it. Borrowed. */
  readonly bytes: Uint8Array | undefined;
}

/** Why, and from which instant on, something other than instructions may have written to memory. */
export interface FilmDoubt {
  readonly index: number;
  readonly why: (typeof filmDoubts)[number] | "event";
  readonly address: bigint;
}

/** A `g` block, and which of its words are others than in the block before. */
export interface WalkedRegisters {
  readonly block: Uint8Array;
  readonly changed: readonly number[];
}

/** One instruction or delivery that changed a register. */
export interface RegisterStep {
  /** Before it. */
  readonly position: Position;
  readonly kind: "instruction" | "delivery";
  /** As they lie in the `g` block: little-endian. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}
