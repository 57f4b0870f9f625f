import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ByteSource, bytesSource, openFileSource } from "../../src/base/byte-source.js";
import { isVmtapeError, VmtapeError } from "../../src/base/errors.js";
import { dialect71, dialect72, dialectFor, dialects } from "../../src/formats/replay-log-dialect.js";
import { ReplayLogEncoder } from "../../src/formats/replay-log-encoder.js";
import type { EventBody, ReplayEvent } from "../../src/formats/replay-log-event.js";
import { type EventKind, eventKinds } from "../../src/formats/replay-log-layout.js";
import {
  guessDialect,
  parseKinds,
  type ReadOptions,
  readReplayLog,
} from "../../src/formats/replay-log-reader.js";
import { ReplayLogScanner } from "../../src/formats/replay-log-scanner.js";
import { goldenLogs } from "./replay-log-golden.js";
import { anyEvent, makeLog, oneOfEach, payload } from "./replay-log-samples.js";

async function read(log: Uint8Array | ByteSource, options: ReadOptions = {}, dialect = dialect72) {
  const events: ReplayEvent[] = [];
  const source = log instanceof Uint8Array ? bytesSource(log, "a.log") : log;
  for await (const event of readReplayLog(source, dialect, options)) events.push(event);
  return events;
}

/** One event's bytes. */
function encodeEvent(event: EventBody, dialect = dialect72): Uint8Array {
  const encoder = new ReplayLogEncoder(dialect);
  encoder.add(event);
  return encoder.take();
}

function bodyOf({ index: _i, offset: _o, length: _l, icount: _c, ...body }: ReplayEvent): EventBody {
  return body as EventBody;
}

async function failure(promise: Promise<unknown>): Promise<VmtapeError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(VmtapeError);
  return error as VmtapeError;
}

describe("the dialects", () => {
  // The numbers of QEMU's enum ReplayEvents, counted by hand from replay-internal.h and run-state.json.
  test.each<[EventKind, number, number]>([
    ["instruction", 0, 0],
    ["async-bh", 3, 3],
    ["async-net", 9, 9],
    ["shutdown", 10, 10],
    ["char-write", 21, 22],
    ["random", 26, 27],
    ["clock-host", 27, 28],
    ["checkpoint-clock-warp-start", 29, 30],
    ["checkpoint-reset", 37, 38],
    ["end", 38, 39],
  ])("%s is byte %i in 7.1 and %i from 7.2 on", (kind, old, current) => {
    expect(dialect71.bytes[kind]).toBe(old);
    expect(dialect72.bytes[kind]).toBe(current);
  });

  test("a QEMU version picks one", () => {
    expect(dialectFor("7.1.0")).toBe(dialect71);
    expect(dialectFor("7.2.22")).toBe(dialect72);
    expect(dialectFor("8.0.0 (v8.0.0-dirty)")).toBe(dialect72);
    expect(dialectFor("10.0.2 (Debian 1:10.0.2+ds-2)")).toBe(dialect72);
    expect(dialectFor("10.2.1")).toBe(dialect72);
  });

  test.each(["7.0.0", "6.2.0", "10.3.0", "11.0.0", "2.5"])("QEMU %s is refused by name", (version) => {
    expect(() => dialectFor(version)).toThrow(/replay log of QEMU .* is not known/);
  });

  test("what is no version is refused", () => {
    expect(() => dialectFor("../etc")).toThrow(/not a QEMU version/);
  });

  test("are told apart by the bytes", async () => {
    const start: EventBody[] = [
      { kind: "clock-host", ns: 1795364349501118000n },
      { kind: "checkpoint-init" },
      { kind: "instruction", count: 100 },
      { kind: "checkpoint-clock-warp-account" },
      { kind: "instruction", count: 4 },
      { kind: "char-write", result: 1, written: 1 },
    ];
    for (const dialect of dialects) {
      expect(await guessDialect(bytesSource(makeLog([...start, { kind: "end" }], dialect)))).toBe(dialect);
      const unfinished = bytesSource(makeLog(start, dialect, 0));
      expect(await guessDialect(unfinished, { unfinished: true })).toBe(dialect);
    }
  });
});

