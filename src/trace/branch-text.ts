import { printable } from "../base/printable.js";
import { type BranchBatch, branchKindName } from "../formats/branch.js";

/** How addresses and records are written. */
export interface BranchTextOptions {
  /** An address with its name, as `formatAddress` gives it; without it, `0x` and at least eight digits. */
  readonly write?: ((address: bigint) => string) | undefined;
  /** The number of a record: its brctr in twelve digits, or plain. */
  readonly wideNumbers: boolean;
  /** Kind and icount behind the addresses, where known. */
  readonly details: boolean;
}

/** The most distinct addresses whose text is kept. */
const mostKept = 1 << 17;

/**
 * Writes branch records as the original's `bts_dump` did: `N: 0x… -> 0x…`, N the brctr in twelve digits or a plain
 * index. Texts of addresses are kept, since a trace has few different ones: about 2 M lines a second.
 */
export class BranchText {
  private readonly known = new Map<bigint, string>();
  private readonly write: (address: bigint) => string;

  constructor(private readonly options: BranchTextOptions) {
    this.write = options.write ?? plainAddress;
  }

  /** Lines of a batch's records, each with its line end. */
  lines(batch: BranchBatch): string {
    const { wideNumbers, details } = this.options;
    let text = "";
    for (let i = 0; i < batch.length; i++) {
      const place = String(batch.brctrAt(i));
      const number = wideNumbers ? place.padStart(12, "0") : place;
      text += `${number}: ${this.address(batch.from[i]!)} -> ${this.address(batch.to[i]!)}`;
      if (details) {
        text += `  ${branchKindName(batch.kind[i]!)}`;
        const executed = batch.icount[i]!;
        if (!Number.isNaN(executed)) text += ` @${executed}`;
      }
      text += "\n";
    }
    return text;
  }

  /** An address as the options say. */
  address(address: bigint): string {
    const known = this.known.get(address);
    if (known !== undefined) return known;
    if (this.known.size >= mostKept) this.known.clear();
    const text = printable(this.write(address)); // a name is what a file says, and a line is a record
    this.known.set(address, text);
    return text;
  }
}

/** `0x` and at least eight digits. */
export function plainAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(8, "0")}`;
}
