import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { type Icount, icount } from "../../src/base/units.js";
import type { Manifest } from "../../src/formats/manifest.js";
import { dialect72 } from "../../src/formats/replay-log-dialect.js";
import { encodeLogHeader, ReplayLogEncoder } from "../../src/formats/replay-log-encoder.js";
import { compareReplays, type OpenReplay } from "../../src/replay/verify/verify.js";
import { describeFile } from "../../src/tape/store.js";
import { Tape } from "../../src/tape/tape.js";

/** Simulated replays, whose states are computed: these tests are only about what `verify` concludes. */
const end = 1_000_000;
const witnessAt = 300_000;
const hash = (what: string, at: bigint) => `${what} at ${at}`;
let directory: string;
let tape: Tape;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-verify-"));
  const encoder = new ReplayLogEncoder(dialect72, 1024);
  encoder.add({ kind: "instruction", count: 700_000 });
  encoder.add({ kind: "char-write", result: 1, written: 5 });
  encoder.add({ kind: "instruction", count: 300_000 });
  encoder.add({ kind: "shutdown", cause: "guest-shutdown" });
  encoder.add({ kind: "end" });
  await writeFile(join(directory, "replay.log"), Buffer.concat([encodeLogHeader(), encoder.take()]));
  await writeFile(join(directory, "console.raw"), "hello");
  const stored = { bytes: 1, sha256: "0".repeat(64) };
  const manifest: Manifest = {
    format: "vmtape",
    version: 1,
    id: "8e4b8f3a-8c43-4b1e-9d83-2b0f2c1b8a11",
    created: "2025-01-02T03:04:05.678Z",
    machine: {
      arch: "x86_64",
      memoryMB: 1,
      cpu: "qemu64",
      append: "",
      kernel: stored,
      disks: [],
      network: "none",
      firmware: [],
    },
    qemu: { version: "7.2.22", fullVersion: "7.2.22", path: "/qemu", sha256: stored.sha256 },
    symbols: [],
    witnesses: [
      {
        icount: witnessAt,
        registers: hash("registers", BigInt(witnessAt)),
        memory: hash("memory", BigInt(witnessAt)),
      },
    ],
    end: {
      cause: "power-off",
      icount: end,
      seconds: 1,
      log: { ...(await describeFile(join(directory, "replay.log"))), events: 5 },
      console: await describeFile(join(directory, "console.raw")),
    },
  };
  tape = new Tape(directory, manifest, "complete");
});
afterEach(() => rm(directory, { recursive: true }));

interface Fault {
  /** From here on the memory of every second replay differs from the first's. */
  readonly partsAt?: number;
  /** From here on the registers of both differ from the recording's. */
  readonly wrongFrom?: number;
  /** Dies when it runs beyond this. */
  readonly diesAfter?: number;
  readonly prints?: string;
  readonly shutdown?: string;
}

function opening(fault: Fault = {}): { open: OpenReplay; opened: () => number } {
  let opened = 0;
  const open: OpenReplay = async ({ onConsole }) => {
    const odd = opened++ % 2 === 1;
    let now = 0n;
    const runTo = async (at: Icount) => {
      if (fault.diesAfter !== undefined && at > fault.diesAfter) {
        const seen = BigInt(fault.diesAfter) - (BigInt(fault.diesAfter) % 1000n);
        throw new VmtapeError("diverged", "QEMU ended", { icount: seen, got: "a crash", died: true });
      }
      if (now < 700_000n && at >= 700_000n) onConsole?.(Buffer.from(fault.prints ?? "hello"));
      now = at;
      return { at, why: "break" as const };
    };
    return {
      start: async (until?: Icount) => {
        if (until !== undefined) await runTo(until);
      },
      runTo,
      hashState: async () => ({
        icount: icount(now),
        registers: hash(fault.wrongFrom !== undefined && now >= fault.wrongFrom ? "wrong" : "registers", now),
        memory: hash(odd && fault.partsAt !== undefined && now >= fault.partsAt ? "other" : "memory", now),
      }),
      stop: async () => {},
      shutdownReason: fault.shutdown ?? "guest-shutdown",
      channels: [],
      [Symbol.asyncDispose]: async () => {},
    };
  };
  return { open, opened: () => opened };
}

const compare = (fault?: Fault) => compareReplays(tape, opening(fault).open);

test("equal replays are the recorded run", async () => {
  const { open, opened } = opening();
  const report = await compareReplays(tape, open);
  expect(report).toMatchObject({
    ok: true,
    icount: 1_000_000n,
    cause: "guest-shutdown",
    console: { bytes: 5 },
  });
  expect(report.states.map(({ icount: at, recorded }) => [Number(at), recorded])).toEqual([
    [250_000, false],
    [300_000, true],
    [500_000, false],
    [750_000, false],
    [1_000_000, false],
  ]);
  expect(opened()).toBe(2);
});

test.each([1, 250_001, 432_109, 500_000, 1_000_000])("two replays that part at %i", async (partsAt) => {
  const report = await compare({ partsAt });
  expect(report).toMatchObject({
    ok: false,
    icount: BigInt(partsAt),
    divergence: {
      what: `two replays parted between icount ${partsAt - 1} and ${partsAt}: memory differs`,
      expected: `memory at ${partsAt}`,
      got: `other at ${partsAt}`,
    },
  });
});

test("replays that agree, but not with the recording", async () => {
  expect((await compare({ wrongFrom: 260_000 })).divergence).toEqual({
    icount: 300_000n,
    what: "replay and recording parted between icount 250000 and 300000: registers differ",
    expected: "registers at 300000",
    got: "wrong at 300000",
  });
});

test("replays whose QEMU dies: the very instruction, and the tape's next event", async () => {
  expect((await compare({ diesAfter: 654_321 })).divergence).toEqual({
    icount: 654_321n,
    what: "QEMU ended",
    expected: "event 1 (char-write) at icount 700000",
    got: "a crash",
  });
});

test("another console: where its first other byte was printed", async () => {
  expect((await compare({ prints: "help!" })).divergence).toMatchObject({
    icount: 700_000n,
    what: expect.stringMatching(/differs from byte 3 on$/),
    expected: expect.stringMatching(/^5 bytes, SHA-256 2cf24dba/),
  });
  expect((await compare({ prints: "hello, more" })).ok).toBe(false);
});

test("another end", async () => {
  expect((await compare({ shutdown: "guest-reset" })).divergence).toMatchObject({
    icount: 1_000_000n,
    expected: "guest-shutdown",
    got: "guest-reset",
  });
});

test("progress is told over the whole tape", async () => {
  const totals = new Set<number | undefined>();
  const { open } = opening();
  const reporting: OpenReplay = (hooks) => {
    hooks.onProgress?.({ doing: "replaying", done: 1, total: 2, unit: "instructions" });
    return open(hooks);
  };
  await compareReplays(tape, reporting, { onProgress: ({ total }) => totals.add(total) });
  expect([...totals]).toEqual([1_000_000]);
});
