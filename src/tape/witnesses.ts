import { openFileSource } from "../base/byte-source.js";
import type { Manifest } from "../formats/manifest.js";
import type { ReplayLogDialect } from "../formats/replay-log-dialect.js";
import { kindCodes } from "../formats/replay-log-layout.js";
import { ReplayLogScanner } from "../formats/replay-log-scanner.js";
import type { GuardChannel } from "../qemu/guard.js";
import { registersHash } from "../qemu/state-hash.js";

/** A hashed state of the recording, as the manifest keeps it. */
export type Witness = Manifest["witnesses"][number];

/** A witness that this recording has taken. */
interface Taken extends Witness {
  /** How many requests to disks were made before it. */
  readonly requests: number;
}

/** The first state is hashed after so many ms, each further one when three times as much time has passed. */
const firstMs = 3000;
/** Guests with more memory are hashed less often: hashing holds the guest up for about 0.6 s a GB. */
const msPerMB = 0.7;
const most = 16;
/** How often it is checked whether a state is due, in ms. */
const lookMs = 100;
/**
 * How long to look for an instant at which the guard can hold the machine, in ms. An idle guest has one at its next
 * timer tick.
 */
const patienceMs = 200;

/**
 * Hashes states of a recording while it runs, so that replays can be proved to be the recorded run. While hashing,
 * the guard holds the machine, which leaves no trace in the log. Pauses by QEMU's own `stop` and `cont` made tapes
 * that did not replay (with QEMU 7.2, beside other load, one of five).
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
   * @param hashMemory gives the SHA-256 of all RAM of the held machine; rejects soon after its signal
   * @param onTaken called with all witnesses after each new one, so that they are kept even if the recorder is killed
   *   later
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

  /** Takes witnesses at growing intervals, until the timer that is returned is cleared. */
  start(): NodeJS.Timeout {
    const startedAt = performance.now();
    return setInterval(() => {
      if (performance.now() - startedAt < this.due || this.taken.length >= most) return;
      this.due *= 3;
      void this.take();
    }, lookMs);
  }

  /** Takes a witness now, after the one that is being taken. Never rejects: a recording can go on without. */
  take(): Promise<void> {
    this.last = this.last.then(() => this.takeNow()).catch(() => {});
    return this.last;
  }

  /** Takes no more witnesses, and cancels the one that is being taken, because the recording is to end soon. */
  giveUp(): void {
    this.givenUp.abort();
  }

  /** Resolves when no witness is being taken. */
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
    // When the recorder is killed, the answers of disks are not counted, so these witnesses are kept as busy.
    const kept = this.taken.map((one) => ({ ...stored(one), ...(one.requests > 0 && busy) }));
    await this.onTaken(kept).catch(() => {});
  }

  /**
   * The witnesses within a finished log of `end` instructions. They are marked busy where a disk's answer was on its
   * way, since its bytes may or may not have been in memory: QEMU numbers the requests, and the log has the answers.
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

/** How many answers of disks the log has before each icount of `at`, which must rise. */
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
