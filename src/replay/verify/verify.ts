import { createHash, type Hash } from "node:crypto";
import { openFileSource } from "../../base/byte-source.js";
import { isVmtapeError, type VmtapeError } from "../../base/errors.js";
import { noLinks } from "../../base/regular-file.js";
import { during, type RunContext } from "../../base/run-context.js";
import { type Icount, icount } from "../../base/units.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { summarizeLog } from "../../formats/replay-log-summary.js";
import { guardOf } from "../../qemu/plugin-build.js";
import { pluginArguments, pluginChannels } from "../../qemu/plugin-channel.js";
import type { StateHash } from "../../qemu/state-hash.js";
import { checkStored, readHead } from "../../tape/store.js";
import type { Tape } from "../../tape/tape.js";
import { checkMachine } from "../session/check-tape.js";
import { consoleIcount } from "../session/console-position.js";
import { type Divergence, firstDifference, nextEvent, type StateDifference } from "../session/divergence.js";
import { deliveringInstants } from "../session/quiet-instants.js";
import { Session, type SessionOptions } from "../session/session.js";
import { BranchComparison, type BranchStream } from "./branch-comparison.js";
import { breakingPoint } from "./breaking-point.js";
import { mostRounds, narrow } from "./narrow.js";

/**
 * A state that was compared. `recorded`: it was compared with a witness, too, which was hashed at this instant while
 * recording.
 */
export interface VerifiedState extends StateHash {
  readonly recorded: boolean;
}

/** What `verify` found. */
export interface VerifyReport {
  readonly ok: boolean;
  /** Instructions both replays executed. */
  readonly icount: Icount;
  readonly console: { readonly bytes: number; readonly sha256: string };
  /** QEMU's shutdown reason, e.g. `guest-shutdown`. */
  readonly cause: string;
  /** States that were equal, in order. */
  readonly states: readonly VerifiedState[];
  /** All branches of both replays; absent when they were not compared (no plugin). */
  readonly branches?: BranchStream;
  readonly seconds: number;
  /** The first difference that was found; absent when `ok`. */
  readonly divergence?: Divergence;
}

export interface VerifyOptions extends RunContext, Pick<SessionOptions, "stallSeconds"> {
  /** The built branch plugin (`buildPlugin`). With it, all branches of the two replays are compared, too. */
  readonly plugin?: string | undefined;
}

/** The part of a {@link Session} that a comparison needs. */
export type Replay = Pick<Session, "start" | "runTo" | "hashState" | "stop" | "shutdownReason" | "channels"> &
  AsyncDisposable;
/** Makes a replay, which is not started yet. */
export type OpenReplay = (options: Pick<SessionOptions, "onConsole" | "onProgress">) => Promise<Replay>;

/** How long the host may take to read what the guest asked of its disk. */
const diskPatienceMs = 3000;
/** How many evenly spaced instants are compared besides the witnesses' and the end. */
const evenInstants = 3;

/**
 * Replays a tape to its end twice, side by side, and compares. Registers and memory at several instants and at the
 * end are compared with each other and with the recording's witnesses; console bytes, last icount and shutdown reason
 * with the recording. Cost: two replays at once, and a hash of the guest's RAM at each of the instants.
 *
 * @throws what opening the tape throws; a divergence is not thrown but part of the report
 */
export async function verifyTape(tape: Tape, options: VerifyOptions = {}): Promise<VerifyReport> {
  tape.requireComplete();
  const { signal, qemu, debug, stallSeconds } = options;
  await checkMachine(tape, signal);
  const common = { trusted: true, qemu, debug, stallSeconds };
  const traced = options.plugin !== undefined && {
    attach: { extra: pluginArguments(options.plugin) },
    channels: pluginChannels,
    guard: guardOf(options.plugin),
  };
  const comparison = new Comparison(tape, options, {
    pair: (more) => Session.create(tape, { ...common, ...traced, ...more }),
    probe: () => Session.create(tape, { ...common, guard: traced ? traced.guard : undefined }),
  });
  const logChange = await checkStored(tape.layout.log, tape.end.log, signal).catch((error) => {
    if (isVmtapeError(error, "changed")) return error;
    throw error;
  });
  // QEMU does not check the lengths in a log, so it is not given damaged parts: the replays end shortly before them.
  const logFault = await findFault(tape, signal);
  const limit = logFault && icount(logFault.facts.icount ?? 0n);
  if (logFault && (limit ?? 0n) < 2n) return comparison.report(comparison.fault(logFault));
  const report = await comparison.run(limit);
  if (!report.ok) return report;
  if (logFault) return comparison.report(comparison.fault(logFault));
  if (logChange) return comparison.report(comparison.fault(logChange), report.cause);
  const consoleChange = await comparison.compareStoredConsole();
  return consoleChange ? comparison.report(consoleChange, report.cause) : report;
}