describe("reading", () => {
  test("every kind comes back with its place", async () => {
    const log = makeLog(oneOfEach, dialect72);
    const events = await read(log);
    expect(events.map(bodyOf)).toEqual(oneOfEach);
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(eventKinds));
    let offset = 12;
    let icount = 0n;
    for (const [index, event] of events.entries()) {
      const length = encodeEvent(oneOfEach[index]!, dialect72).length;
      expect(event).toMatchObject({ index, offset, length, icount });
      offset += length;
      if (event.kind === "instruction") icount += BigInt(event.count);
    }
    expect(offset).toBe(log.length);
  });

  test("the bytes of the layout table", () => {
    const bytes = (event: EventBody) => Buffer.from(encodeEvent(event, dialect72)).toString("hex");
    expect(bytes({ kind: "instruction", count: 0x01020304 })).toBe("0001020304");
    expect(bytes({ kind: "async-net", filter: 2, flags: 3, data: payload(0xaa) })).toBe(
      "09020000000300000001aa",
    );
    expect(bytes({ kind: "shutdown", cause: "host-signal" })).toBe("0e");
    expect(bytes({ kind: "char-write", result: -1, written: 2 })).toBe("16ffffffff00000002");
    expect(bytes({ kind: "clock-host", ns: 0x0102030405060708n })).toBe("1c0102030405060708");
    expect(bytes({ kind: "async-input", input: { type: "key", qcode: 5, down: 1 } })).toBe(
      "0500000000000000010000000501",
    );
    expect(bytes({ kind: "end" })).toBe("27");
  });

  test("tiny buffers and batches change nothing", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEvent, { maxLength: 60 }),
        fc.integer({ min: 64, max: 200 }),
        fc.integer({ min: 1, max: 5 }),
        async (bodies, bufferSize, batchSize) => {
          const all = [...bodies, { kind: "end" } as const];
          const log = makeLog(all, dialect71);
          const events = await read(log, { bufferSize, batchSize }, dialect71);
          expect(events.map(bodyOf)).toEqual(all);
          expect(await read(log, {}, dialect71)).toEqual(events);
        },
      ),
    );
  });

  test("filters are what filtering everything gives", async () => {
    const log = makeLog(oneOfEach, dialect72);
    const all = await read(log);
    for (const [from, to] of [
      [0n, 0n],
      [1n, 0x7fffffffn],
      [0x80000000n, 1n << 60n],
      [5n, 4n],
    ] as const) {
      const kinds = new Set<EventKind>(["instruction", "char-write", "end"]);
      expect(await read(log, { from, to, kinds })).toEqual(
        all.filter(({ icount, kind }) => icount >= from && icount <= to && kinds.has(kind)),
      );
    }
    expect([...parseKinds(["end", "clock-host"])]).toEqual(["end", "clock-host"]);
    expect(() => parseKinds(["nonsense"])).toThrow(/"nonsense" is not an event kind/);
    expect(() => parseKinds(["toString"])).toThrow(/not an event kind/);
  });

  test("a payload is kept up to the limit, and longer ones than the buffer are read whole", async () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    const log = makeLog(
      [{ kind: "async-char-read", device: 3, data: { size: 5000, bytes } }, { kind: "end" }],
      dialect72,
    );
    const [whole] = await read(log, { bufferSize: 100 });
    expect(whole).toMatchObject({ device: 3, data: { size: 5000, bytes } });
    const [part] = await read(log, { bufferSize: 100, payloadLimit: 7 });
    expect(part).toMatchObject({ data: { size: 5000, bytes: bytes.slice(0, 7) } });
    const [none] = await read(log, { payloadLimit: 0 });
    expect(none).toMatchObject({ data: { size: 5000, bytes: new Uint8Array(0) } });
  });

  test("stops on abort", async () => {
    const error = await failure(read(makeLog(oneOfEach, dialect72), { signal: AbortSignal.abort() }));
    expect(error.code).toBe("cancelled");
  });

  test.each(goldenLogs)(
    "$name: a real recording, byte for byte",
    async ({ log, events, icount, console }) => {
      const source = bytesSource(log());
      expect(await guessDialect(source)).toBe(dialect72);
      const read_ = await read(source);
      expect(read_.length).toBe(events);
      expect(read_.at(-1)).toMatchObject({ kind: "end", icount });
      const written = read_.reduce(
        (sum, event) => sum + (event.kind === "char-write" ? event.written : 0),
        0,
      );
      expect(written).toBe(console);
      expect(Buffer.compare(makeLog(read_.map(bodyOf), dialect72), log())).toBe(0);
    },
  );
});

