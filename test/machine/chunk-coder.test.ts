import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BranchRecord, branchKindCodes } from "../../src/formats/branch.js";
import { BranchChunkEncoder } from "../../src/formats/branch-chunk-encoder.js";
import { chunkHeaderLayout } from "../../src/formats/branch-log-layout.js";
import { anyRecords, batchOf } from "../formats/branch-samples.js";
import { randomNumbers, walkBranches } from "../formats/branch-walk.js";
import { Workbench } from "../workbench.js";

// The plugin's coder, compiled alone, against the encoder in TypeScript: the same bytes.
let bench: Workbench;
let harness: string;
beforeAll(async () => {
  bench = await Workbench.make();
  harness = join(bench.directory, "harness");
  const source = fileURLToPath(new URL("../formats/chunk-harness.c", import.meta.url));
  const plugin = fileURLToPath(new URL("../../plugin/", import.meta.url));
  const checks = "-fsanitize=undefined,address";
  execFileSync("cc", [
    "-O2",
    "-Wall",
    "-Werror",
    checks,
    "-DQEMU_PLUGIN_API=1",
    `-I${plugin}`,
    source,
    `${plugin}branches/chunk-coder.c`,
    `${plugin}common/fail.c`,
    "-o",
    harness,
  ]);
});
afterAll(() => bench[Symbol.asyncDispose]());

/** What the harness reads: symbols by their first appearance, and the walk over them. */
function walkOf(records: readonly BranchRecord[]): Buffer {
  const numbers = new Map<string, number>();
  const symbols: Buffer[] = [];
  const walk = Buffer.alloc(4 * records.length);
  records.forEach(({ from, to, kind, icount, brctr }, i) => {
    const before = records[i - 1];
    const step = before ? icount! - before.icount! : 0n;
    const gap = before ? brctr - before.brctr - 1n : 0n;
    const key = [from, to, kind, step, gap].join();
    if (!numbers.has(key)) {
      numbers.set(key, numbers.size);
      const symbol = Buffer.alloc(36);
      [from, to, step, gap].forEach((value, place) => {
        symbol.writeBigUInt64LE(value, 8 * place);
      });
      symbol.writeUInt32LE(branchKindCodes[kind], 32);
      symbols.push(symbol);
    }
    walk.writeUInt32LE(numbers.get(key)!, 4 * i);
  });
  const counts = Buffer.alloc(8);
  counts.writeUInt32LE(records.length, 0);
  counts.writeUInt32LE(symbols.length, 4);
  return Buffer.concat([counts, ...symbols, walk]);
}

/** Payloads of chunks of these records, one chunk each. */
function inC(samples: readonly (readonly BranchRecord[])[]): Buffer[] {
  const output = execFileSync(harness, { input: Buffer.concat(samples.map(walkOf)), maxBuffer: 2 ** 28 });
  const payloads: Buffer[] = [];
  for (let at = 0; at < output.length; ) {
    const length = output.readUInt32LE(at) + output.readUInt32LE(at + 4);
    payloads.push(output.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return payloads;
}

function inTypeScript(records: readonly BranchRecord[]): Uint8Array {
  const encoder = new BranchChunkEncoder(22);
  const batch = batchOf(records);
  expect(encoder.add(batch)).toBe(records.length);
  return encoder.finish()!.bytes.subarray(chunkHeaderLayout.size);
}

function expectTheSame(samples: readonly (readonly BranchRecord[])[]): void {
  const payloads = inC(samples);
  expect(payloads).toHaveLength(samples.length);
  samples.forEach((records, i) => {
    expect(Buffer.compare(inTypeScript(records), payloads[i]!), `sample ${i}`).toBe(0);
  });
}

test("any records are the same bytes", () => {
  expectTheSame(fc.sample(anyRecords, 300));
});

test("long walks are the same bytes, with repeats of all lengths", () => {
  const random = randomNumbers(11);
  const samples = [1, 2, 3].map((seed) => walkBranches(seed, 60_000, { functions: 10 * seed }));
  const pieces = walkBranches(4, 3000);
  const again: BranchRecord[] = [];
  let place = 0;
  while (again.length < 100_000) {
    const start = random(2000);
    for (const { from, to, kind } of pieces.slice(start, start + 1 + random(900))) {
      again.push({ from, to, kind, brctr: BigInt(place) as never, icount: BigInt(5 * place++) as never });
    }
  }
  expectTheSame([...samples, again]);
});
