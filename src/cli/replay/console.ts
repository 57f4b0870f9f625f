import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { errnoOf, fileError } from "../../base/errors.js";
import { noLinks, openRegular } from "../../base/regular-file.js";
import { throwIfAborted } from "../../base/stopping.js";
import { placesOf, type TapeOptions, tapeCommand } from "../shell/options.js";
import { say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

interface ConsoleFlags extends TapeOptions {
  readonly speed: number;
  readonly raw?: boolean;
}

export function consoleCommand(): Command {
  return tapeCommand("console", "play a tape's console back, at the speed it was recorded")
    .option("--speed <factor>", "times faster than recorded", factor, 1)
    .option("--raw", "print it all at once, byte for byte")
    .action(
      action(async ({ signal }, name: string, options: ConsoleFlags) => {
        const { Tape } = await import("../../tape/tape.js");
        const tape = await Tape.open(placesOf(options), name, options.dir);
        if (options.json) {
          const { consolePieces } = await import("../../replay/session/console-position.js");
          tape.requireComplete();
          for await (const { at, offset, length } of consolePieces(tape))
            say(toJson({ icount: at, offset, length }));
          return;
        }
        if (options.raw) return pipeRaw(tape.layout.console, signal);
        await play(tape.layout.consoleCast, options.speed, signal);
      }),
    );
}

async function pipeRaw(path: string, signal: AbortSignal): Promise<void> {
  const { pipeline } = await import("node:stream/promises");
  const input = (await openRegular(path, noLinks)).createReadStream();
  await pipeline(input, process.stdout, { end: false, signal }).catch((error) => {
    throwIfAborted(signal);
    if (errnoOf(error) === "EPIPE") return; // the reader of the output has left
    throw fileError(error, path, "reading");
  });
}

/** Prints `[seconds, "o", text]` lines of an asciicast when they are due. */
async function play(path: string, speed: number, signal: AbortSignal): Promise<void> {
  const startedAt = performance.now();
  const input = (await openRegular(path, noLinks)).createReadStream();
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    throwIfAborted(signal);
    const event = parseLine(line);
    if (!event) continue;
    const due = (event.seconds * 1000) / speed - (performance.now() - startedAt);
    if (due > 1) await delay(due, undefined, { signal }).catch(() => {});
    if (!signal.aborted) process.stdout.write(event.text);
  }
}

function parseLine(line: string): { seconds: number; text: string } | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (!Array.isArray(value)) return undefined;
    const [seconds, kind, text] = value as unknown[];
    return typeof seconds === "number" && kind === "o" && typeof text === "string"
      ? { seconds, text }
      : undefined;
  } catch {
    return undefined; // the incomplete last line of a killed recorder
  }
}

function factor(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("it must be a positive number.");
  return value;
}