describe("damage", () => {
  const whole = makeLog(oneOfEach, dialect72);

  test("a cut at any byte is reported with offset, icount and the last whole event", async () => {
    const events = await read(whole);
    for (let cut = 0; cut < whole.length; cut++) {
      const error = await failure(read(whole.slice(0, cut)));
      expect(error.code).toBe("bad-log");
      if (cut < 12) {
        expect(error.message).toMatch(cut === 0 ? /is empty/ : /too short/);
        continue;
      }
      const before = events.filter((event) => event.offset + event.length <= cut);
      const next = events[before.length]!;
      expect(error.facts).toMatchObject({
        file: "a.log",
        offset: next.offset,
        icount: next.icount,
        lastEvent: before.length - 1,
      });
      expect(error.facts.lastKind).toBe(before.at(-1)?.kind);
    }
  });

  test("whole events before a cut are all given", async () => {
    const seen: string[] = [];
    const cut = bytesSource(whole.slice(0, whole.length - 1));
    await failure(
      (async () => {
        for await (const event of readReplayLog(cut, dialect72)) seen.push(event.kind);
      })(),
    );
    expect(seen).toEqual(oneOfEach.slice(0, -1).map(({ kind }) => kind));
  });

  test("an unfinished log is refused, or read on request up to where it is cut", async () => {
    const log = makeLog(oneOfEach, dialect72, 0).slice(0, -3);
    expect((await failure(read(log))).message).toMatch(/unfinished/);
    expect((await read(log, { unfinished: true })).length).toBe(oneOfEach.length - 3);
  });

  test.each([
    [0xe0200d, /version 0xe0200d, written by a QEMU later than 10.2/],
    [0xe0200b, /version 0xe0200b, written by a QEMU before 7.1/],
    [0x7f454c46, /not a QEMU replay log/],
  ])("version word %i is named and refused", async (version, message) => {
    const error = await failure(read(makeLog(oneOfEach, dialect72, version), { unfinished: true }));
    expect(error).toMatchObject({ code: "bad-log", facts: { expected: "0xe0200c" } });
    expect(error.message).toMatch(message);
  });

  test("an absurd length is a cut: nothing is allocated, nothing read", async () => {
    for (const head of ["0700ffffffff", "090000000000ffffffff", `1a${"ff".repeat(16)}`]) {
      const asked: number[] = [];
      const log = Buffer.concat([makeLog([{ kind: "interrupt" }], dialect72), Buffer.from(head, "hex")]);
      const memory = bytesSource(log, "a.log");
      const source: ByteSource = {
        ...memory,
        read: (offset, into) => {
          asked.push(into.length);
          return memory.read(offset, into);
        },
      };
      const error = await failure(read(source, { bufferSize: 128 }));
      expect(error.facts).toMatchObject({ offset: 13, lastKind: "interrupt" });
      expect(Math.max(...asked)).toBeLessThanOrEqual(128);
    }
  });

  test.each([
    ["an unknown kind", "28", /kind byte 40/],
    ["the reserved shutdown byte", "15", /kind byte 21/],
    ["an empty run", "0000000000", /kind instruction/],
    ["a negative run", "0080000000", /kind instruction/],
    ["an unknown input type", `0500000005${"00".repeat(16)}`, /kind async-input/],
    ["an unknown key value", `050000000000000002${"00".repeat(16)}`, /kind async-input/],
    ["bytes after the end", "2700", /1 bytes follow the end/],
  ])("%s", async (_name, tail, message) => {
    const log = Buffer.concat([
      makeLog([{ kind: "instruction", count: 7 }], dialect72),
      Buffer.from(tail, "hex"),
    ]);
    const error = await failure(read(log));
    expect(error.code).toBe("bad-log");
    expect(error.message).toMatch(message);
    expect(error.facts.icount).toBe(7n);
  });

  test("an instruction count beyond 2^53 is damage, not a wrong number", async () => {
    const scanner = await ReplayLogScanner.open(hugeRuns(2 ** 22 + 10), dialect72, { unfinished: true });
    let previous = -1;
    while (await scanner.next()) {
      const { icounts, count } = scanner.batch;
      expect(icounts[0]!).toBeGreaterThan(previous);
      previous = icounts[count - 1]!;
    }
    expect(scanner.ending?.state).toBe("damaged");
    expect(scanner.ending!.icount).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
  });

  test("any bytes at all give events or one error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (junk) => {
        const log = Buffer.concat([makeLog([], dialect72), junk]);
        for (const dialect of dialects) {
          const error = await read(log, {}, dialect).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          expect(error === undefined || isVmtapeError(error, "bad-log")).toBe(true);
        }
      }),
    );
  });

  /** A simulated file of `runs` longest runs, which takes no memory. */
  function hugeRuns(runs: number): ByteSource {
    const size = 12 + runs * 5;
    const run = [0x00, 0x7f, 0xff, 0xff, 0xff];
    return {
      name: "huge.log",
      size,
      async read(offset, into) {
        const length = Math.max(0, Math.min(into.length, size - offset));
        for (let i = 0; i < length; i++) into[i] = offset + i < 12 ? 0 : run[(offset + i - 12) % 5]!;
        return length;
      },
    };
  }
});

describe("a file as a source", () => {
  test("reads anywhere, and says what is no file", async () => {
    const directory = await mkdtemp(join(tmpdir(), "vmtape-source-"));
    try {
      const path = join(directory, "a.log");
      await writeFile(path, makeLog(oneOfEach, dialect72));
      const source = await openFileSource(path);
      try {
        expect((await read(source)).map(bodyOf)).toEqual(oneOfEach);
        expect(await source.read(source.size, new Uint8Array(4))).toBe(0);
      } finally {
        await source[Symbol.asyncDispose]();
      }
      expect((await failure(openFileSource(directory))).message).toMatch(/is a directory/);
      expect((await failure(openFileSource(join(directory, "none")))).message).toMatch(/does not exist/);
      expect((await failure(openFileSource("/dev/null"))).message).toMatch(/not a regular file/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
