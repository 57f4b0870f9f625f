import type { ChunkHeader } from "../../src/formats/branch-log-layout.js";

/**
 * A second decoder of a chunk's payload, written from docs/FORMATS.md alone: slow, with bigints and maps, and with
 * every number spelled out. The fast one must agree with it.
 */
export function decodePlainly(header: ChunkHeader, payload: Uint8Array): PlainRecord[] {
  const runs = takeRuns(payload.subarray(0, header.runsBytes));
  const coder = new PlainCoder(payload.subarray(header.runsBytes));
  const slotOdds = new Map<number, Odds>();
  const numberOdds = new Map<number, Odds>();
  const freeOdds = new Map<number, Odds>();
  const tree = (set: number, bits: number) => {
    let prefix = 1;
    for (let bit = 0; bit < bits; bit++) prefix = 2 * prefix + coder.decide(freeOdds, set + prefix);
    return prefix - 2 ** bits;
  };
  const number = (set: number) => {
    const length = tree(set, 7);
    if (length === 0) return 0n;
    let value = 1n;
    for (let bit = 1; bit < length; bit++) value = 2n * value + BigInt(coder.decideEven());
    return value;
  };
  const distance = (set: number) => {
    const folded = number(set);
    return folded % 2n === 0n ? folded / 2n : -(folded + 1n) / 2n;
  };
  const symbols: PlainSymbol[] = [];
  const define = (before: PlainSymbol | undefined) => {
    const kind = tree(16, 4);
    const from = BigInt.asUintN(64, (before?.to ?? 0n) + distance(128 + 128 * kind));
    const to = BigInt.asUintN(64, from + distance(128 * 17 + 128 * kind));
    const step = number(128 * 33);
    const gap = number(128 * 34);
    symbols.push({ kind, from, to, step, gap, slots: [], overflowed: false });
    return symbols.length - 1;
  };
  const records: PlainRecord[] = [];
  let history = 0;
  let run = runs.shift()!;
  let last: number | undefined;
  let icount = BigInt(header.firstIcount);
  let brctr = BigInt(header.firstBrctr) - 1n;
  const next = (): number => {
    if (last === undefined) return define(undefined);
    const node = symbols[last]!;
    if (node.slots.length === 1) {
      if (run-- > 0) return node.slots[0]!.symbol;
      run = runs.shift()!;
    }
    if (node.slots.length > 1) {
      for (const [slot, { symbol }] of node.slots.entries()) {
        if (coder.decide(slotOdds, hash(4 * last + slot, history)) === 1) continue;
        history = (2 * history + (slot > 0 ? 1 : 0)) % 4096;
        const hits = ++node.slots[slot]!.hits;
        if (slot > 0 && hits > 2 * node.slots[slot - 1]!.hits + 8) {
          node.slots.splice(slot - 1, 0, node.slots.splice(slot, 1)[0]!);
        }
        return symbol;
      }
      history = (2 * history + 1) % 4096;
    }
    const isNew = coder.decide(freeOdds, node.slots.length === 0 ? 0 : node.overflowed ? 2 : 1);
    let symbol: number;
    if (isNew) {
      symbol = define(node);
    } else {
      const bits = (symbols.length - 1).toString(2).length - (symbols.length === 1 ? 1 : 0);
      let prefix = 1;
      for (let bit = 0; bit < bits; bit++) {
        prefix = 2 * prefix + coder.decide(numberOdds, hash(node.overflowed ? last + 1 : 0, prefix));
      }
      symbol = prefix - 2 ** bits;
    }
    if (node.slots.length === 4) {
      node.overflowed = true;
      node.slots.pop();
    }
    node.slots.push({ symbol, hits: 1 });
    return symbol;
  };
  while (records.length < header.records) {
    last = next();
    const { from, to, kind, step, gap } = symbols[last]!;
    icount += step;
    brctr += gap + 1n;
    records.push({ from, to, kind, icount, brctr });
  }
  return records;
}

export interface PlainRecord {
  readonly from: bigint;
  readonly to: bigint;
  readonly kind: number;
  readonly icount: bigint;
  readonly brctr: bigint;
}

interface PlainSymbol {
  readonly kind: number;
  readonly from: bigint;
  readonly to: bigint;
  readonly step: bigint;
  readonly gap: bigint;
  readonly slots: { symbol: number; hits: number }[];
  overflowed: boolean;
}

interface Odds {
  p: bigint;
  uses: number;
}

class PlainCoder {
  private range = 2n ** 31n - 1n;
  private code: bigint;
  private at = 4;

  constructor(private readonly bytes: Uint8Array) {
    this.code = BigInt(`0x${Buffer.from(bytes.subarray(0, 4)).toString("hex")}`);
  }

  decide(table: Map<number, Odds>, place: number): number {
    const odds = table.get(place) ?? { p: 32768n, uses: 0 };
    table.set(place, odds);
    const shift = odds.uses < 10 ? BigInt(1 + Math.floor(odds.uses / 2)) : 5n;
    const bit = this.split((this.range / 2n ** 15n) * (odds.p / 2n));
    odds.p += bit === 0 ? (65536n - odds.p) / 2n ** shift : -(odds.p / 2n ** shift);
    odds.uses++;
    return bit;
  }

  decideEven(): number {
    return this.split(this.range / 2n);
  }

  private split(bound: bigint): number {
    const bit = this.code < bound ? 0 : 1;
    if (bit === 0) {
      this.range = bound;
    } else {
      this.code -= bound;
      this.range -= bound;
    }
    while (this.range < 2n ** 23n) {
      this.range *= 256n;
      this.code = this.code * 256n + BigInt(this.bytes[this.at++]!);
    }
    return bit;
  }
}

function hash(a: number, b: number): number {
  const mixed = (BigInt(a) * 0x9e3779b1n + BigInt(b) * 0x85ebca6bn) % 2n ** 32n;
  return Number((((mixed ^ (mixed >> 15n)) * 0x2c1b3c6dn) % 2n ** 32n) >> 16n);
}

function takeRuns(bytes: Uint8Array): number[] {
  const runs: number[] = [];
  let value = 0;
  let scale = 1;
  for (const byte of bytes) {
    value += (byte % 128) * scale;
    scale *= 128;
    if (byte >= 128) continue;
    runs.push(value);
    value = 0;
    scale = 1;
  }
  return runs;
}