/**
 * Compares replays of a tape with each other and with the recording; {@link verifyTape} without its checks of the
 * tape's files.
 *
 * @param open makes a replay. Two run side by side; more are made to narrow down a difference
 */
export function compareReplays(
  tape: Tape,
  open: OpenReplay,
  options: Pick<VerifyOptions, "plugin" | "onProgress" | "signal"> = {},
): Promise<VerifyReport> {
  return new Comparison(tape, options, { pair: open, probe: () => open({}) }).run();
}

/** The first damage of a log; undefined when it has none. */
async function findFault(tape: Tape, signal?: AbortSignal): Promise<VmtapeError | undefined> {
  await using source = await openFileSource(tape.layout.log, noLinks);
  const dialect = dialectFor(tape.manifest.qemu.version);
  try {
    return (await summarizeLog(source, dialect, { signal })).ending.fault;
  } catch (error) {
    if (isVmtapeError(error, "bad-log")) return error; // the header is damaged
    throw error;
  }
}

/** Two replays that are run to the same instants and compared there. */
class Comparison {
  private readonly startedAt = performance.now();
  private readonly states: VerifiedState[] = [];
  private readonly tape: Tape;
  private readonly open: { readonly pair: OpenReplay; readonly probe: () => Promise<Replay> };
  private readonly options: Pick<VerifyOptions, "plugin" | "onProgress" | "signal">;
  private readonly branches: BranchComparison | undefined;
  private stream: BranchStream | undefined;
  /** The icount to which the replays were last sent. */
  private target = icount(0);
  private readonly consoles: ConsoleCheck[] = [new ConsoleCheck(), new ConsoleCheck()];

  /** @param open `pair`: makes one of the two that are compared; `probe`: makes one that narrows down a difference */
  constructor(
    tape: Tape,
    options: Pick<VerifyOptions, "plugin" | "onProgress" | "signal">,
    open: { readonly pair: OpenReplay; readonly probe: () => Promise<Replay> },
  ) {
    this.tape = tape;
    this.open = open;
    this.options = options;
    this.branches = options.plugin === undefined ? undefined : new BranchComparison();
  }

  /** @param limit the icount at which the log is damaged; only what comes before it is compared */
  async run(limit?: Icount): Promise<VerifyReport> {
    const { signal } = this.options;
    const total = Number(this.tape.end.at);
    await using first = await this.open.pair({
      onConsole: (bytes) => this.consoles[0]!.add(bytes),
      onProgress: during(this.options, "verifying", total).onProgress,
    });
    await using second = await this.open.pair({ onConsole: (bytes) => this.consoles[1]!.add(bytes) });
    try {
      await Promise.all([first.start(undefined, signal), second.start(undefined, signal)]);
      await this.branches?.attach([first, second]);
      const parted = (await this.walk(first, second, limit)) ?? (await this.compareBranches());
      await Promise.all([first.stop(), second.stop()]); // their last console bytes arrive
      const divergence = parted ?? (limit === undefined ? await this.compareEnds(first) : undefined);
      return this.report(divergence, first.shutdownReason);
    } catch (error) {
      if (!isVmtapeError(error, "diverged")) throw error;
      return this.report(await this.describe(error), first.shutdownReason);
    }
  }

