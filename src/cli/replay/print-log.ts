import { once } from "node:events";
import { openFileSource } from "../../base/byte-source.js";
import { throwIfAborted } from "../../base/stopping.js";
import type { ReplayLogDialect } from "../../formats/replay-log-dialect.js";
import { guessDialect, parseKinds, readEventLists } from "../../formats/replay-log-reader.js";
import { type LogSummary, summarizeLog } from "../../formats/replay-log-summary.js";
import { eventToJson, formatEvent } from "../../formats/replay-log-text.js";
import type { TapeOptions } from "../shell/options.js";
import { grouped, say, sayFacts, size, toJson } from "../shell/output.js";

/** Options of `vmtape log`. */
export interface LogFlags extends TapeOptions {
  readonly summary?: boolean;
  readonly from?: bigint;
  readonly to?: bigint;
  readonly kind?: readonly string[];
}

/** The path of a log, and its dialect if a manifest tells it. */
export interface LogPlace {
  readonly path: string;
  readonly dialect?: ReplayLogDialect;
  /** The recording is running, or was killed: the log has no version word yet. */
  readonly unfinished: boolean;
}

/** Prints a log's events, or its summary. */
export async function printLog(place: LogPlace, options: LogFlags, signal: AbortSignal): Promise<void> {
  const kinds = options.kind && parseKinds(options.kind);
  await using source = await openFileSource(place.path);
  const { unfinished } = place;
  const dialect: ReplayLogDialect = place.dialect ?? (await guessDialect(source, { unfinished: true }));
  if (options.summary) {
    const summary = await summarizeLog(source, dialect, { signal });
    return options.json ? say(toJson(summary)) : saySummary(place.path, summary);
  }
  const render = options.json
    ? (event: Parameters<typeof formatEvent>[0]) => toJson(eventToJson(event))
    : formatEvent;
  const lists = readEventLists(source, dialect, {
    unfinished,
    signal,
    ...(options.from !== undefined && { from: options.from }),
    ...(options.to !== undefined && { to: options.to }),
    ...(kinds && { kinds }),
  });
  for await (const list of lists) {
    const text = `${list.map(render).join("\n")}\n`;
    // Waits for a slow reader of the output, so that a long log is not kept in memory.
    if (!process.stdout.write(text)) await once(process.stdout, "drain", { signal }).catch(() => {});
    throwIfAborted(signal);
  }
}

function saySummary(path: string, summary: LogSummary): void {
  sayFacts({
    log: path,
    state: summary.state,
    bytes: `${size(summary.bytes)}, ${((summary.bytes / Number(summary.icount || 1n)) * 1000).toFixed(3)} a thousand instructions`,
    events: grouped(summary.events),
    instructions: grouped(summary.icount),
    console: `${grouped(summary.consoleBytes)} bytes`,
    shutdown: summary.shutdown && `${summary.shutdown.cause} at @${summary.shutdown.icount}`,
    storms: summary.storms.map(describeStorm).join("; ") || undefined,
    fault: summary.ending.fault?.message,
  });
  say();
  say(`${"kind".padEnd(30)}${"events".padStart(12)}${"bytes".padStart(14)}${"mean distance".padStart(18)}`);
  for (const { kind, events, bytes, meanDistance } of summary.kinds) {
    say(
      `${kind.padEnd(30)}${grouped(events).padStart(12)}${grouped(bytes).padStart(14)}${grouped(Math.round(meanDistance)).padStart(18)}`,
    );
  }
}

function describeStorm({ kind, events, from, to, meanDistance }: LogSummary["storms"][number]): string {
  return `${grouped(events)} ${kind} events, ${meanDistance.toFixed(0)} instructions apart, @${from} to @${to}`;
}
