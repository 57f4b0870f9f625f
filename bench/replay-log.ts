/**
 * The replay-log reader against a plain reader in Python (`bench/replay-log.py`) on the same file in the same
 * run: MB/s, events/s, their ratio, peak memory.
 *
 *     npx rolldown bench/replay-log.ts --platform node -o dist/bench/replay-log.js
 *     node dist/bench/replay-log.js [--megabytes N] [LOG]…
 *
 * Without a LOG it makes a file of N (220) MB with the encoder: the mix of kinds of a Debian boot, the same
 * bytes each time. Fails when the two readers disagree.
 */
import { execFile } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openFileSource } from "../src/base/byte-source.js";
import { dialect72 } from "../src/formats/replay-log-dialect.js";
import { encodeLogHeader, ReplayLogEncoder } from "../src/formats/replay-log-encoder.js";
import { readEventLists } from "../src/formats/replay-log-reader.js";
import { ReplayLogScanner } from "../src/formats/replay-log-scanner.js";
import { summarizeLog } from "../src/formats/replay-log-summary.js";

const run = promisify(execFile);
/** Each reader reads the file this often at least, and for this long; its best time counts. */
const rounds = 5;
const seconds = 0.5;

interface Reading {
  readonly events: number;
  readonly icount: number;
  readonly seconds: number;
}

/** Writes a log of about `bytes` bytes. A linear congruential generator chooses, so that it is always the same. */
async function writeLog(path: string, bytes: number): Promise<void> {
  const encoder = new ReplayLogEncoder(dialect72, 1 << 20);
  const file = await open(path, "w");
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const packet = Uint8Array.from({ length: 1514 }, (_, index) => index & 0xff);
  let ns = 1_795_364_349_501_118_000n;
  try {
    await file.write(encodeLogHeader());
    let written = 0;
    for (let step = 0; written < bytes; step++) {
      encoder.add({ kind: "instruction", count: random(40) === 0 ? 1 + random(1_000_000) : 10 + random(20) });
      encoder.add({ kind: "checkpoint-clock-warp-account" });
      const what = random(1000);
      if (what < 4) {
        ns += BigInt(random(1_000_000));
        encoder.add({ kind: "checkpoint-clock-host" });
        encoder.add({ kind: "clock-host", ns });
        encoder.add({ kind: "checkpoint-clock-virtual-rt" });
        encoder.add({ kind: "clock-virtual-rt", ns: ns & 0xffffffffffn });
      } else if (what < 12) encoder.add({ kind: "checkpoint-clock-virtual" });
      else if (what < 16) encoder.add({ kind: what & 1 ? "interrupt" : "exception" });
      else if (what < 20) encoder.add({ kind: "char-write", result: 1, written: 1 });
      else if (what === 20) encoder.add({ kind: "async-block", request: BigInt(step) });
      else if (what === 21 && random(4) === 0) {
        const size = 60 + random(1454);
        encoder.add({
          kind: "async-net",
          filter: 0,
          flags: 0,
          data: { size, bytes: packet.subarray(0, size) },
        });
      } else if (what === 22)
        encoder.add({ kind: "random", result: 0, data: { size: 8, bytes: packet.subarray(0, 8) } });
      if (encoder.length < 1 << 19) continue;
      written += encoder.length;
      await file.write(encoder.take());
    }
    encoder.add({ kind: "shutdown", cause: "host-signal" });
    encoder.add({ kind: "end" });
    await file.write(encoder.take());
  } finally {
    await file.close();
  }
}

/** The best of some readings. */
async function best(read: () => Promise<Omit<Reading, "seconds"> & { seconds?: number }>): Promise<Reading> {
  let fastest: Reading | undefined;
  const start = performance.now();
  for (let round = 0; round < rounds || performance.now() - start < seconds * 1000; round++) {
    const begin = performance.now();
    const reading = await read();
    const taken = reading.seconds ?? (performance.now() - begin) / 1000;
    if (!fastest || taken < fastest.seconds) fastest = { ...reading, seconds: taken };
  }
  return fastest!;
}

async function compare(path: string): Promise<void> {
  const source = await openFileSource(path);
  try {
    const megabytes = source.size / 1e6;
    const before = process.memoryUsage.rss() / 1e6;
    const scan = await best(async () => {
      const scanner = await ReplayLogScanner.open(source, dialect72);
      while (await scanner.next());
      const { events, icount, fault } = scanner.ending!;
      if (fault) throw fault;
      return { events, icount };
    });
    const scanPeak = process.resourceUsage().maxRSS / 1e3;
    const summary = await best(async () => {
      const { events, icount } = await summarizeLog(source, dialect72);
      return { events, icount: Number(icount) };
    });
    const objects = await best(async () => {
      let events = 0;
      let icount = 0;
      for await (const list of readEventLists(source, dialect72)) {
        events += list.length;
        icount = Number(list.at(-1)!.icount);
      }
      return { events, icount };
    });
    const peak = process.resourceUsage().maxRSS / 1e3;
    let pythonPeak = 0;
    const python = await best(async () => {
      const { stdout } = await run("python3", ["bench/replay-log.py", path]);
      const [events, icount, , seconds, kilobytes] = stdout.trim().split(" ").map(Number);
      pythonPeak = kilobytes! / 1e3;
      return { events: events!, icount: icount!, seconds: seconds! };
    });
    console.log(`${path}: ${megabytes.toFixed(1)} MB, ${scan.events} events, ${scan.icount} instructions`);
    const line = (name: string, { seconds, events }: Reading, memory: string) =>
      console.log(
        `  ${name.padEnd(22)} ${(megabytes / seconds).toFixed(0).padStart(5)} MB/s ` +
          `${(events / seconds / 1e6).toFixed(1).padStart(6)} M events/s ` +
          `${(python.seconds / seconds).toFixed(1).padStart(6)} x Python  ${memory}`,
      );
    line("scan (typed arrays)", scan, `peak ${scanPeak.toFixed(0)} MB (${before.toFixed(0)} at start)`);
    line("summary", summary, "");
    line("event objects", objects, `peak ${peak.toFixed(0)} MB`);
    line("plain Python", python, `peak ${pythonPeak.toFixed(0)} MB`);
    for (const other of [summary, objects, python]) {
      if (other.events !== scan.events || other.icount !== scan.icount)
        throw new Error("the readers disagree");
    }
  } finally {
    await source[Symbol.asyncDispose]();
  }
}

const words = process.argv.slice(2);
const option = words.indexOf("--megabytes");
const megabytes = option < 0 ? 220 : Number(words.splice(option, 2)[1]);
for (const path of words) await compare(path);
if (words.length === 0) {
  const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));
  try {
    const path = join(directory, "made.log");
    await writeLog(path, megabytes * 1e6);
    await compare(path);
  } finally {
    await rm(directory, { recursive: true });
  }
}
