import { basename } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { big, costs } from "./costs.js";

/** The cost that is assumed for a file that was not measured: a small one. */
const unknownCost = 3;

function nameOf(spec: TestSpecification): string {
  return spec.project.name === "machine" ? basename(spec.moduleId, ".test.ts") : "";
}

function costOf(spec: TestSpecification): number {
  return costs[nameOf(spec)] ?? unknownCost;
}

/**
 * The order in which files are handed to the workers: files that boot Linux in one lane, all others in another, each
 * lane with its longest first. The lanes are merged by the time at which each file would begin. Files of the fast
 * project come last in their lane, to fill gaps. When one lane is empty, both workers take the rest of the other.
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

/** Gives Vitest the order of files, and its shards, by the files' costs. */
export default class Lanes extends BaseSequencer {
  /**
   * Every shard gets an equal part of the work: the files, the most expensive first, are each given to the shard with
   * the least work so far.
   */
  override async shard(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { index, count } = this.ctx.config.shard!;
    return dealt(files, count, costOf, (file) => `${file.project.name} ${file.moduleId}`)[index - 1]!;
  }

  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return inLanes(files, costOf, (file) => big.has(nameOf(file)));
  }
}

/** Distributes files over `count` shards, always in the same way, whatever their order. */
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