  private async walk(first: Replay, second: Replay, limit?: Icount): Promise<Divergence | undefined> {
    const { signal } = this.options;
    for (const at of await this.instants(limit)) {
      this.target = at;
      await Promise.all([first.runTo(at, signal), second.runTo(at, signal)]);
      const [a, b] = await this.hash(first, second);
      const parted = firstDifference(a, b);
      if (parted) return (await this.compareBranches()) ?? (await this.narrowDown(at, parted));
      const difference = this.compareRecorded(at, a);
      if (difference) return difference;
    }
    return undefined;
  }

  /**
   * Hashes the states of both. What a disk reads is in memory as soon as the host has read it, but is announced to
   * the guest when the log says so. So where only memory differs, the host may not have read everything yet, and the
   * states are hashed again for a while.
   */
  private async hash(first: Replay, second: Replay): Promise<[StateHash, StateHash]> {
    const until = performance.now() + diskPatienceMs;
    for (;;) {
      const [a, b] = await Promise.all([first.hashState(), second.hashState()]);
      const onlyMemory = a.icount === b.icount && a.registers === b.registers && a.memory !== b.memory;
      if (!onlyMemory || this.tape.machine.disks.length === 0 || performance.now() > until) return [a, b];
    }
  }

  /** Ends the comparison of branches, where there is one. It gives the first record that differs. */
  private async compareBranches(): Promise<Divergence | undefined> {
    const result = await this.branches?.finish();
    if (result && "what" in result) return result;
    this.stream = result;
    return undefined;
  }

  /** The two replays were equal at the last state, and differ at `to`: finds out since when. */
  private async narrowDown(to: Icount, difference: StateDifference): Promise<Divergence> {
    const { signal } = this.options;
    let round = 0;
    const parting = await narrow({ from: this.lastEqual, to, difference }, async (middle) => {
      this.options.onProgress?.({ doing: "narrowing down", done: ++round, total: mostRounds, unit: "steps" });
      await using first = await this.open.probe();
      await using second = await this.open.probe();
      await Promise.all([first.start(middle, signal), second.start(middle, signal)]);
      const [a, b] = await this.hash(first, second);
      return firstDifference(a, b);
    });
    return {
      icount: parting.to,
      what: `two replays parted between icount ${parting.from} and ${parting.to}: ${parting.difference.what}`,
      ...parting.difference.values,
    };
  }

  /** The last instant at which everything was equal. */
  private get lastEqual(): Icount {
    return this.states.at(-1)?.icount ?? icount(0);
  }

  /**
   * The instants to compare: those of the witnesses, some evenly spaced ones, and the end. Instants with deliveries,
   * except for the end, are left out when the replays run without the guard, since they do not stop there
   * reproducibly, and when the manifest is of version 1, since its witnesses were hashed without the guard.
   */
  private async instants(limit?: Icount): Promise<Icount[]> {
    // A QEMU that stops at an instant has read the event there already, so the replays stop before the damaged one.
    const end = limit === undefined ? Number(this.tape.end.at) : Number(limit) - 1;
    const recorded = this.tape.manifest.witnesses.map((witness) => witness.icount);
    const even = Array.from({ length: evenInstants }, (_, i) =>
      Math.floor((end * (i + 1)) / (evenInstants + 1)),
    );
    const all = [...new Set([...recorded, ...even, end])].filter((at) => at > 0 && at <= end);
    const instants = all.sort((a, b) => a - b).map(icount);
    if (this.options.plugin !== undefined && this.tape.manifest.version > 1) return instants;
    const delivering = await deliveringInstants(this.tape, instants);
    return instants.filter((at) => Number(at) === end || !delivering.has(at));
  }

  /** Compares a state with the recording's witness, where there is one at this icount, and notes the state. */
  private compareRecorded(at: Icount, a: StateHash): Divergence | undefined {
    const between = `between icount ${this.lastEqual} and ${at}`;
    const witness = this.tape.manifest.witnesses.find((one) => BigInt(one.icount) === at);
    let recorded = witness !== undefined;
    if (witness?.busy && witness.registers === a.registers) recorded = witness.memory === a.memory;
    else if (witness) {
      const from = firstDifference({ ...witness, icount: icount(witness.icount) }, a);
      if (from)
        return { icount: at, what: `replay and recording parted ${between}: ${from.what}`, ...from.values };
    }
    this.states.push({ ...a, recorded });
    return undefined;
  }

