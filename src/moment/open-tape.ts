import { join } from "node:path";
import { printable } from "../base/printable.js";
import type { Places, RunContext, Stoppable } from "../base/run-context.js";
import { throwIfCancelled } from "../base/stopping.js";
import { type GuestAddress, guestAddress, icount } from "../base/units.js";
import { TapeSymbols } from "../linux/names/tape-symbols.js";
import { formatPosition, type Position, parsePosition } from "../replay/session/position.js";
import type { Instant } from "../replay/session/timeline-types.js";
import { type LocateOptions, locate } from "../replay/timeline/locate.js";
import { Timeline } from "../replay/timeline/timeline.js";
import { timelineOptions } from "../replay/timeline/timeline-options.js";
import type { VisitLog } from "../replay/timeline/visit-log.js";
import type { Tape } from "../tape/tape.js";
import { Moment } from "./moment.js";

export interface OpenTapeOptions extends RunContext {
  readonly places: Places;
  /** Run back by a branch log of the tape, of this file or else of NAME.branches, where it is. Default: by none. */
  readonly branches?: { readonly file?: string | undefined } | undefined;
  /** See `FilmOptions`. */
  readonly filmBytes?: number | undefined;
}

/**
 * A tape opened to look around in: its names, and a machine that goes to any instant of it. What there is to see at an
 * instant is a {@link Moment}.
 *
 * ```ts
 * await using open = await OpenTape.open(await Tape.open(places, "boot"), { places });
 * const moment = await open.at("do_filp_open");
 * console.log(moment.describe(), await moment.stack());
 * for (const task of await moment.tasks()) console.log(task.pid, task.name);
 * ```
 */
export class OpenTape implements AsyncDisposable {
  readonly tape: Tape;
  readonly symbols: TapeSymbols;
  readonly timeline: Timeline;
  /** The tape's cache (`tapeCache`). */
  readonly cache: string;
  /** What the timeline was opened with. */
  readonly options: LocateOptions;
  private readonly close: () => Promise<void>;

  private constructor(
    tape: Tape,
    symbols: TapeSymbols,
    timeline: Timeline,
    options: LocateOptions & { readonly cache: string },
    close: () => Promise<void>,
  ) {
    this.tape = tape;
    this.symbols = symbols;
    this.timeline = timeline;
    this.cache = options.cache;
    this.options = options;
    this.close = close;
  }

  /**
   * Opens a tape where `at` says, by default at its start. Cost: some 50 ms more than the way there; the first time for a tape
   * a part of a replay, to find where its kernel lies.
   *
   * @param context its signal ends the opening, not what is done with the tape later
   * @param at any position a user may write
   * @throws everything `Timeline.open` and `locate` throw
   */
  static async open(tape: Tape, context: OpenTapeOptions, at?: string): Promise<OpenTape> {
    const written = at === undefined ? undefined : parsePosition(at); // a mistake is told before anything takes time
    const { signal, places, branches, filmBytes } = context;
    const { qemu, debug, onProgress } = context;
    const options = await timelineOptions(places, tape, { qemu, debug, onProgress });
    const visits = branches && (await visitsOf(tape, branches.file, options.cache));
    let timeline: Timeline | undefined;
    const close = async () => {
      await timeline?.[Symbol.asyncDispose]();
      await visits?.[Symbol.asyncDispose]();
    };
    try {
      const symbols = await TapeSymbols.load(tape, { ...options, signal });
      const from = written
        ? await locate(tape, written, { ...options, addressOf: (one) => symbols.addressOf(one), signal })
        : { icount: icount(0) };
      timeline = await Timeline.open(tape, { ...options, visits, from, filmBytes, signal });
      return new OpenTape(tape, symbols, timeline, options, close);
    } catch (error) {
      await close();
      throw error;
    }
  }

  /**
   * What there is at an instant. The timeline stands there then, and whatever is asked of the moment is asked there.
   *
   * @param place a position as a user writes it: `start`, `end`, `@ICOUNT`, `SYMBOL[:BRCTR]`, `0xADDR[:BRCTR[/REP]]`; or an
   *   instant
   * @throws `cancelled`; everything {@link locate} and `Timeline.goTo` throw
   */
  async at(place: string | Instant, { signal }: Stoppable = {}): Promise<Moment> {
    const instant = typeof place === "string" ? await this.locate(place, { signal }) : place;
    throwIfCancelled(await this.timeline.goTo(instant, signal));
    return this.now();
  }

  /** What there is where the timeline stands. */
  now(): Moment {
    return new Moment(this);
  }

  /** The instant that a written position means. @throws as `locate` of the replay */
  locate(text: string, { signal }: Stoppable = {}): Promise<Instant> {
    const addressOf = (symbol: string) => this.symbols.addressOf(symbol);
    return locate(this.tape, parsePosition(text), { ...this.options, addressOf, signal });
  }

  /** A position as it is printed, its place by name. */
  describe(position: Position): string {
    return printable(formatPosition(position, this.symbols.describe(position.pc)));
  }

  /**
   * The address a user wrote: a number, a symbol, or a symbol and an offset (`jiffies+8`).
   *
   * @throws `not-found` with the nearest names
   */
  addressOf(text: string): GuestAddress {
    if (/^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(text)) return guestAddress(BigInt(text));
    const [, name = text, offset = "0"] = /^(.+)\+(0x[0-9a-f]{1,16}|\d{1,10})$/i.exec(text) ?? [];
    return guestAddress(this.symbols.addressOf(name) + BigInt(offset));
  }

  /** Ends its machines. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function visitsOf(
  tape: Tape,
  file: string | undefined,
  cache: string,
): Promise<(VisitLog & AsyncDisposable) | undefined> {
  const { openVisits } = await import("../trace/branch-visits.js");
  return openVisits(file, tape.name, tape.manifest.id, join(cache, "visits"));
}
