import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { brctr, type GuestAddress, guestAddress, type Icount, icount } from "../../src/base/units.js";
import type { BranchRecord } from "../../src/formats/branch.js";
import type { Meeting } from "../../src/replay/session/point-hits.js";
import { lastLogged, type VisitLog } from "../../src/replay/timeline/visit-log.js";
import { BranchLogWriter } from "../../src/trace/branch-log-writer.js";
import { BranchVisits, openVisits } from "../../src/trace/branch-visits.js";
import { batchOf } from "../formats/branch-samples.js";
import { walkBranches } from "../formats/branch-walk.js";

const tape = "0b6c2a52-95c4-4a0b-9c7e-1d3f5a7b9c11";
const start = { brctr: 3000, icount: 50_000 };
const records = walkBranches(11, 5000, start);
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function writeLog(name: string, part: readonly BranchRecord[] = records): Promise<string> {
  const path = join(directory, name);
  const facts = { tape, qemu: "7.2.22", chunkBits: 9, startBrctr: start.brctr, startIcount: start.icount };
  await using writer = await BranchLogWriter.create(path, facts);
  for (let at = 0; at < part.length; at += 700) await writer.add(batchOf(part.slice(at, at + 700)));
  await writer.finish();
  return path;
}

/**
 * The last run of instructions up to `before` that may have executed one of the addresses, found by checking all of
 * them.
 */
function slowVisit(addresses: readonly bigint[], before: number) {
  for (let i = Math.min(before - start.brctr, records.length); i >= 1; i--) {
    const from = records[i]?.from ?? 2n ** 64n - 1n;
    const { to } = records[i - 1]!;
    if (addresses.some((address) => to <= address && address <= from)) return start.brctr + i;
  }
  return undefined;
}

const anyAddress = fc.oneof(
  fc.nat(records.length - 1).map((i) => records[i]!.to),
  fc.nat(records.length - 1).map((i) => records[i]!.from),
  fc.nat(records.length - 1).map((i) => records[i]!.to + 3n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const addressLists = fc.array(anyAddress, { minLength: 1, maxLength: 3 });
const places = fc.integer({ min: start.brctr - 5, max: start.brctr + records.length + 5 });

describe("a branch log as a memory of visits", () => {
  test("finds the last stretch that may hold an address, as a look at all of them does, again and again", async () => {
    const path = await writeLog("whole");
    const cache = join(directory, "cache", "visits");
    for (const round of ["learning", "remembering"]) {
      await using visits = (await BranchVisits.open(path, tape, cache))!;
      expect(visits.start.brctr).toBe(BigInt(start.brctr + 1));
      await fc.assert(
        fc.asyncProperty(addressLists, places, async (wanted, before) => {
          const addresses = wanted.map((address) => guestAddress(address));
          const found = await visits.lastVisit(addresses, brctr(Math.max(0, before)));
          expect(found && Number(found.brctr), round).toBe(slowVisit(wanted, before));
          if (!found) return;
          const i = Number(found.brctr) - start.brctr;
          expect(found.from).toBe(records[i - 1]!.icount);
          if (records[i]) expect(found.to).toBe(records[i]!.icount);
        }),
        { numRuns: 200 },
      );
    }
  });

  test("is none when it leaves out records, and only told of when it was named", async () => {
    const path = await writeLog("cut");
    await truncate(path, 3000);
    expect(await BranchVisits.open(path, tape)).toBeUndefined();
    await expect(openVisits(path, "t", tape)).rejects.toMatchObject({ code: "bad-file" });
    expect(await openVisits(undefined, join(directory, "nothing"), tape)).toBeUndefined();
    await expect(openVisits(path, "t", tape.replace("0b", "0c"))).rejects.toMatchObject({ code: "bad-file" });
  });

  test("stops when it is told to", async () => {
    await using visits = (await BranchVisits.open(await writeLog("stopped"), tape))!;
    const asked = visits.lastVisit([guestAddress(1n)], brctr(8000), AbortSignal.abort());
    await expect(asked).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("a run back with a log", () => {
  /** A tape of 400 instants: runs of ten addresses each, five of them in a cycle. */
  const length = 400;
  const pcAt = (at: number) => BigInt(1000 * (Math.floor(at / 10) % 5) + (at % 10));
  /** A log of the instants 100 to 300. */
  const log: VisitLog = {
    start: { brctr: brctr(10), icount: icount(100) },
    end: { brctr: brctr(30), icount: icount(300) },
    async lastVisit(addresses, before) {
      for (let stretch = Math.min(Number(before), 29); stretch >= 10; stretch--) {
        // It claims too much: each run is taken to be 20 addresses long.
        const first = pcAt(stretch * 10);
        if (addresses.some((address) => address >= first && address < first + 20n)) {
          return { from: icount(stretch * 10), to: icount(stretch * 10 + 10), brctr: brctr(stretch) };
        }
      }
      return undefined;
    },
  };

  test("meets what a run without one meets, and replays little", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: length }),
        fc.integer({ min: 0, max: 4 }),
        fc.nat(19),
        fc.nat(length),
        async (here, group, offset, since) => {
          const address = guestAddress(1000 * group + offset);
          const slow = (to: number, earliest: number) => {
            for (let at = to - 1; at >= earliest; at--) if (pcAt(at) === address) return at;
            return undefined;
          };
          let replayed = 0;
          const search = async (to: { icount: Icount }, earliest: Icount): Promise<Meeting | undefined> => {
            replayed += Math.max(0, Number(to.icount - earliest));
            const found = slow(Number(to.icount), Number(earliest));
            return found === undefined ? undefined : { instant: { icount: icount(found) }, hits: [] };
          };
          const place = {
            icount: icount(here),
            pc: pcAt(here) as GuestAddress,
            delivered: 0n,
            brctr: brctr(Math.floor(here / 10)),
          };
          const points = [{ kind: "execute", address }] as const;
          const earliest = icount(Math.min(since, here));
          const found = await lastLogged(log, points, place, earliest, search);
          const expected = slow(here, Number(earliest));
          expect(found && Number(found.instant.icount)).toBe(expected);
          if (offset < 10 && here <= 300 && (expected ?? 0) >= 100) expect(replayed).toBeLessThan(30);
        },
      ),
      { numRuns: 500 },
    );
  });
});
