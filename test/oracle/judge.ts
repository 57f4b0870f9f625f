import type { BranchRecord } from "./branch-record.js";
import { compareLogs, type Mismatch } from "./compare.js";
import { type Interrupt, readInterrupts } from "./qemu-interrupts.js";
import { SingleStepper, type SteppedWindow } from "./single-step.js";
import type { NamedWindow } from "./windows.js";

/** What the oracle found in one window. */
export interface Verdict {
  readonly window: NamedWindow;
  readonly stepped: SteppedWindow;
  /** Differences between the log under test and the oracle; empty when there is no log to compare. */
  readonly mismatches: readonly Mismatch[];
  /** Interrupts and exceptions for which QEMU's own account (`-d int`) has another origin than the oracle's. */
  readonly disputed: readonly string[];
}

/** Gives the records of the log under test that leave from the instants `from` (inclusive) to `to` (exclusive). */
export type LogUnderTest = (from: number, to: number) => Promise<readonly BranchRecord[]>;

/**
 * Steps through each window of a tape, in order, and judges a branch log by it.
 *
 * @param argv a QEMU command that replays the tape
 * @param windows must be in order and apart
 */
export async function* judge(
  argv: readonly string[],
  windows: readonly NamedWindow[],
  options: { readonly log?: LogUnderTest; readonly interrupts?: readonly Interrupt[] } = {},
): AsyncGenerator<Verdict> {
  const interrupts = options.interrupts ?? (await readInterrupts(argv));
  await using stepper = await SingleStepper.start(argv);
  for (const window of windows) {
    const stepped = await stepper.step({ icount: window.from }, { icount: window.to });
    const got = await options.log?.(stepped.from, stepped.to);
    const mismatches = got === undefined ? [] : compareLogs(stepped.records, got);
    yield { window, stepped, mismatches, disputed: disputes(stepped, interrupts) };
  }
}

/** Compares the oracle's interrupts and exceptions with QEMU's own account. */
function disputes(stepped: SteppedWindow, interrupts: readonly Interrupt[]): string[] {
  const ours = stepped.records.filter(({ kind }) => kind === "interrupt" || kind === "exception");
  const theirs = interrupts.filter(({ icount }) => icount >= stepped.from && icount <= stepped.to);
  const found: string[] = [];
  for (const { icount, hardware, software, from } of theirs) {
    const kind = hardware ? "interrupt" : "exception";
    const record = ours.find(
      (one) => one.icount === icount && one.kind === kind && (software || one.from === from),
    );
    const edge = icount === stepped.to || icount === stepped.from;
    if (record === undefined && !edge)
      found.push(`QEMU took an ${kind} from ${from.toString(16)} @${icount}`);
  }
  return found;
}
