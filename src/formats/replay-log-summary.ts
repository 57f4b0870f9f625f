import type { ByteSource } from "../base/byte-source.js";
import { throwIfAborted } from "../base/stopping.js";
import { type Icount, icount } from "../base/units.js";
import type { ReplayLogDialect, ShutdownCause } from "./replay-log-dialect.js";
import { type EventKind, eventKinds, kindLayouts } from "./replay-log-layout.js";
import { type EventBatch, type LogEnding, ReplayLogScanner } from "./replay-log-scanner.js";

/** Everything a log says in numbers. Totals are of whole events. */
export interface LogSummary {
  readonly dialect: ReplayLogDialect["id"];
  /** 0xe0200c, or 0 in an unfinished log. */
  readonly version: number;
  readonly bytes: number;
  readonly events: number;
  /** Instructions executed at the end of the last whole event. */
  readonly icount: Icount;
  /** `whole`: version word and end event are there. `unfinished`: the word is missing. Else as the ending. */
  readonly state: "whole" | "unfinished" | "cut" | "damaged";
  readonly ending: LogEnding;
  /** The kinds that occur, most events first. */
  readonly kinds: readonly KindTotal[];
  /** Bytes all character devices took. */
  readonly consoleBytes: bigint;
  /** The first order to stop, if there is one: a replay ends there or shortly after. */
  readonly shutdown?: { readonly icount: Icount; readonly cause: ShutdownCause };
  /** Stretches in which one kind comes every few instructions: they make a log long and its replay slow. */
  readonly storms: readonly Storm[];
}

export interface KindTotal {
  readonly kind: EventKind;
  readonly events: number;
  readonly bytes: number;
  /** Mean number of instructions from one such event to the next, over the whole log. */
  readonly meanDistance: number;
}

/** The longest stretch of events of one kind, each at most `stormDistance` instructions after the one before. */
export interface Storm {
  readonly kind: EventKind;
  readonly from: Icount;
  readonly to: Icount;
  readonly events: number;
  readonly meanDistance: number;
}

/** Instructions between events of a storm at most: a spinning guest's loops leave 10 to 100. */
export const stormDistance = 256;
/** Events a stretch must have to be called a storm. */
export const stormEvents = 1000;

/**
 * Sums up a log of any size in constant memory, at about half the scanner's speed. Damage and a missing end are
 * part of the answer, not errors.
 *
 * @throws VmtapeError `bad-log` for the header (another version, too short), `cancelled` on abort
 */
export async function summarizeLog(
  source: ByteSource,
  dialect: ReplayLogDialect,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<LogSummary> {
  const scanner = await ReplayLogScanner.open(source, dialect, { unfinished: true });
  const totals = new Totals();
  let shutdown: LogSummary["shutdown"];
  const { batch } = scanner;
  while (await scanner.next()) {
    throwIfAborted(options.signal);
    const stop = totals.add(batch);
    if (stop < 0 || shutdown) continue;
    const byte = batch.view.getUint8(batch.offsets[stop]! - batch.base);
    shutdown = {
      icount: icount(batch.icounts[stop]!),
      cause: dialect.causes[byte - dialect.bytes.shutdown]!,
    };
  }
  const ending = scanner.ending!;
  const { version } = scanner.header;
  return {
    dialect: dialect.id,
    version,
    bytes: source.size,
    events: ending.events,
    icount: icount(ending.icount),
    state: ending.state !== "ended" ? ending.state : version === 0 ? "unfinished" : "whole",
    ending,
    kinds: totals.kinds(ending.icount),
    consoleBytes: BigInt(totals.consoleBytes),
    ...(shutdown && { shutdown }),
    storms: totals.storms(),
  };
}

/** Place of the u32 `written` in a char-write event. */
const writtenAt = 1 + kindLayouts["char-write"].fixed - 4;

/** Kinds that need a look at more than their place: 1 where the length varies, 2 char-write, 3 shutdown. */
const looks = Uint8Array.from(eventKinds, (kind) => {
  if (kind === "char-write") return 2;
  if (kind === "shutdown") return 3;
  return "rest" in kindLayouts[kind] ? 1 : 0;
});

/** Running totals in columns, one entry a kind. A stretch is a run of events at most `stormDistance` apart. */
class Totals {
  consoleBytes = 0;
  private readonly events = new Float64Array(eventKinds.length);
  /** Bytes of the kinds whose length varies. */
  private readonly variableBytes = new Float64Array(eventKinds.length);
  /** Where a kind's last event was, where its present stretch began, and how many events came before that. */
  private readonly last = new Float64Array(eventKinds.length).fill(Number.NEGATIVE_INFINITY);
  private readonly begun = new Float64Array(eventKinds.length);
  private readonly eventsBefore = new Float64Array(eventKinds.length);
  /** The longest stretch of a kind that has ended. */
  private readonly longest = new Float64Array(eventKinds.length);
  private readonly longestFrom = new Float64Array(eventKinds.length);
  private readonly longestTo = new Float64Array(eventKinds.length);

  /** Adds a batch. @returns the first `shutdown` entry in it, or -1 */
  add({ count, kinds, offsets, icounts, view, base }: EventBatch): number {
    const { events, last } = this;
    let stop = -1;
    for (let entry = 0; entry < count; entry++) {
      const code = kinds[entry]!;
      const at = icounts[entry]!;
      if (at - last[code]! > stormDistance) this.beginStretch(code, at);
      last[code] = at;
      events[code]!++;
      const look = looks[code]!;
      if (look === 0) continue;
      const offset = offsets[entry]!;
      if (look === 1) this.variableBytes[code]! += offsets[entry + 1]! - offset;
      else if (look === 2) this.consoleBytes += view.getUint32(offset - base + writtenAt);
      else if (stop < 0) stop = entry;
    }
    return stop;
  }

  kinds(total: number): KindTotal[] {
    return eventKinds
      .map((kind, code) => {
        const events = this.events[code]!;
        const bytes = looks[code] === 1 ? this.variableBytes[code]! : events * (1 + kindLayouts[kind].fixed);
        return { kind, events, bytes, meanDistance: total / Math.max(1, events) };
      })
      .filter(({ events }) => events > 0)
      .sort((one, other) => other.events - one.events);
  }

  storms(): Storm[] {
    return eventKinds
      .map((kind, code) => {
        this.endStretch(code);
        const events = this.longest[code]!;
        const from = this.longestFrom[code]!;
        const to = this.longestTo[code]!;
        const meanDistance = (to - from) / Math.max(1, events - 1);
        return { kind, from: icount(from), to: icount(to), events, meanDistance };
      })
      .filter(({ kind, events }) => events >= stormEvents && kind !== "instruction")
      .sort((one, other) => other.events - one.events);
  }

  private beginStretch(code: number, at: number): void {
    this.endStretch(code);
    this.begun[code] = at;
    this.eventsBefore[code] = this.events[code]!;
  }

  private endStretch(code: number): void {
    const length = this.events[code]! - this.eventsBefore[code]!;
    if (length <= this.longest[code]!) return;
    this.longest[code] = length;
    this.longestFrom[code] = this.begun[code]!;
    this.longestTo[code] = this.last[code]!;
  }
}
