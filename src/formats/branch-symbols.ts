import { slotBits, slots } from "./branch-chunk-model.js";

/** log2 of the words of a symbol in `addresses`. */
export const addressBits = 2;

/**
 * The symbols of one chunk, numbered from 0, with their followers: what both encoder and decoder keep, and
 * reset with each chunk. Arrays grow by doubling (and are then replaced), up to the chunk's number of records.
 */
export class BranchSymbols {
  count = 0;
  private capacity = 1 << 10;
  /** from low, from high, to low, to high. */
  addresses = new Uint32Array(this.capacity << addressBits);
  /** The same bytes: from, to. */
  wideAddresses = new BigUint64Array(this.addresses.buffer);
  kind = new Uint8Array(this.capacity);
  icountStep = new Float64Array(this.capacity);
  brctrGap = new Float64Array(this.capacity);
  /** Followers in slots 0 … used-1. */
  followers = new Int32Array(this.capacity << slotBits);
  /** How often each slot was right. */
  hits = new Int32Array(this.capacity << slotBits);
  used = new Uint8Array(this.capacity);
  /** 1 once a follower was dropped from the last slot. */
  overflowed = new Uint8Array(this.capacity);

  reset(): void {
    this.count = 0;
  }

  /** Makes a symbol without followers and gives its number; its fields are for the caller to fill. */
  add(): number {
    const symbol = this.count++;
    if (symbol >= this.capacity) this.grow();
    this.used[symbol] = 0;
    this.overflowed[symbol] = 0;
    return symbol;
  }

  /** Puts `follower`, which no slot of `symbol` holds, into the next free slot, else into the last one. */
  follow(symbol: number, follower: number): void {
    let slot = this.used[symbol]!;
    if (slot < slots) {
      this.used[symbol] = slot + 1;
    } else {
      slot = slots - 1;
      this.overflowed[symbol] = 1;
    }
    this.followers[(symbol << slotBits) + slot] = follower;
    this.hits[(symbol << slotBits) + slot] = 1;
  }

  private grow(): void {
    this.capacity *= 2;
    this.addresses = enlarged(this.addresses, new Uint32Array(this.capacity << addressBits));
    this.wideAddresses = new BigUint64Array(this.addresses.buffer);
    this.kind = enlarged(this.kind, new Uint8Array(this.capacity));
    this.icountStep = enlarged(this.icountStep, new Float64Array(this.capacity));
    this.brctrGap = enlarged(this.brctrGap, new Float64Array(this.capacity));
    this.followers = enlarged(this.followers, new Int32Array(this.capacity << slotBits));
    this.hits = enlarged(this.hits, new Int32Array(this.capacity << slotBits));
    this.used = enlarged(this.used, new Uint8Array(this.capacity));
    this.overflowed = enlarged(this.overflowed, new Uint8Array(this.capacity));
  }
}

type Table = Uint8Array | Int32Array | Uint32Array | Float64Array;

function enlarged<T extends Table>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
