import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestAddress, type Icount, icount, physicalAddress } from "../src/base/units.js";
import { registerValue } from "../src/qemu/x86-registers.js";
import type { Arrival } from "../src/replay/session/timeline-types.js";
import type { Timeline } from "../src/replay/timeline/timeline.js";
import { littleEndian } from "./oracle/gdb-remote.js";
import { ReplayProcess } from "./oracle/replay-process.js";

/** The state of the machine where a walk stopped. */
export interface Stop {
  readonly doing: string;
  readonly icount: bigint;
  readonly pc: bigint;
  readonly brctr: bigint;
  /** The `g` block, and a hash of RAM. */
  readonly registers: string;
  readonly memory: string;
}

/** Ranges that are always RAM: below and above the screen and the firmware. */
const ramRanges = (memoryMB: number) => [
  { from: 0, bytes: 0xa0000 },
  { from: 0x100000, bytes: memoryMB * 2 ** 20 - 0x100000 },
];

/** Numbers that look random and are the same in each run (Park and Miller's generator). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = (seed % 2147483646) + 1;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return Math.floor((state / 2147483647) * below);
  };
}

/** Reads the state that a timeline shows. */
export async function look(timeline: Timeline, doing: string): Promise<Stop> {
  const { icount, pc, brctr } = timeline.position;
  const registers = Buffer.from(await timeline.registers()).toString("hex");
  const hash = createHash("sha256");
  for (const { from, bytes } of ramRanges(timeline.tape.machine.memoryMB)) {
    for (let at = 0; at < bytes; at += 4 << 20) {
      const length = Math.min(4 << 20, bytes - at);
      hash.update((await timeline.readPhysical(physicalAddress(from + at), length))!);
    }
  }
  return { doing, icount, pc, brctr, registers, memory: hash.digest("hex") };
}

/** Kinds of moves. One that is named twice is chosen twice as often. */
const moves = ["go", "go", "step", "back", "run", "run back", "watch", "watch back", "mark"] as const;

/**
 * Moves a timeline at random, and yields the state after each move. Breakpoints and watchpoints are set on addresses
 * that were seen on the way, so that they are hit.
 *
 * @param reach how far a run goes when it meets nothing, in instructions
 * @param between called before each move; it may kill something
 */
export async function* walk(
  timeline: Timeline,
  options: {
    readonly seed: number;
    readonly moves: number;
    readonly reach: number;
    readonly between?: (move: number) => Promise<void> | void;
  },
): AsyncGenerator<Stop> {
  const random = randomNumbers(options.seed);
  const end = Number(timeline.tape.end.at);
  const seen: bigint[] = [timeline.position.pc];
  const marks: { icount: Icount; pc: bigint }[] = [];
  for (let i = 0; i < options.moves; i++) {
    await options.between?.(i);
    const move = moves[random(moves.length)]!;
    const arrival = await make(move);
    seen.push(timeline.position.pc);
    yield await look(timeline, `${i}: ${move} -> ${arrival.why}`);
  }

  function make(move: (typeof moves)[number]): Promise<Arrival> {
    switch (move) {
      case "go":
        return timeline.goTo({ icount: icount(random(end + 1)) });
      case "step":
        return timeline.stepForward(1 + random(12));
      case "back":
        return timeline.stepBack(1 + random(12));
      case "run":
        return withPoint({ kind: "execute", address: pick() }, forward);
      case "run back":
        return withPoint({ kind: "execute", address: pick() }, back);
      case "watch":
        return watchStack(forward);
      case "watch back":
        return watchStack(back);
      case "mark": {
        const mark = marks[random(marks.length)];
        const { icount: at, pc } = timeline.position;
        marks.push({ icount: at, pc });
        return mark ? timeline.goTo(mark as never) : timeline.stepForward();
      }
    }
  }

  function pick() {
    return guestAddress(seen[random(seen.length)]!);
  }

  function forward() {
    const limit = Number(timeline.position.icount) + options.reach;
    return timeline.runTo(icount(Math.min(limit, end)));
  }

  function back() {
    return timeline.runBackTo(icount(Math.max(0, Number(timeline.position.icount) - options.reach)));
  }

  async function watchStack(go: () => Promise<Arrival>) {
    const stack = registerValue(await timeline.registers(), "rsp");
    const address = guestAddress(stack - BigInt(8 * random(4)));
    const kind = (["write", "read", "access"] as const)[random(3)]!;
    return withPoint({ kind, space: "virtual", address, length: 1 + random(8) }, go);
  }

  async function withPoint(point: Parameters<Timeline["addPoint"]>[0], go: () => Promise<Arrival>) {
    const id = timeline.addPoint(point);
    try {
      return await go();
    } finally {
      timeline.removePoint(id);
    }
  }
}

