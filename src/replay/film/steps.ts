import type { Stoppable } from "../../base/run-context.js";
import { throwIfAborted } from "../../base/stopping.js";
import { type Icount, icount } from "../../base/units.js";
import type { CountedSession } from "../session/counted-session.js";
import type { EventInstants } from "../session/event-instants.js";
import { unsureIndex } from "./doubt.js";
import { FilmMemory } from "./memory.js";
import { type Step, stepsOf } from "./step.js";
import { takeFilm } from "./take.js";

export interface StepsOptions extends Stoppable {
  readonly from: Icount;
  /** The last step ends at the first instant of this icount. */
  readonly to: Icount;
  /** Also film reads of memory. Default false. */
  readonly reads?: boolean;
  /** Also give the bytes before each access, as far as they are known. Default false. */
  readonly before?: boolean;
  /** Called now and then with the icount up to which everything was filmed. */
  readonly onProgress?: (at: Icount) => void;
}

/** How many instructions one film has. */
const filmed = 50_000n;

/**
 * All steps between two icounts, in order. They are filmed piece by piece, so that the memory needed does not depend
 * on the distance.
 *
 * @param start makes a session that stands at an icount; this function disposes of it
 * @param events the events at which devices may write to memory
 */
export async function* steps(
  start: (at: Icount) => Promise<CountedSession>,
  events: EventInstants,
  options: StepsOptions,
): AsyncGenerator<Step> {
  const { from, to, reads = false, before = false, signal } = options;
  if (to <= from) return;
  await using session = await start(from);
  await using anchor = before ? await start(from) : undefined;
  for (let at: bigint = from; at < to; at += filmed) {
    throwIfAborted(signal);
    const end = icount(at + filmed < to ? at + filmed : to);
    const film = await takeFilm(session, { to: end, reads, signal });
    options.onProgress?.(end);
    const first = film.from;
    if (anchor && anchor.position.icount < first.icount) {
      await anchor.runTo({ icount: first.icount, pc: first.pc }, signal);
    }
    const memory =
      anchor &&
      new FilmMemory(
        film,
        (address, length) => anchor.readPhysical(address, length),
        unsureIndex(film, events),
      );
    yield* stepsOf(film, memory);
  }
}
