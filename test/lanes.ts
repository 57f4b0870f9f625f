import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { big, costs } from "./costs.js";

/** A file nobody has measured is a small one. */
const unknownCost = 3;

function nameOf(spec: TestSpecification): string {
  return spec.project.name === "machine" ? basename(spec.moduleId, ".test.ts") : "";
}

function costOf(spec: TestSpecification): number {
  return costs[nameOf(spec)] ?? unknownCost;
}

/**
 * The order in which files are handed to the workers: two lanes, files that boot Linux in one, all others in the other,
 * each with its longest first, merged by when each would begin. Files of the fast project come last in theirs, to
 * fill what is left. A lane that is through is helped by what is left of the other.
 */
export function inLanes<T>(files: readonly T[], cost: (file: T) => number, isBig: (file: T) => boolean): T[] {
  const longestFirst = [...files].sort((a, b) => cost(b) - cost(a));
  const lanes = [longestFirst.filter(isBig), longestFirst.filter((file) => !isBig(file))];
  const busyUntil = [0, 0];
  const order: T[] = [];
  while (order.length < files.length) {
    const free = busyUntil[0]! <= busyUntil[1]! ? 0 : 1;
    const file = (lanes[free]!.length > 0 ? lanes[free]! : lanes[1 - free]!).shift()!;
    busyUntil[free]! += cost(file);
    order.push(file);
  }
  return order;
}

/** Vitest's order of files, and its shards, by what the files cost. */
export default class Lanes extends BaseSequencer {
  /** Every shard gets an equal part of the work: the files, dearest first, are dealt out to whoever has least. */
  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { index, count } = this.ctx.config.shard!;
    return dealt(files, count, costOf, (file) => `${file.project.name} ${file.moduleId}`)[index - 1]!;
  }

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return inLanes(files, costOf, (file) => big.has(nameOf(file)));
  }
}

/** Deals files out to `count` hands, always the same way, whatever order they come in. */
export function dealt<T>(
  files: readonly T[],
  count: number,
  cost: (file: T) => number,
  name: (file: T) => string,
): T[][] {
  const hands = Array.from({ length: count }, () => ({ cost: 0, files: [] as T[] }));
  const order = [...files].sort((a, b) => cost(b) - cost(a) || (name(a) < name(b) ? -1 : 1));
  for (const file of order) {
    const hand = hands.reduce((least, one) => (one.cost < least.cost ? one : least));
    hand.cost += cost(file);
    hand.files.push(file);
  }
  return hands.map(({ files }) => files);
}
