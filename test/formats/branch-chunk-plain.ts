import type { ChunkHeader } from "../../src/formats/branch-log-layout.js";

/**
 * A second decoder of a chunk's payload, written from docs/FORMATS.md alone: slow, with bigints, strings of bits and
 * maps, and with every number spelled out. The fast one must agree with it.
 */
export function decodePlainly(header: ChunkHeader, payload: Uint8Array): PlainRecord[] {
  const events = new PlainBits(payload.subarray(0, header.eventsBytes));
  const blocks = new PlainBits(payload.subarray(header.eventsBytes));
  const symbols: PlainSymbol[] = [];
  const walk: number[] = [];
  const define = (before: PlainSymbol | undefined) => {
    const short = Number(events.take(2));
    const kind = short < 3 ? [1, 2, 3][short]! : events.take(1) === 0n ? 0 : Number(events.take(4));
    const from = BigInt.asUintN(64, (before?.to ?? 0n) + events.number(4));
    const length = Number(events.take(5));
    const folded = events.below(length === 31 ? Number(events.take(7)) : length);
    const to = BigInt.asUintN(64, from + (folded % 2n === 0n ? folded / 2n : -(folded + 1n) / 2n));
    const step = events.number(2);
    symbols.push({ kind, from, to, step, gap: events.number(0), slots: [], turns: [], choices: [] });
    return symbols.length - 1;
  };
  const addFollower = (before: PlainSymbol, symbol: number) => {
    if (before.slots.length === 4) before.slots.pop();
    else if (before.slots.length === 1) before.turns.push(takeBlock(blocks, undefined));
    else if (before.slots.length === 2) before.choices.push(takeBlock(blocks, undefined));
    before.slots.push(symbol);
  };
  const answer = (its: PlainBlock[], bits: number) => {
    const block = its.at(-1)!;
    const value = Number.parseInt(block.bits.slice(block.used, block.used + bits), 2);
    block.used += bits;
    if (block.used >= 62) its.push(takeBlock(blocks, block));
    return value;
  };
  const answered = ({ slots, turns, choices }: PlainSymbol) => {
    if (slots.length === 1) return slots[0]!;
    if (answer(turns, 1) === 0) return slots[0]!;
    return slots.length === 2 ? slots[1]! : slots[1 + answer(choices, slots.length - 2)]!;
  };
  while (walk.length < header.records) {
    const untilEvent = Number(events.number(0));
    for (let i = 0; i < untilEvent; i++) walk.push(answered(symbols[walk.at(-1)!]!));
    if (walk.length === header.records) break;
    const last = walk.length === 0 ? undefined : symbols[walk.at(-1)!]!;
    const event = events.take(1) === 0n ? "known" : events.take(1) === 0n ? "new" : "repeat";
    if (event === "known") {
      walk.push(
        Number(events.take((symbols.length - 1).toString(2).length - (symbols.length === 1 ? 1 : 0))),
      );
      addFollower(last!, walk.at(-1)!);
    } else if (event === "new") {
      walk.push(define(last));
      if (last) addFollower(last, walk.at(-1)!);
    } else {
      const begin = walk.length - 1 - Number(events.number(4));
      const length = 32 + Number(events.number(6));
      for (let i = 0; i < length; i++) walk.push(walk[begin + i]!);
    }
  }
  let icount = BigInt(header.firstIcount);
  let brctr = BigInt(header.firstBrctr) - 1n;
  return walk.map((symbol) => {
    const { from, to, kind, step, gap } = symbols[symbol]!;
    icount += step;
    brctr += gap + 1n;
    return { from, to, kind, icount, brctr };
  });
}

export interface PlainRecord {
  readonly from: bigint;
  readonly to: bigint;
  readonly kind: number;
  readonly icount: bigint;
  readonly brctr: bigint;
}

interface PlainSymbol {
  readonly from: bigint;
  readonly to: bigint;
  readonly kind: number;
  readonly step: bigint;
  readonly gap: bigint;
  readonly slots: number[];
  readonly turns: PlainBlock[];
  readonly choices: PlainBlock[];
}

interface PlainBlock {
  readonly bits: string;
  used: number;
}

class PlainBits {
  private bits: string;

  constructor(bytes: Uint8Array) {
    this.bits = [...bytes].map((byte) => [...byte.toString(2).padStart(8, "0")].reverse().join("")).join("");
  }

  take(count: number): bigint {
    const taken = this.bits.slice(0, count);
    if (taken.length < count) throw new RangeError("no more bits");
    this.bits = this.bits.slice(count);
    return BigInt(`0b0${[...taken].reverse().join("")}`);
  }

  number(k: number): bigint {
    let zeros = 0;
    while (this.take(1) === 0n) zeros++;
    return zeros === 0 ? this.take(k) : this.below(k + zeros);
  }

  below(length: number): bigint {
    return length === 0 ? 0n : 2n ** BigInt(length - 1) + this.take(length - 1);
  }

  /** One of the codes (written highest bit first) that comes next. */
  code(codes: ReadonlyMap<string, number>): number {
    for (let length = 1; length <= 12; length++) {
      const byte = codes.get(this.bits.slice(0, length));
      if (byte === undefined) continue;
      this.bits = this.bits.slice(length);
      return byte;
    }
    throw new RangeError("no code");
  }
}

const classes = [
  { most: 0, lengths: [1, 5, 8, 10, 11, 11, 11, 11, 11] },
  { most: 5, lengths: [1, 5, 8, 10, 11, 11, 11, 11, 11] },
  { most: 9, lengths: [2, 4, 8, 10, 11, 11, 11, 11, 11] },
  { most: 14, lengths: [3, 4, 7, 9, 12, 12, 12, 12, 12] },
  { most: 21, lengths: [3, 5, 7, 8, 9, 11, 11, 11, 11] },
  { most: 32, lengths: [5, 7, 7, 8, 8, 9, 9, 9, 9] },
].map(({ most, lengths }) => ({ most, codes: canonicalCodes(lengths) }));

function ones(bits: string): number {
  return bits.replaceAll("0", "").length;
}

function canonicalCodes(lengths: readonly number[]): ReadonlyMap<string, number> {
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    byte,
    length: lengths[ones(byte.toString(2))]!,
  }));
  bytes.sort((a, b) => a.length - b.length || a.byte - b.byte);
  const codes = new Map<string, number>();
  let next = 0;
  let before = bytes[0]!.length;
  for (const { byte, length } of bytes) {
    next *= 2 ** (length - before);
    before = length;
    codes.set((next++).toString(2).padStart(length, "0"), byte);
  }
  return codes;
}

function takeBlock(source: PlainBits, before: PlainBlock | undefined): PlainBlock {
  const count = before ? ones(before.bits) : 0;
  const few = Math.min(count, 64 - count);
  const number = classes.findIndex(({ most }) => few <= most);
  let bits = "";
  if (number === 0 && source.take(1) === 0n) bits = "0".repeat(64);
  while (bits.length < 64) bits += source.code(classes[number]!.codes).toString(2).padStart(8, "0");
  if (count > 32) bits = [...bits].map((bit) => (bit === "0" ? "1" : "0")).join("");
  return { bits, used: 0 };
}