  /**
   * Compares the console file in the tape with its recorded hash. (The replays' console has been compared with that
   * before.)
   */
  async compareStoredConsole(): Promise<Divergence | undefined> {
    const { layout, end } = this.tape;
    const change = await checkStored(layout.console, end.console, this.options.signal).catch((error) => {
      if (isVmtapeError(error, "changed") || isVmtapeError(error, "bad-file")) return error;
      throw error;
    });
    if (!change) return undefined;
    const offset = await this.consoles[0]!.firstDifference(layout.console);
    return { ...this.fault(change), icount: await consoleIcount(this.tape, offset) };
  }

  private async compareEnds(first: Replay): Promise<Divergence | undefined> {
    const { end, name } = this.tape;
    for (const check of this.consoles) {
      const { bytes, sha256 } = check.result();
      if (bytes === end.console.bytes && sha256 === end.console.sha256) continue;
      const offset = await check.firstDifference(this.tape.layout.console);
      return {
        icount: await consoleIcount(this.tape, offset),
        what: `the console of tape '${name}' differs from byte ${offset} on`,
        expected: `${end.console.bytes} bytes, SHA-256 ${end.console.sha256}`,
        got: `${bytes} bytes, SHA-256 ${sha256}`,
      };
    }
    const expected =
      end.cause === "power-off" ? "guest-shutdown" : end.cause === "reboot" ? "guest-reset" : undefined;
    if (expected !== undefined && first.shutdownReason !== expected) {
      return {
        icount: end.at,
        what: "the machine shut down for another reason",
        expected,
        got: first.shutdownReason,
      };
    }
    return undefined;
  }

  /** The damage of a log as a divergence. */
  fault({ message, facts }: VmtapeError): Divergence {
    const { expected, got } = facts;
    return { icount: icount(facts.icount ?? 0n), what: message, expected, got, damage: true };
  }

  /** The last icount that a failed replay reached. */
  private async locate({ facts }: VmtapeError): Promise<Icount> {
    const seen = icount(facts.icount ?? 0n);
    if (facts.died !== true || seen >= this.target) return seen; // it stands still there
    const { signal } = this.options;
    this.options.onProgress?.({ doing: "narrowing down", done: Number(seen), unit: "instructions" });
    return breakingPoint(seen, this.target, this.open.probe, signal);
  }

  private async describe(error: VmtapeError): Promise<Divergence> {
    const at = await this.locate(error);
    return {
      icount: at,
      what: error.message,
      expected: await nextEvent(this.tape, at),
      got: error.facts.got,
    };
  }

  report(divergence: Divergence | undefined, cause = "unknown"): VerifyReport {
    return {
      ok: divergence === undefined,
      icount: divergence?.icount ?? this.tape.end.at,
      console: this.consoles[0]!.result(),
      cause,
      states: this.states,
      ...(this.stream && { branches: this.stream }),
      seconds: Math.round(performance.now() - this.startedAt) / 1000,
      ...(divergence && { divergence }),
    };
  }
}

/** Hashes a replay's console output, and keeps its beginning. */
class ConsoleCheck {
  private readonly hash: Hash = createHash("sha256");
  private bytes = 0;
  private kept: Buffer[] = [];

  add(bytes: Uint8Array): void {
    this.hash.update(bytes);
    if (this.bytes < keptConsoleBytes) this.kept.push(Buffer.from(bytes));
    this.bytes += bytes.length;
  }

  result(): { bytes: number; sha256: string } {
    return { bytes: this.bytes, sha256: this.hash.copy().digest("hex") };
  }

  /** The offset of the first byte that differs from the recorded console, as far as the output was kept. */
  async firstDifference(recordedPath: string): Promise<number> {
    const recorded = await readHead(recordedPath, keptConsoleBytes, noLinks).catch(() => new Uint8Array());
    const got = Buffer.concat(this.kept);
    const shorter = Math.min(recorded.length, got.length);
    for (let i = 0; i < shorter; i++) if (recorded[i] !== got[i]) return i;
    return shorter;
  }
}

const keptConsoleBytes = 16 << 20;
