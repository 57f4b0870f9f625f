import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type GuestAddress, guestAddress, type Icount, icount } from "../../src/base/units.js";
import { buildPlugin } from "../../src/qemu/plugin-build.js";
import { indexTape } from "../../src/replay/index/tape.js";
import { TapeIndex } from "../../src/replay/index/tape-index.js";
import { plainReplayCommand } from "../../src/replay/session/plain-command.js";
import { tapeCache } from "../../src/replay/session/tape-cache.js";
import { pastOf } from "../../src/replay/timeline/last-write.js";
import { Timeline } from "../../src/replay/timeline/timeline.js";
import { Tape } from "../../src/tape/tape.js";
import { buildGuest, guestLabels } from "../guests/build.js";
import { ReplayProcess } from "../oracle/replay-process.js";
import { judgeStops, randomNumbers, type Stop, walk } from "../timeline-walk.js";
import { sharedCache, Workbench } from "../workbench.js";

let bench: Workbench;
beforeAll(async () => {
  bench = await Workbench.make();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Kills a process; false when there is none. */
function tryKill(id: number): boolean {
  try {
    return process.kill(id, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

const qemu = [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"];

/** Records a tape of a tiny guest. Returns it with the options to open it. */
async function recorded(name: string, checkpoints: number) {
  const guest = await buildGuest(name);
  await bench.json(["record", name, "--kernel", guest.kernel, "-M", "32"]);
  const tape = await Tape.open(bench.places, name);
  const cache = tapeCache(bench.places, tape);
  const plugin = await buildPlugin({
    cacheDir: sharedCache,
    qemuVersion: tape.manifest.qemu.version,
  });
  if (checkpoints > 0) await indexTape(tape, { cache, plugin, checkpoints, qemu });
  const index = await TapeIndex.open(cache, tape.manifest.qemu);
  const open = () =>
    Timeline.open(tape, {
      plugin,
      qemu,
      cache,
      checkpoints: async () => {
        await index.refresh();
        return index.checkpoints;
      },
    });
  return { tape, open, labels: await guestLabels(guest), argv: await plainReplayCommand(tape, qemu) };
}

describe.each(["user", "nested"])("walks about a tape of the guest %s", (name) => {
  let guest: Awaited<ReturnType<typeof recorded>>;
  beforeAll(async () => {
    guest = await recorded(name, 3);
  });

  async function walked(between?: (timeline: Timeline) => (move: number) => void): Promise<Stop[]> {
    const stops: Stop[] = [];
    await using timeline = await guest.open();
    const options = { seed: 5, moves: 20, reach: 2_000_000 };
    for await (const stop of walk(timeline, { ...options, ...(between && { between: between(timeline) }) })) {
      stops.push(stop);
    }
    return stops;
  }

  test("see what one straight run of a plain QEMU sees, whatever is killed on the way", async () => {
    const stops = await walked();
    expect(await judgeStops(guest.argv, guest.tape.machine.memoryMB, stops)).toEqual([]);
    const random = randomNumbers(3);
    let killed = 0;
    const disturbed = await walked((timeline) => () => {
      if (random(3) > 0 || timeline.pid === undefined) return;
      // One that was killed before, and not asked anything since, is no more.
      if (tryKill(timeline.pid)) killed++;
    });
    expect(killed).toBeGreaterThan(1);
    expect(disturbed).toEqual(stops);
  });
});

describe("a tape of the guest transfers", () => {
  let guest: Awaited<ReturnType<typeof recorded>>;
  beforeAll(async () => {
    guest = await recorded("transfers", 2);
  });

  /** Every instant of the window, by single steps of a plain QEMU. */
  async function straight(): Promise<{ icount: bigint; pc: bigint }[]> {
    await using process = await ReplayProcess.start(guest.argv);
    await process.runToAddress(guest.labels.get("window_begin")!);
    const instants: { icount: bigint; pc: bigint }[] = [];
    for (const end = guest.labels.get("window_end")!; ; await process.gdb.soon("s")) {
      const pc = await process.address();
      instants.push({ icount: BigInt(await process.icount()), pc });
      if (pc === end) return instants;
    }
  }

  test("runs stop at every visit of a place, in order, and back in the reverse order", async () => {
    const instants = await straight();
    const [first, last] = [instants[0]!, instants.at(-1)!];
    const visits = new Map<bigint, bigint[]>();
    for (const { icount: at, pc } of instants) visits.set(pc, [...(visits.get(pc) ?? []), at]);
    const [place, expected] = [...visits].sort((a, b) => b[1].length - a[1].length)[0]!;
    expect(expected.length).toBeGreaterThan(1);
    await using timeline = await guest.open();
    await timeline.goTo({ icount: icount(first.icount - 1n) });
    timeline.addPoint({ kind: "execute", address: guestAddress(place) });
    const forward: bigint[] = [];
    for (;;) {
      const { why, position } = await timeline.runTo(icount(last.icount));
      if (why !== "point") break;
      forward.push(position.icount);
    }
    const back: bigint[] = [];
    for (;;) {
      const { why, position } = await timeline.runBackTo(icount(first.icount));
      if (why !== "point") break;
      back.push(position.icount);
    }
    const inside = expected.filter((at) => at < last.icount);
    expect(forward.filter((at) => at < last.icount)).toEqual(inside);
    expect(back).toEqual([...inside].reverse());
  });

  test("a run that is under way tells of the points it began with, whatever is set and removed meanwhile", async () => {
    const instants = await straight();
    const place = guestAddress(instants.at(-2)!.pc);
    await using timeline = await guest.open();
    await timeline.goTo({ icount: icount(instants[0]!.icount) });
    const others = [timeline.addPoint({ kind: "execute", address: guestAddress(0x1234567n) })];
    const met = timeline.addPoint({ kind: "execute", address: place });
    for (const go of ["forward", "back"] as const) {
      const running = timeline.run(go);
      await new Promise((resolve) => setImmediate(resolve)); // it has begun, and waits for QEMU
      timeline.removePoint(others.pop()!);
      others.push(timeline.addPoint({ kind: "execute", address: guestAddress(0x7654321n) }));
      const arrival = await running;
      expect([arrival.why, arrival.points]).toEqual(["point", [met]]);
      if (go === "forward") await timeline.goTo({ icount: icount(instants.at(-1)!.icount) });
    }
  });

  test("positions are the same both ways: icount to (pc, brctr, rep) and back", async () => {
    const { locate } = await import("../../src/replay/timeline/locate.js");
    const instants = (await straight()).slice(0, 200);
    await using timeline = await guest.open();
    const random = randomNumbers(11);
    const plugin = await buildPlugin({
      cacheDir: sharedCache,
      qemuVersion: guest.tape.manifest.qemu.version,
    });
    for (let i = 0; i < 5; i++) {
      const wanted = instants[random(instants.length)]!;
      await timeline.goTo({ icount: wanted.icount as Icount, pc: wanted.pc as GuestAddress });
      const { brctr, pc, rep } = timeline.position;
      expect(pc).toBe(wanted.pc);
      const found = await locate(
        guest.tape,
        { kind: "address", address: pc, visit: { brctr, rep } },
        { plugin, qemu, checkpoints: async () => [] },
      );
      expect(found.icount).toBe(wanted.icount);
    }
  });

  test("a step back is where the step forward came from, from the end to the start of a window", async () => {
    const instants = (await straight()).slice(0, 60);
    await using timeline = await guest.open();
    await timeline.goTo({ icount: instants.at(-1)!.icount as Icount });
    for (const wanted of instants.slice(0, -1).reverse()) {
      const { why, position } = await timeline.stepBack();
      expect([why, position.icount, position.pc]).toEqual(["reached", wanted.icount, wanted.pc]);
    }
    const { position } = await timeline.stepForward(instants.length - 1);
    expect(position.icount).toBe(instants.at(-1)!.icount);
  });

  test("goes on by branches, both ways, and back to what was marked", async () => {
    await using timeline = await guest.open();
    await timeline.goTo({ icount: icount((await straight())[20]!.icount) });
    const here = timeline.mark("here");
    const { position } = await timeline.stepBranches(3);
    expect(position.brctr).toBe(here.brctr + 3n);
    // It is the first instant with that many: one instruction before there is one branch less.
    expect((await timeline.stepBack()).position.brctr).toBe(here.brctr + 2n);
    expect((await timeline.stepBranches(-2)).position.brctr).toBe(here.brctr);
    expect((await timeline.goToMark("here")).position).toEqual(here);
    expect((await timeline.stepBranches(1e9)).why).toBe("end");
    expect((await timeline.stepBranches(-1e9)).why).toBe("start");
    await expect(timeline.goToMark("there")).rejects.toThrow("no instant is marked 'there'");
  });

  test("begins and ends where the tape does", async () => {
    await using timeline = await guest.open();
    expect((await timeline.stepBack()).why).toBe("start");
    expect((await timeline.run("back")).why).toBe("start");
    expect((await timeline.run("forward")).why).toBe("end");
    expect(timeline.position.icount).toBe(guest.tape.end.at);
    expect((await timeline.stepForward()).why).toBe("end");
    await expect(timeline.goTo({ icount: icount(guest.tape.end.at + 1n) })).rejects.toThrow(
      /lies beyond the tape's end/,
    );
    expect((await timeline.stepBack()).position.icount).toBe(guest.tape.end.at - 1n);
  });

  test("tells which instruction wrote a word last, and what it held before", async () => {
    await using timeline = await guest.open();
    await timeline.goTo({ icount: guest.tape.end.at });
    const end = timeline.position;
    const { registerValue } = await import("../../src/qemu/x86-registers.js");
    const stack = registerValue(await timeline.registers(), "rsp");
    const asked = { space: "virtual", address: guestAddress(stack - 4n), length: 4 } as const;
    const now = await timeline.readMemory(asked.address, 4);
    const { writes, unseen } = await pastOf(timeline, asked);
    expect(unseen).toBeUndefined();
    expect(writes).toHaveLength(1);
    expect(Buffer.from(writes[0]!.after)).toEqual(Buffer.from(now!));
    expect(timeline.position).toEqual(end);
    // A watchpoint, which knows nothing of physical addresses, meets the same instruction.
    timeline.addPoint({ kind: "write", ...asked });
    const arrival = await timeline.run("back");
    expect(arrival.why).toBe("point");
    expect(arrival.position).toEqual(writes[0]!.position);
  });
});

test("a run that meets nothing is cancelled within a second, both ways", async () => {
  const guest = await recorded("timer", 0);
  await using timeline = await guest.open();
  timeline.addPoint({ kind: "execute", address: guestAddress(0x1234567n) });
  for (const go of [
    (signal: AbortSignal) => timeline.run("forward", signal),
    (signal: AbortSignal) => timeline.run("back", signal),
  ]) {
    const stop = new AbortController();
    const running = go(stop.signal);
    stop.abort();
    expect((await running).why).toBe("cancelled");
  }
});
