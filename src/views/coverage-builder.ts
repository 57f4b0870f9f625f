import { branchKindCodes } from "../formats/branch.js";
import { Coverage } from "./coverage.js";
import { signedOf, type TransferRun, type TransferSymbols } from "./transfers.js";

/**
 * Counts how often each address of code was executed, from records alone: code runs on from where one record goes to, up
 * to where the next one comes from. So an address was executed as often as was arrived at or before it, less what left
 * before it. What is added to in the hot loop is one number a record: 200 M/s.
 *
 * Memory: 40 bytes for each address that is come from or gone to.
 */
export class CoverageBuilder {
  /** By space, the changes of the count: +1 from an address on, by its signed number. */
  private readonly spaces = new Map<number, Map<number, number>>();
  private counts = new Float64Array(1 << 12);
  private space = 0;
  private symbols: TransferSymbols | undefined;
  private isOpen = false;
  /** Where the last record went. */
  private lastTo = Number.NaN;

  /** The address space from the next record on; kernel addresses are the same in all. */
  enter(space: number): void {
    if (space !== this.space) this.fold();
    this.space = space;
  }

  startChunk(): void {
    this.fold();
    this.symbols = undefined;
  }

  /**
   * What follows begins in the middle of code, as at a window's start.
   *
   * @param executed instructions between the last record fed and where it was broken off
   */
  break(executed: number): void {
    this.fold();
    if (this.isOpen) {
      // How far it ran is not known but for its first instruction.
      this.add(this.lastTo, -1);
      if (executed > 0) {
        this.add(this.lastTo, 1);
        this.add(this.lastTo + 1, -1);
      }
    }
    this.isOpen = false;
  }

  feed({ symbols, walk, start, end }: TransferRun): void {
    if (end <= start) return;
    if (symbols.count > this.counts.length) {
      const counts = new Float64Array(2 * symbols.count);
      counts.set(this.counts);
      this.counts = counts;
    }
    this.symbols = symbols;
    const { addresses, kind, icountStep } = symbols;
    if (!this.isOpen) {
      const first = walk[start]!;
      const from = signedOf(addresses[4 * first]!, addresses[4 * first + 1]!);
      // Of what ran before it in this stretch, only its own instruction is known.
      const isDelivered = kind[first] === branchKindCodes.interrupt;
      this.add(from, 1);
      if (icountStep[first] === 0 && !isDelivered && kind[first] !== branchKindCodes.exception) {
        this.add(from, -1);
        this.add(from + 1, 1);
      }
      this.isOpen = true;
    }
    const { counts } = this;
    for (let i = start; i < end; i++) counts[walk[i]!]!++;
    const last = walk[end - 1]!;
    this.lastTo = signedOf(addresses[4 * last + 2]!, addresses[4 * last + 3]!);
  }

  /** @param executed instructions behind the last record */
  finish(executed: number): Coverage {
    this.break(executed);
    return Coverage.of(this.spaces);
  }

  /** Adds what was counted by symbol to the addresses. */
  private fold(): void {
    const { symbols, counts } = this;
    if (!symbols) return;
    const { addresses, kind } = symbols;
    // Symbols may have come since that were never fed.
    const end = Math.min(symbols.count, counts.length);
    for (let symbol = 0; symbol < end; symbol++) {
      const count = counts[symbol]!;
      if (count === 0) continue;
      counts[symbol] = 0;
      const at = 4 * symbol;
      // An interrupt comes before the instruction it names; all else behind it.
      const behind = kind[symbol] === branchKindCodes.interrupt ? 0 : 1;
      this.add(signedOf(addresses[at]!, addresses[at + 1]!) + behind, -count);
      this.add(signedOf(addresses[at + 2]!, addresses[at + 3]!), count);
    }
  }

  private add(address: number, count: number): void {
    const space = address < 0 ? -1 : this.space;
    let changes = this.spaces.get(space);
    if (!changes) {
      changes = new Map();
      this.spaces.set(space, changes);
    }
    changes.set(address, (changes.get(address) ?? 0) + count);
  }
}
