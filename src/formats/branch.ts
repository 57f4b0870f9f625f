import { type Brctr, brctr, type Icount, icount } from "../base/units.js";

/**
 * A branch record is (from, to, kind): `from` is the address of the instruction that transferred, or that was
 * interrupted or faulted; `to` is the next instruction executed. docs/FORMATS.md, "Branch log", says what is a
 * branch and what is not; a record's index since the tape began is its brctr.
 */

/** Every kind; its place here is its code in files and in `BranchBatch.kind`. */
export const branchKinds = [
  /** Unconditional and direct. */
  "jump",
  /** A conditional one that was taken. */
  "conditional",
  /** Direct call. */
  "call",
  "return",
  /** Jump to an address from a register or memory. */
  "indirect-jump",
  /** Call of an address from a register or memory. */
  "indirect-call",
  /** `syscall`, `sysenter`. */
  "syscall",
  /** `sysret`, `sysexit`. */
  "sysreturn",
  /** Delivered between two instructions: `from` is the one that would have run next. */
  "interrupt",
  /** A fault, a trap or a software interrupt: `from` is its instruction. */
  "exception",
  "iret",
  /** Far jump, call and return, and what else loads a code segment. */
  "far",
  /** Not told by the file it comes from (BTS). */
  "unknown",
] as const;

export type BranchKind = (typeof branchKinds)[number];

/** Code of each kind. */
export const branchKindCodes = Object.fromEntries(branchKinds.map((kind, code) => [kind, code])) as Readonly<
  Record<BranchKind, number>
>;

/** The name of a kind's code; `unknown` for any that is none. */
export function branchKindName(code: number): BranchKind {
  return branchKinds[code] ?? "unknown";
}

/** Is it one that comes between instructions or instead of one, so that its icount is that of the instant before it? */
export function isDelivery(kind: number): boolean {
  return kind === branchKindCodes.interrupt || kind === branchKindCodes.exception;
}

/** Records of a batch when nothing else is asked: 25 bytes each. */
export const defaultBatchSize = 1 << 16;

/**
 * A run of branch records as a structure of arrays, filled by a reader and valid until its next read. Addresses
 * are 64-bit; `fromWords` and `toWords` are the same bytes as pairs of u32, low word first, for loops that must
 * not make bigints.
 */
export class BranchBatch {
  /** Records in it; entries at and past it are stale. */
  length = 0;
  /** brctr of the first record, below 2^53. */
  first = 0;
  readonly from: BigUint64Array;
  readonly to: BigUint64Array;
  readonly fromWords: Uint32Array;
  readonly toWords: Uint32Array;
  /** Codes of `branchKinds`. */
  readonly kind: Uint8Array;
  /** Instructions executed at the instant just after the transfer (exact, below 2^53); NaN where not known. */
  readonly icount: Float64Array;
  /** brctr of each record; filled only when `sparse`, else it is `first` and counting. */
  readonly brctr: Float64Array;
  /** Were records left out (a log of user or kernel space only)? */
  sparse = false;

  /** @param capacity the most records it can hold */
  constructor(readonly capacity = defaultBatchSize) {
    this.fromWords = new Uint32Array(2 * capacity);
    this.toWords = new Uint32Array(2 * capacity);
    this.from = new BigUint64Array(this.fromWords.buffer);
    this.to = new BigUint64Array(this.toWords.buffer);
    this.kind = new Uint8Array(capacity);
    this.icount = new Float64Array(capacity);
    this.brctr = new Float64Array(capacity);
  }

  /** brctr of record `index` as a number. */
  brctrAt(index: number): number {
    return this.sparse ? this.brctr[index]! : this.first + index;
  }

  /** Record `index` as an object: for display and tests, not for loops. */
  record(index: number): BranchRecord {
    if (!(index >= 0 && index < this.length)) throw new RangeError(`no record ${index} of ${this.length}`);
    const executed = this.icount[index]!;
    return {
      brctr: brctr(this.brctrAt(index)),
      from: this.from[index]!,
      to: this.to[index]!,
      kind: branchKindName(this.kind[index]!),
      icount: Number.isNaN(executed) ? undefined : icount(executed),
    };
  }

  /** Appends one record (for tests and small inputs). */
  push(record: {
    readonly from: bigint;
    readonly to: bigint;
    readonly kind: BranchKind;
    readonly icount?: number | bigint | undefined;
    readonly brctr?: number | bigint | undefined;
  }): void {
    const index = this.length;
    if (index >= this.capacity) throw new RangeError(`the batch is full at ${this.capacity} records`);
    const place = record.brctr === undefined ? this.brctrAt(index) : Number(record.brctr);
    if (index === 0) this.first = place;
    if (place !== this.first + index && !this.sparse) {
      for (let i = 0; i < index; i++) this.brctr[i] = this.first + i;
      this.sparse = true;
    }
    this.brctr[index] = place;
    this.from[index] = record.from;
    this.to[index] = record.to;
    this.kind[index] = branchKindCodes[record.kind];
    this.icount[index] = record.icount === undefined ? Number.NaN : Number(record.icount);
    this.length++;
  }

  /** Makes it empty. */
  clear(): void {
    this.length = 0;
    this.first = 0;
    this.sparse = false;
  }
}

/** One branch record by itself. */
export interface BranchRecord {
  readonly brctr: Brctr;
  readonly from: bigint;
  readonly to: bigint;
  readonly kind: BranchKind;
  /** Instructions executed just after the transfer, where known. */
  readonly icount: Icount | undefined;
}
