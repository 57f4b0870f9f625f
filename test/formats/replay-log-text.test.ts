import { describe, expect, test } from "vitest";
import { bytesSource } from "../../src/base/byte-source.js";
import { dialect72 } from "../../src/formats/replay-log-dialect.js";
import type { EventBody } from "../../src/formats/replay-log-event.js";
import { readReplayLog } from "../../src/formats/replay-log-reader.js";
import { summarizeLog } from "../../src/formats/replay-log-summary.js";
import { eventToJson, formatEvent } from "../../src/formats/replay-log-text.js";
import { goldenLogs } from "./replay-log-golden.js";
import { makeLog, oneOfEach, payload } from "./replay-log-samples.js";

test("every kind as one line", async () => {
  const lines: string[] = [];
  const source = bytesSource(makeLog(oneOfEach, dialect72));
  for await (const event of readReplayLog(source, dialect72)) lines.push(formatEvent(event));
  expect(`\n${lines.join("\n")}\n`).toBe(`
@0             clock-host                    1795364349501118000 ns, 2026-11-22T16:19:09.501Z
@0             clock-virtual-rt              -1 ns
@0             checkpoint-init
@0             checkpoint-reset
@0             instruction                   2147483647 executed
@2147483647    interrupt
@2147483647    exception
@2147483647    async-bh                      id 18446744073709551615
@2147483647    async-bh-oneshot              id 5
@2147483647    async-input                   key number 30 down
@2147483647    async-input                   key qcode 7 up
@2147483647    async-input                   button 2 down
@2147483647    async-input                   relative axis 0, value -3
@2147483647    async-input                   absolute axis 1, value 32767
@2147483647    async-input                   touch 1, slot 2, tracking id -1, axis 0, value 9
@2147483647    async-input-sync
@2147483647    async-char-read               device 1, 3 bytes: 68 69 0a |hi.|
@2147483647    async-block                   request 12
@2147483647    async-net                     filter 0, flags 4294967294, 5 bytes: 01 02 03 04 05 |.....|
@2147483647    instruction                   1 executed
@2147483648    char-write                    result 1, 1 byte written
@2147483648    char-write                    result -1, 0 bytes written
@2147483648    char-read-all                 0 bytes
@2147483648    char-read-all-error           result -5
@2147483648    audio-out                     441 samples played
@2147483648    audio-in                      position 3, 32 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f… |................…|
@2147483648    random                        result 0, 2 bytes: de ad |..|
@2147483648    checkpoint-clock-warp-start
@2147483648    checkpoint-clock-warp-account
@2147483648    checkpoint-reset-requested
@2147483648    checkpoint-suspend-requested
@2147483648    checkpoint-clock-virtual
@2147483648    checkpoint-clock-host
@2147483648    checkpoint-clock-virtual-rt
@2147483648    instruction                   300 executed
@2147483948    shutdown                      guest-shutdown
@2147483948    shutdown                      host-signal
@2147483948    end
`);
});

test("JSON keeps every number exact and bytes readable", async () => {
  const log = makeLog(
    [
      { kind: "instruction", count: 9 },
      { kind: "clock-host", ns: 1795364349501118000n },
      { kind: "clock-host", ns: -4n },
      { kind: "async-net", filter: 1, flags: 2, data: payload(0xff, 0) },
      { kind: "end" },
    ],
    dialect72,
  );
  const objects: unknown[] = [];
  for await (const event of readReplayLog(bytesSource(log), dialect72)) objects.push(eventToJson(event));
  expect(JSON.parse(JSON.stringify(objects))).toEqual([
    { index: 0, offset: 12, length: 5, icount: 0, kind: "instruction", count: 9 },
    { index: 1, offset: 17, length: 9, icount: 9, kind: "clock-host", ns: "1795364349501118000" },
    { index: 2, offset: 26, length: 9, icount: 9, kind: "clock-host", ns: -4 },
    {
      ...{ index: 3, offset: 35, length: 12, icount: 9, kind: "async-net" },
      ...{ filter: 1, flags: 2, data: { size: 2, bytes: "/wA=" } },
    },
    { index: 4, offset: 47, length: 1, icount: 9, kind: "end" },
  ]);
});

describe("the summary", () => {
  test("counts what the reader gives", async () => {
    for (const { log } of goldenLogs) {
      const source = bytesSource(log());
      const counts = new Map<string, { events: number; bytes: number }>();
      for await (const { kind, length } of readReplayLog(source, dialect72)) {
        const total = counts.get(kind) ?? { events: 0, bytes: 0 };
        counts.set(kind, { events: total.events + 1, bytes: total.bytes + length });
      }
      const summary = await summarizeLog(source, dialect72);
      expect(new Map(summary.kinds.map(({ kind, events, bytes }) => [kind, { events, bytes }]))).toEqual(
        counts,
      );
      expect(summary).toMatchObject({
        state: "whole",
        dialect: "7.2",
        bytes: log().length,
        consoleBytes: 67n,
      });
      expect(summary.shutdown?.cause).toBe("guest-shutdown");
      expect(summary.kinds[0]!.events).toBe(Math.max(...summary.kinds.map(({ events }) => events)));
    }
  });

  test("finds a storm between calm stretches", async () => {
    const calm = (count: number): EventBody[] =>
      Array.from({ length: count }, (): EventBody[] => [
        { kind: "instruction", count: 100_000 },
        { kind: "checkpoint-clock-virtual" },
        { kind: "checkpoint-clock-warp-account" },
      ]).flat();
    const storm = Array.from({ length: 1500 }, (): EventBody[] => [
      { kind: "checkpoint-clock-warp-account" },
      { kind: "instruction", count: 16 },
    ]).flat();
    const log = makeLog([...calm(20), ...storm, ...calm(20), { kind: "end" }], dialect72);
    const { storms } = await summarizeLog(bytesSource(log), dialect72);
    // The last calm event is at the storm's first instant, and belongs to it.
    expect(storms).toEqual([
      {
        kind: "checkpoint-clock-warp-account",
        from: 2_000_000n,
        to: 2_000_000n + 1499n * 16n,
        events: 1501,
        meanDistance: (1499 * 16) / 1500,
      },
    ]);
  });

  test("says how a log ends", async () => {
    const state = async (log: Uint8Array) => (await summarizeLog(bytesSource(log), dialect72)).state;
    const whole = makeLog(oneOfEach, dialect72);
    expect(await state(whole)).toBe("whole");
    expect(await state(makeLog(oneOfEach, dialect72, 0))).toBe("unfinished");
    expect(await state(whole.slice(0, -1))).toBe("cut");
    expect(await state(Buffer.concat([whole.slice(0, -1), Buffer.from([200])]))).toBe("damaged");
  });
});
