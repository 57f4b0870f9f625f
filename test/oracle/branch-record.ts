/**
 * A branch as the oracle defines it, after docs/FORMATS.md:
 *
 * A record is a transfer of control from one instruction to the next executed one. `from` is the address of the
 * instruction that transferred; for an interrupt the address that would have run next; for an exception the address
 * of the instruction that raised it. All addresses are linear.
 */
export interface BranchRecord {
  readonly from: bigint;
  readonly to: bigint;
  readonly kind: BranchKind;
  /** Instructions executed at the instant between the transfer and the instruction at `to`. */
  readonly icount: number;
}

export const branchKinds = [
  "jump",
  "conditional",
  "call",
  "return",
  "indirect-jump",
  "indirect-call",
  "syscall",
  "sysreturn",
  "interrupt",
  "exception",
  "iret",
  "far",
] as const;
export type BranchKind = (typeof branchKinds)[number];

/** `from -> to kind`, addresses in hexadecimal. */
export function showRecord(record: BranchRecord): string {
  return `${record.from.toString(16)} -> ${record.to.toString(16)} ${record.kind} @${record.icount}`;
}
