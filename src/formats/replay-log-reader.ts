import type { ByteSource } from "../base/byte-source.js";
import { VmtapeError } from "../base/errors.js";
import { throwIfAborted } from "../base/stopping.js";
import type { Icount } from "../base/units.js";
import { dialects, type ReplayLogDialect } from "./replay-log-dialect.js";
import { EventDecoder, type EventPlace, type ReplayEvent } from "./replay-log-event.js";
import {
  type EventKind,
  eventKinds,
  findKind,
  kindLayouts,
  longestHead,
  unfinishedVersion,
} from "./replay-log-layout.js";
import { type EventBatch, type LogEnding, ReplayLogScanner, type ScanOptions } from "./replay-log-scanner.js";

export interface ReadOptions extends ScanOptions {
  /** Events at this icount and later. Default: all. */
  readonly from?: Icount | bigint;
  /** Events up to this icount, those at it included; reading stops there. Default: all. */
  readonly to?: Icount | bigint;
  /** Events of these kinds. Default: all. */
  readonly kinds?: ReadonlySet<EventKind>;
  /** Bytes kept of one event's payload. Default 65536; a longer payload has its true `size`. */
  readonly payloadLimit?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Events in a list of `readEventLists` at most, and the payload bytes after which a list is full. */
const listLimit = { events: 4096, bytes: 1 << 20 };

/**
 * Every event of a log, in order, as objects, in lists of some thousands: constant memory, several million
 * events a second where all are wanted and nearly as fast as the scanner through what a filter drops.
 *
 * The generator returns how the log ended (undefined when reading stopped at `to`).
 *
 * @throws VmtapeError `bad-log` for the header as `readLogHeader`; and, after the last whole event, for a log
 *   that is cut or damaged, with offset, icount and the last whole event. An unfinished log that was asked for
 *   (`unfinished`) may be cut. `cancelled` on abort.
 */
export async function* readEventLists(
  source: ByteSource,
  dialect: ReplayLogDialect,
  options: ReadOptions = {},
): AsyncGenerator<ReplayEvent[], LogEnding | undefined> {
  const scanner = await ReplayLogScanner.open(source, dialect, options);
  const { batch } = scanner;
  const wanted = wantedCodes(options.kinds);
  const payloadLimit = Math.max(0, options.payloadLimit ?? 65536);
  const decoder = new EventDecoder(dialect, payloadLimit);
  const from = Number(options.from ?? 0);
  const to = Number(options.to ?? Number.POSITIVE_INFINITY);
  while (await scanner.next()) {
    throwIfAborted(options.signal);
    const { kinds, icounts, count } = batch;
    let list: ReplayEvent[] = [];
    let bytes = 0;
    let past = false;
    for (let entry = 0; entry < count && !past; entry++) {
      const at = icounts[entry]!;
      past = at > to;
      if (past || wanted[kinds[entry]!] === 0 || at < from) continue;
      const event = isWhole(batch, entry)
        ? eventAt(batch, entry, decoder)
        : await longEventAt(source, batch, entry, decoder, payloadLimit);
      list.push(event);
      bytes += Math.min(event.length, payloadLimit);
      if (list.length === listLimit.events || bytes > listLimit.bytes) {
        yield list;
        list = [];
        bytes = 0;
      }
    }
    if (list.length > 0) yield list;
    if (past) return undefined;
  }
  const ending = scanner.ending!;
  const allowed =
    ending.state === "cut" && options.unfinished && scanner.header.version === unfinishedVersion;
  if (ending.fault && !allowed) throw ending.fault;
  return ending;
}

/** Every event of a log, one by one: `readEventLists` for callers that do not count microseconds. */
export async function* readReplayLog(
  source: ByteSource,
  dialect: ReplayLogDialect,
  options: ReadOptions = {},
): AsyncGenerator<ReplayEvent, LogEnding | undefined> {
  const lists = readEventLists(source, dialect, options);
  for (;;) {
    const step = await lists.next();
    if (step.done) return step.value;
    yield* step.value;
  }
}

/** The event of one entry of a batch; of a payload that reaches past `batch.view` only what lies in it. */
export function eventAt(batch: EventBatch, entry: number, decoder: EventDecoder): ReplayEvent {
  return decoder.decode(batch.view, batch.offsets[entry]! - batch.base, placeOf(batch, entry));
}

async function longEventAt(
  source: ByteSource,
  batch: EventBatch,
  entry: number,
  decoder: EventDecoder,
  payloadLimit: number,
): Promise<ReplayEvent> {
  const place = placeOf(batch, entry);
  const bytes = new Uint8Array(Math.min(place.length, longestHead + payloadLimit));
  const length = await source.read(place.offset, bytes);
  return decoder.decode(new DataView(bytes.buffer, 0, length), 0, place);
}

function placeOf(batch: EventBatch, entry: number): EventPlace {
  const offset = batch.offsets[entry]!;
  return {
    index: batch.firstIndex + entry,
    offset,
    length: batch.offsets[entry + 1]! - offset,
    icount: BigInt(batch.icounts[entry]!) as Icount,
  };
}

function isWhole(batch: EventBatch, entry: number): boolean {
  return batch.offsets[entry + 1]! - batch.base <= batch.view.byteLength;
}

function wantedCodes(kinds: ReadonlySet<EventKind> | undefined): Uint8Array {
  return Uint8Array.from(eventKinds, (kind) => (kinds === undefined || kinds.has(kind) ? 1 : 0));
}

/**
 * The dialect of a log that comes without the version of its QEMU: the one whose reading gets furthest without
 * a fault, in the first `span` bytes; the newer one when nothing tells them apart. Reads at most `span` bytes
 * a dialect; a wrong dialect shows within the first few events of a real log.
 *
 * @throws VmtapeError `bad-log` for the header, as `readLogHeader`
 */
export async function guessDialect(
  source: ByteSource,
  options: { readonly unfinished?: boolean; readonly span?: number } = {},
): Promise<ReplayLogDialect> {
  const span = options.span ?? 1 << 20;
  let best: ReplayLogDialect | undefined;
  let furthest = -1;
  for (const dialect of dialects) {
    const scanner = await ReplayLogScanner.open(source, dialect, { ...options, bufferSize: 65536 });
    let reached = 0;
    while (reached < span && (await scanner.next())) {
      reached = scanner.batch.offsets[scanner.batch.count]!;
    }
    // A whole log beats all; of two that read to the same place, the earlier in the list wins.
    const score = scanner.ending?.state === "ended" ? Number.POSITIVE_INFINITY : Math.min(reached, span);
    if (score > furthest) {
      furthest = score;
      best = dialect;
    }
  }
  return best!;
}

/** The kinds named, checked. @throws VmtapeError `usage` with the known names */
export function parseKinds(names: readonly string[]): ReadonlySet<EventKind> {
  const kinds = new Set<EventKind>();
  for (const name of names) {
    const kind = findKind(name);
    if (!kind) {
      throw new VmtapeError("usage", `${JSON.stringify(name.slice(0, 60))} is not an event kind`, {
        expected: Object.keys(kindLayouts).join(", "),
        got: name.slice(0, 60),
      });
    }
    kinds.add(kind);
  }
  return kinds;
}
