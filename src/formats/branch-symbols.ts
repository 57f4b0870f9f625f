import { slots } from "./branch-chunk-model.js";

/** log2 of the words of a symbol in `addresses`. */
export const addressBits = 2;

/** log2 of the words of a symbol in `nodes`. */
export const nodeBits = 4;
/**
 * A symbol's words in `nodes`: symbols in its slots, how many are used, the open blocks of its two questions, and
 * what came after it when it was last added (encoder).
 */
export const nodeLayout = { followers: 0, used: slots, turn: 5, choice: 9, guess: 13 } as const;
/**
 * A block's words from `nodeLayout.turn` or `.choice` on: its answers in two words, the first one highest; how many
 * of its places are passed; and its class (decoder) or number (encoder).
 */
export const blockLayout = { first: 0, second: 1, passed: 2, kind: 3 } as const;

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
  nodes = new Int32Array(this.capacity << nodeBits);

  reset(): void {
    this.count = 0;
  }

  /** Makes a symbol without followers and gives its number; its fields are for the caller to fill. */
  add(): number {
    const symbol = this.count++;
    if (symbol >= this.capacity) this.grow();
    this.nodes.fill(0, symbol << nodeBits, (symbol + 1) << nodeBits);
    return symbol;
  }

  /**
   * Puts `follower`, which no slot of `symbol` holds, into the next free slot, else into the last one.
   *
   * @returns the question that is asked from now on: where its block is in `nodes`; 0 if none is new
   */
  follow(symbol: number, follower: number): number {
    const { nodes } = this;
    const node = symbol << nodeBits;
    const used = nodes[node + nodeLayout.used]!;
    nodes[node + Math.min(used, slots - 1)] = follower;
    if (used === slots) return 0;
    nodes[node + nodeLayout.used] = used + 1;
    if (used === 1) return node + nodeLayout.turn;
    return used === 2 ? node + nodeLayout.choice : 0;
  }

  private grow(): void {
    this.capacity *= 2;
    this.addresses = enlarged(this.addresses, new Uint32Array(this.capacity << addressBits));
    this.wideAddresses = new BigUint64Array(this.addresses.buffer);
    this.kind = enlarged(this.kind, new Uint8Array(this.capacity));
    this.icountStep = enlarged(this.icountStep, new Float64Array(this.capacity));
    this.brctrGap = enlarged(this.brctrGap, new Float64Array(this.capacity));
    this.nodes = enlarged(this.nodes, new Int32Array(this.capacity << nodeBits));
  }
}

type Table = Uint8Array | Int32Array | Uint32Array | Float64Array;

function enlarged<T extends Table>(from: T, to: T): T {
  to.set(from as never);
  return to;
}
