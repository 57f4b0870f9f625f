import type { ByteSource } from "../base/byte-source.js";
import { throwIfAborted, type VmtapeError } from "../base/errors.js";
import { type Icount, icount } from "../base/units.js";
import type { ReplayLogDialect } from "./replay-log-dialect.js";
import { encodeLogHeader, ReplayLogEncoder } from "./replay-log-encoder.js";
import { type EventKind, kindCodes, kindLayouts, logHeader } from "./replay-log-layout.js";
import { type LogEnding, ReplayLogScanner, readLogHeader } from "./replay-log-scanner.js";

/**
 * Planning the repair of a log whose QEMU did not exit cleanly (`kill -9`, a full disk): which of its bytes to
 * keep, and which to put behind them, so that a plain QEMU replays it to that point and exits by itself.
 *
 * **The rule.** The log is kept up to its last whole `instruction` event, and that run is made one shorter. In
 * the reader's terms the replay stops between two instructions of which all is known.
 *
 * Why not after the last whole event? QEMU writes an `instruction` event before any other event, with the
 * instructions executed until then, and the last of them may be what caused the events that follow: `out` to a
 * serial port needs a `char-write` (replay without it dies: "Missing character write event in the replay log"),
 * a virtqueue kick may need several, a timer run after a checkpoint may need one, and random numbers and audio
 * are the same. Nothing in the log says how many belong together, but the next `instruction` event says that
 * there were no more. So what follows the last whole `instruction` event may be incomplete, and its own last
 * instruction may need an event that was lost; no instruction before that one does.
 *
 * The end that is put there is what QEMU's `replay_finish` writes at a clean exit: `shutdown` host-signal, `end`.
 * In replay the first raises QEMU's shutdown request, the second lets nothing else run, and QEMU exits with 0.
 */
export interface RepairPlan {
  /** `whole`: nothing to mend. `header`: only the version word. `tail`: bytes are dropped and an end put there. */
  readonly action: "whole" | "header" | "tail";
  /** How the log, as it is, ends. */
  readonly ending: LogEnding;
  /** Bytes of the file to keep: [0, keep). */
  readonly keep: number;
  /** Whole events in the kept bytes. */
  readonly events: number;
  /** Instructions of the last, shortened run, to be put behind the kept bytes; 0 for none. */
  readonly run: number;
  /** Where the replay of the repaired log ends. */
  readonly icount: Icount;
  /** Bytes all character devices took before that point: what such a replay prints. */
  readonly consoleBytes: bigint;
  /** Is the version word missing? */
  readonly headerMissing: boolean;
  /** Is the end event missing? */
  readonly endMissing: boolean;
  /** What is lost of the file: bytes after `keep`, and the whole events among them (but the shortened run). */
  readonly droppedBytes: number;
  readonly droppedEvents: number;
  /** Why the log is not whole: code `bad-log`. */
  readonly fault?: VmtapeError;
}

/**
 * Finds where a log can be made to end. Scans the whole log once, in constant memory; changes nothing.
 *
 * A log that is cut anywhere, even inside its header, has a plan; a longer cut of the same log never has a plan
 * that ends earlier.
 *
 * @throws VmtapeError `bad-log` for another version word, `cancelled` on abort
 */
