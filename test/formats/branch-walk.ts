import { brctr, icount } from "../../src/base/units.js";
import type { BranchKind, BranchRecord } from "../../src/formats/branch.js";

/** A small generator of pseudo-random numbers (xorshift32): the same seed gives the same walk everywhere. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The end of a basic block: an instruction of some kind and where it may go. */
interface Block {
  readonly start: bigint;
  readonly last: bigint;
  readonly instructions: number;
  readonly kind: BranchKind;
  readonly targets: readonly number[];
}

/**
 * The records of a walk through a made-up program: functions with loops, calls (direct and not), returns, system
 * calls, and now and then an interrupt. Like real ones they repeat themselves, but not quite.
 */
export function walkBranches(
  seed: number,
  count: number,
  options: { readonly functions?: number; readonly brctr?: number; readonly icount?: number } = {},
): BranchRecord[] {
  const random = randomNumbers(seed);
  const functions = options.functions ?? 12;
  const perFunction = 6;
  const blocks: Block[] = [];
  for (let number = 0; number < functions * perFunction; number++) {
    const home = number - (number % perFunction);
    const user = home / perFunction < functions / 3;
    const base = user ? 0x0000_5555_5555_4000n : 0xffff_ffff_8100_0000n;
    const start = base + BigInt(number * 64);
    const instructions = 1 + random(12);
    const within = () => home + random(perFunction);
    const entry = () => random(functions) * perFunction;
    const last = number === home + perFunction - 1;
    const choice = last ? 9 : random(9);
    const common = { start, last: start + BigInt(4 * (instructions - 1)), instructions };
    if (choice === 9) blocks.push({ ...common, kind: "return", targets: [] });
    else if (choice < 4) blocks.push({ ...common, kind: "conditional", targets: [number + 1, within()] });
    else if (choice === 4) blocks.push({ ...common, kind: "jump", targets: [home + perFunction - 1] });
    else if (choice === 5)
      blocks.push({ ...common, kind: "indirect-jump", targets: [within(), within(), within()] });
    else if (choice === 6) {
      const targets = [entry(), entry(), entry(), entry(), entry(), entry()];
      blocks.push({ ...common, kind: "indirect-call", targets });
    } else blocks.push({ ...common, kind: "call", targets: [entry()] });
  }
  const records: BranchRecord[] = [];
  const stack: { readonly block: number; readonly address: bigint }[] = [];
  let at = 0;
  let executed = options.icount ?? 0;
  let place = options.brctr ?? 0;
  const put = (from: bigint, to: bigint, kind: BranchKind) =>
    records.push({ from, to, kind, brctr: brctr(place++), icount: icount(executed) });
  while (records.length < count) {
    const block = blocks[at]!;
    if (random(500) === 0) {
      const handler = 0xffff_ffff_81c0_0000n + BigInt(16 * random(3));
      const skipped = random(block.instructions);
      const where = block.start + BigInt(4 * skipped);
      executed += skipped;
      put(where, handler, random(2) === 0 ? "interrupt" : "exception");
      executed += 20 + random(3);
      put(handler + 64n, where, "iret");
      executed += block.instructions - skipped;
    } else {
      executed += block.instructions;
    }
    if (block.kind === "return") {
      const back = stack.pop();
      at = back?.block ?? 0;
      put(block.last, back?.address ?? blocks[0]!.start, "return");
    } else if (block.kind === "conditional" && random(3) === 0) {
      at = block.targets[0]!;
    } else {
      const target = block.targets[block.kind === "conditional" ? 1 : random(block.targets.length)]!;
      if (block.kind === "call" || block.kind === "indirect-call") {
        if (stack.length > 40) {
          at = at + 1;
          continue;
        }
        stack.push({ block: at + 1, address: block.last + 4n });
      }
      put(block.last, blocks[target]!.start, block.kind);
      at = target;
    }
  }
  return records.slice(0, count);
}
