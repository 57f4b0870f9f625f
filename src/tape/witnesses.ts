import { openFileSource } from "../base/byte-source.js";
import type { Manifest } from "../formats/manifest.js";
import type { ReplayLogDialect } from "../formats/replay-log-dialect.js";
import { kindCodes } from "../formats/replay-log-layout.js";
import { ReplayLogScanner } from "../formats/replay-log-scanner.js";
import type { GuardChannel } from "../qemu/guard.js";
import { registersHash } from "../qemu/state-hash.js";

/** A state of the recording, as the manifest keeps it. */
export type Witness = Manifest["witnesses"][number];

/** One that was taken just now. */
interface Taken extends Witness {
  /** Requests made to disks before it. */
  readonly requests: number;
}

/** The first state is hashed after so long, each next one after three times as long. */
const firstMs = 3000;
/** Guests with more memory are hashed less: hashing holds the guest up for about 0.6 s a GB. */
const msPerMB = 0.7;
const most = 16;
/** Between two looks whether one is due. */
const lookMs = 100;
/** How long to look for an instant: an idle guest has one at its next tick. */
const patienceMs = 200;

/**
 * States of a recording, hashed while it runs: proof later that a replay is the recorded run. The machine is held for the
 * time of hashing, by the guard, of which the log knows nothing: pauses by QEMU's own `stop` and `cont` made tapes that did
 * not replay (on 7.2, beside other load, one of five).
 */
export class Witnesses {
  private readonly guard: Pick<GuardChannel, "freeze" | "thaw">;
  private readonly hashMemory: (signal: AbortSignal) => Promise<string>;
  private readonly onTaken: (witnesses: readonly Witness[]) => Promise<void>;
  private readonly taken: Taken[] = [];
  private due: number;
  private last: Promise<void> = Promise.resolve();
  private readonly givenUp = new AbortController();

  /**
   * @param hashMemory SHA-256 of all RAM of the machine that stands still; rejects soon after its signal
   * @param onTaken told all of them after each: a recorder that is killed later still leaves its proof
   */
  constructor(
    guard: Pick<GuardChannel, "freeze" | "thaw">,
    hashMemory: (signal: AbortSignal) => Promise<string>,
    memoryMB: number,
    onTaken: (witnesses: readonly Witness[]) => Promise<void>,
  ) {
    this.guard = guard;
    this.hashMemory = hashMemory;
    this.onTaken = onTaken;
    this.due = Math.max(firstMs, memoryMB * msPerMB * 10);
  }

  /** Takes them at growing distances until the timer is cleared. */
  start(): NodeJS.Timeout {
    const startedAt = performance.now();
    return setInterval(() => {
      if (performance.now() - startedAt < this.due || this.taken.length >= most) return;
      this.due *= 3;
      void this.take();
    }, lookMs);
  }

  /** Takes one now, after those that are being taken. Never rejects: a recording goes on without. */
  take(): Promise<void> {
    this.last = this.last.then(() => this.takeNow()).catch(() => {});
    return this.last;
  }

  /** Takes none any more, and gives up the one that is being taken: somebody waits for the end of the recording. */
  giveUp(): void {
    this.givenUp.abort();
  }

  /** Resolves when none is being taken any more. */
  settled(): Promise<void> {
    return this.last;
  }

  private async takeNow(): Promise<void> {
    if (this.givenUp.signal.aborted) return;
    const frozen = await this.guard.freeze(patienceMs);
    if (!frozen) return;
    let memory: string;
    try {
      memory = await this.hashMemory(this.givenUp.signal);
    } finally {
      await this.guard.thaw();
    }
    const at = Number(frozen.icount);
    if (at <= (this.taken.at(-1)?.icount ?? 0)) return;
    this.taken.push({
      icount: at,
      registers: registersHash(frozen.registers),
      memory,
      requests: Number(frozen.requests),
    });
    // Of a recorder that is killed nobody counts the answers.
    const kept = this.taken.map((one) => ({ ...stored(one), ...(one.requests > 0 && busy) }));
    await this.onTaken(kept).catch(() => {});
  }

  /**
   * Those that a finished log of `end` instructions accounts for. Where a disk's answer was on its way, nobody knows whether
   * its bytes were in memory: QEMU numbers the requests, and the log has the answers.
   *
   * Cost: one scan of the log, when there are disks.
   */
  async sealed(log: string, dialect: ReplayLogDialect, end: number): Promise<Witness[]> {
    const within = this.taken.filter(({ icount }) => icount <= end);
    if (within.every(({ requests }) => requests === 0)) return within.map(stored);
    const answers = await answersBefore(log, dialect, within);
    return within.map((one, i) => ({
      ...stored(one),
      ...(one.requests > answers[i]! && { busy: true as const }),
    }));
  }
}

const busy = { busy: true } as const;

function stored({ requests, ...witness }: Taken): Witness {
  return witness;
}

/** Answers of disks in the log before each of `at`, which rise. */
async function answersBefore(
  log: string,
  dialect: ReplayLogDialect,
  at: readonly Witness[],
): Promise<number[]> {
  const counts: number[] = [];
  let count = 0;
  await using source = await openFileSource(log);
  const scanner = await ReplayLogScanner.open(source, dialect);
  while (counts.length < at.length && (await scanner.next())) {
    const { kinds, icounts } = scanner.batch;
    for (let i = 0; i < scanner.batch.count; i++) {
      while (counts.length < at.length && icounts[i]! >= at[counts.length]!.icount) counts.push(count);
      if (kinds[i] === kindCodes["async-block"]) count++;
    }
  }
  while (counts.length < at.length) counts.push(count);
  return counts;
}
