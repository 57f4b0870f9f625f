import type { GuestMemory } from "../../base/guest-memory.js";
import { type AddressKey } from "../../symbols/tables/address.js";
/**
 * Guest memory at one instant as an unwinder reads it: at once, or not at all. A page that has not been fetched is noted
 * in `missing`; whoever unwinds fetches it and takes the same step again. So the hot path has no promises.
 */
export declare class StackMemory {
  /** Low and high half of the word that `load` read last. */
  low: number;
  high: number;
  /** Number of the page that was wanted and is not here yet. */
  missing: number | undefined;
  readonly guest: GuestMemory;
  private readonly pages;
  private lastNumber;
  private lastPage;
  constructor(memory: GuestMemory);
  /** Reads 8 bytes into `low` and `high`; false when they are not mapped, or not here yet. */
  load(key: AddressKey): boolean;
  /** The word read last, as an address key. */
  get key(): AddressKey;
  /** One byte, or -1. */
  byte(key: AddressKey): number;
  /** Fetches the missing page. A page that cannot be read is one that is not mapped. */
  fetch(): Promise<void>;
  private page;
  private loadAcross;
}
