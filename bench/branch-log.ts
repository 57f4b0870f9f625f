/**
 * Branch logs: bytes a branch, decoding into typed arrays, entering at random places, encoding, following calls.
 *
 *     npx rolldown bench/branch-log.ts --platform node --transform.target node20 -o dist/bench/branch-log.js
 *     node dist/bench/branch-log.js [--records N] [LOG]
 *
 * Without a LOG (`vmtape trace NAME --all -o LOG`) it makes one of N (5e8) records from walks through a made-up
 * program, the same bytes each time. Ratios are to the original's 24-byte records. Rates are of one core, by the
 * processor's time, since the machine may be shared.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BranchBatch } from "../src/formats/branch.js";
import { BranchChunkEncoder } from "../src/formats/branch-chunk-encoder.js";
import { chunkRecords } from "../src/formats/branch-chunk-model.js";
import { encodeChunkHeader } from "../src/formats/branch-log-layout.js";
import { btsLayout } from "../src/formats/bts.js";
import { BranchLog } from "../src/trace/branch-log.js";
import { BranchLogWriter } from "../src/trace/branch-log-writer.js";
import { CallTracker } from "../src/trace/calls.js";
import { batchOf } from "../test/formats/branch-samples.js";
import { randomNumbers, walkBranches } from "../test/formats/branch-walk.js";

const entries = 60;

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function say(what: string, value: string): void {
  console.log(`${what.padEnd(44)}${value}`);
}

/** A long log from a few chunks: a chunk's payload does not depend on where it stands. */
async function makeLog(path: string, records: number): Promise<void> {
  const encoder = new BranchChunkEncoder();
  const chunks = Array.from({ length: 8 }, (_, seed) => {
    encoder.add(batchOf(walkBranches(seed + 1, chunkRecords, { functions: 200 })));
    return encoder.finish()!;
  });
  await using writer = await BranchLogWriter.create(path, { startBrctr: 0, startIcount: 0 });
  let icount = 0;
  for (let first = 0, number = 0; first < records; first += chunkRecords, number++) {
    const { header, bytes } = chunks[number % chunks.length]!;
    const lastIcount = icount + header.lastIcount - header.firstIcount;
    const placed = {
      ...header,
      firstBrctr: first,
      lastBrctr: first + chunkRecords - 1,
      firstIcount: icount,
      lastIcount,
    };
    bytes.set(encodeChunkHeader(placed));
    await writer.addChunk(bytes);
    icount = lastIcount + 1;
  }
  await writer.finish();
}

async function decodeAll(path: string): Promise<void> {
  await using log = await BranchLog.open(path);
  const batch = new BranchBatch();
  const wall = performance.now();
  const before = processorSeconds();
  let records = 0;
  let peak = 0;
  while ((await log.read(batch)) > 0) {
    records += batch.length;
    if (records % (1 << 24) < batch.length) peak = Math.max(peak, process.memoryUsage.rss());
  }
  const seconds = processorSeconds() - before;
  const elapsed = (performance.now() - wall) / 1000;
  const { bytes } = log.info;
  say("records", records.toLocaleString("en-US"));
  say("bytes a branch, on disk", (bytes / records).toFixed(4));
  say("smaller than 24-byte records", `${((btsLayout.size * records) / bytes).toFixed(0)} ×`);
  if (records !== log.info.records) throw new Error(`${records} records, not ${log.info.records}`);
  say("decoded into (from, to, kind, icount)", `${(records / seconds / 1e6).toFixed(1)} M branches/s`);
  say("the same by the clock", `${(records / elapsed / 1e6).toFixed(1)} M branches/s`);
  say("memory while decoding", `${(Math.max(peak, process.memoryUsage.rss()) / 2 ** 20).toFixed(0)} MiB`);
}

async function enterAtRandom(path: string): Promise<void> {
  const random = randomNumbers(7);
  const batch = new BranchBatch(1);
  const times: number[] = [];
  for (let i = 0; i < entries; i++) {
    const start = performance.now();
    await using log = await BranchLog.open(path);
    const place = Number(log.info.start.brctr) + random(log.info.records);
    await log.readAt(place, batch);
    times.push(performance.now() - start);
    if (batch.first !== place) throw new Error(`entered at ${batch.first}, not ${place}`);
  }
  const sorted = times.slice(1).sort((a, b) => a - b);
  const [median, worst] = [sorted[sorted.length >> 1]!, sorted.at(-1)!];
  say("opened and entered at a random brctr: first", `${times[0]!.toFixed(1)} ms`);
  say(`  median, worst of ${entries - 1} more`, `${median.toFixed(1)} ms, ${worst.toFixed(1)} ms`);
}

async function encodeAndFollow(path: string): Promise<void> {
  await using log = await BranchLog.open(path);
  const encoder = new BranchChunkEncoder();
  const tracker = new CallTracker(() => {});
  let [encoding, following, records] = [0, 0, 0];
  for await (const batch of log.batches({
    from: log.info.start.brctr,
    to: log.info.start.brctr + 30_000_000n,
  })) {
    let before = processorSeconds();
    for (let at = 0; at < batch.length; ) {
      at = encoder.add(batch, at);
      if (at < batch.length) encoder.finish();
    }
    encoding += processorSeconds() - before;
    before = processorSeconds();
    tracker.feed(batch);
    following += processorSeconds() - before;
    records += batch.length;
  }
  say("encoded by the reference encoder", `${(records / encoding / 1e6).toFixed(1)} M branches/s`);
  say("calls followed, without names", `${(records / following / 1e6).toFixed(1)} M branches/s`);
}

const [option, value, ...rest] = process.argv.slice(2);
const wanted = option === "--records" ? Number(value) : 5e8;
const given = option === "--records" ? rest[0] : option;
const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));
try {
  const path = given ?? join(directory, "walk.branches");
  if (given === undefined) await makeLog(path, wanted);
  await enterAtRandom(path);
  await decodeAll(path);
  await encodeAndFollow(path);
} finally {
  await rm(directory, { recursive: true });
}