/**
 * Judges stops by one straight run of a plain QEMU, without any code of the product: by its registers and RAM at the
 * same instants.
 *
 * @param argv a QEMU command that replays the tape
 * @returns what differs, in words
 */
export async function judgeStops(
  argv: readonly string[],
  memoryMB: number,
  stops: readonly Stop[],
  onJudged: (done: number) => void = () => {},
): Promise<string[]> {
  const inOrder = [...stops].sort((a, b) =>
    a.icount === b.icount ? Number(a.brctr - b.brctr) : a.icount < b.icount ? -1 : 1,
  );
  const directory = await mkdtemp(join(tmpdir(), "vmtape-walk-"));
  const wrong: string[] = [];
  await using process = await ReplayProcess.start(argv);
  try {
    const ram = new RamHash(process, memoryMB, join(directory, "ram"));
    for (const [i, stop] of inOrder.entries()) {
      await straightTo(process, stop);
      const registers = await process.gdb.request("g");
      const where = `${stop.doing} @${stop.icount} ${stop.pc.toString(16)}`;
      if (registers !== stop.registers)
        wrong.push(`${where}: registers ${firstDifference(registers, stop.registers)}`);
      if ((await ram.now(stop)) !== stop.memory) wrong.push(`${where}: memory`);
      onJudged(i + 1);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return wrong;
}

/** Runs to an instant: the last instruction and all deliveries by single steps. */
async function straightTo(process: ReplayProcess, { icount: at, registers }: Stop): Promise<void> {
  const wantedPc = littleEndian(registers.slice(16 * 16, 16 * 16 + 16));
  if ((await process.icount()) < Number(at) - 1) await process.runTo(Number(at) - 1);
  while ((await process.icount()) < Number(at)) await process.gdb.soon("s");
  for (let made = 0; made < 8 && (await process.address()) !== wantedPc; made++) {
    if ((await process.icount()) !== Number(at)) return;
    await process.gdb.soon("s");
  }
}

/** RAM as QEMU saves it; hashed once for stops at one instant. */
class RamHash {
  private last: { readonly key: string; readonly hash: string } | undefined;

  constructor(
    private readonly process: ReplayProcess,
    private readonly memoryMB: number,
    private readonly file: string,
  ) {}

  async now({ icount: at, pc, brctr }: Stop): Promise<string> {
    const key = `${at} ${pc} ${brctr}`;
    if (this.last?.key === key) return this.last.hash;
    const hash = createHash("sha256");
    for (const { from, bytes } of ramRanges(this.memoryMB)) {
      await this.process.execute("pmemsave", { val: from, size: bytes, filename: this.file });
      hash.update(await readFile(this.file));
    }
    this.last = { key, hash: hash.digest("hex") };
    return this.last.hash;
  }
}

function firstDifference(wanted: string, got: string): string {
  let at = 0;
  while (at < wanted.length && wanted[at] === got[at]) at++;
  const byte = at >> 1;
  return `differ at byte ${byte}: ${wanted.slice(byte * 2, byte * 2 + 16)}, not ${got.slice(byte * 2, byte * 2 + 16)}`;
}