export async function planRepair(
  source: ByteSource,
  dialect: ReplayLogDialect,
  options: { readonly signal?: AbortSignal } = {},
): Promise<RepairPlan> {
  if (source.size < logHeader.size) return emptyPlan(source);
  const header = await readLogHeader(source, true);
  const headerMissing = header.version === 0;
  const scanner = await ReplayLogScanner.open(source, dialect, { unfinished: true });
  const { batch } = scanner;
  const writtenAt = 1 + kindLayouts["char-write"].fixed - 4;
  let consoleBytes = 0;
  // The last whole instruction event: its index, place, the icount before it, the console bytes before it.
  let lastRun: { index: number; offset: number; icount: number; consoleBytes: number } | undefined;
  while (await scanner.next()) {
    throwIfAborted(options.signal);
    const { kinds, offsets, icounts, view, base, firstIndex, count } = batch;
    let run = -1;
    let consoleAtRun = 0;
    for (let entry = 0; entry < count; entry++) {
      const code = kinds[entry]!;
      if (code === kindCodes.instruction) {
        run = entry;
        consoleAtRun = consoleBytes;
      } else if (code === kindCodes["char-write"]) {
        consoleBytes += view.getUint32(offsets[entry]! - base + writtenAt);
      }
    }
    if (run < 0) continue;
    lastRun = {
      index: firstIndex + run,
      offset: offsets[run]!,
      icount: icounts[run]!,
      consoleBytes: consoleAtRun,
    };
  }

  const ending = scanner.ending!;
  const endMissing = ending.lastKind !== "end";
  const common = { ending, headerMissing, endMissing, ...(ending.fault && { fault: ending.fault }) };
  const keptWhole = {
    ...common,
    keep: ending.offset,
    events: ending.events,
    run: 0,
    icount: icount(ending.icount),
    consoleBytes: BigInt(consoleBytes),
    droppedBytes: source.size - ending.offset,
    droppedEvents: 0,
  };
  if (ending.state === "ended") return { action: headerMissing ? "header" : "whole", ...keptWhole };
  if (!endMissing || (await nothingIsPending(source, ending, dialect)))
    return { action: "tail", ...keptWhole };
  if (!lastRun) {
    return { ...emptyPlan(source), ...common, droppedEvents: ending.events };
  }
  const runEnd = lastRun.icount + (await runLength(source, lastRun.offset));
  const run = runEnd - lastRun.icount - 1;
  return {
    action: "tail",
    ...common,
    keep: lastRun.offset,
    events: lastRun.index,
    run,
    icount: icount(lastRun.icount + run),
    consoleBytes: BigInt(lastRun.consoleBytes),
    droppedBytes: source.size - lastRun.offset,
    droppedEvents: ending.events - lastRun.index - 1,
  };
}

/**
 * The bytes to put behind the first `plan.keep` bytes: the shortened run, and the end of a clean exit. Empty
 * when the plan's log has its end already.
 */
export function repairedTail(plan: RepairPlan, dialect: ReplayLogDialect): Uint8Array {
  const encoder = new ReplayLogEncoder(dialect, 64);
  if (plan.run > 0) encoder.add({ kind: "instruction", count: plan.run });
  if (plan.endMissing) {
    if (plan.ending.lastKind !== "shutdown" || plan.keep !== plan.ending.offset) {
      encoder.add({ kind: "shutdown", cause: "host-signal" });
    }
    encoder.add({ kind: "end" });
  }
  return encoder.take();
}

/** The header of a whole log: the 12 bytes to write at offset 0, last of all, as QEMU does. */
export function repairHeader(): Uint8Array {
  return encodeLogHeader();
}

/** Kinds after which, or before which, no event of the same instruction can be missing. */
const closingKind: EventKind = "shutdown";

/**
 * Is the group of events the log stops in known to be whole? It is when the byte after the last whole event
 * begins another `instruction` event, or when that last event is the order to stop.
 */
async function nothingIsPending(
  source: ByteSource,
  ending: LogEnding,
  dialect: ReplayLogDialect,
): Promise<boolean> {
  if (ending.lastKind === closingKind) return true;
  if (ending.state !== "cut" || ending.icount === 0) return false;
  const next = new Uint8Array(1);
  const length = await source.read(ending.offset, next);
  return length === 1 && next[0] === dialect.bytes.instruction;
}

async function runLength(source: ByteSource, offset: number): Promise<number> {
  const event = new Uint8Array(1 + kindLayouts.instruction.fixed);
  await source.read(offset, event);
  return new DataView(event.buffer).getUint32(1);
}

/** The plan of a log in which no instruction is known to have run: a header and an end. */
function emptyPlan(source: ByteSource): RepairPlan {
  return {
    action: "tail",
    ending: { state: "cut", offset: Math.min(source.size, logHeader.size), icount: 0, events: 0 },
    keep: Math.min(source.size, logHeader.size),
    events: 0,
    run: 0,
    icount: icount(0),
    consoleBytes: 0n,
    headerMissing: true,
    endMissing: true,
    droppedBytes: Math.max(0, source.size - logHeader.size),
    droppedEvents: 0,
  };
}
