import type { Icount } from "../../base/units.js";
import { filmRecordId } from "../../formats/film-stream.js";
import type { CountedSession } from "../session/counted-session.js";
import type { Instant } from "../session/timeline-types.js";
import { FilmBuilder } from "./builder.js";
import type { Film } from "./film.js";

export interface TakeOptions {
  /** The icount at which the film ends, at its first instant. */
  readonly to: Icount;
  /** Also film reads of memory. Default false. */
  readonly reads?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a session from where it stands to an icount, and films the way. The session then stands there.
 *
 * @throws `cancelled`: the session then stands somewhere on the way; `inexact`; everything `Session.runTo` throws
 */
export async function takeFilm(
  session: CountedSession,
  { to, reads = false, signal }: TakeOptions,
): Promise<Film> {
  const builder = new FilmBuilder(await session.shot());
  await runFilmed(
    session,
    reads ? "accesses" : "writes",
    { icount: to },
    (piece) => builder.add(piece),
    signal,
  );
  return builder.end(await session.shot());
}

/** Runs a session to an instant, and passes on the stream of its film, piece by piece. */
export async function runFilmed(
  session: CountedSession,
  what: Exclude<Parameters<CountedSession["film"]>[0], "off">,
  to: Instant,
  onPiece: (bytes: Uint8Array) => void,
  signal?: AbortSignal,
): Promise<void> {
  let failure: unknown;
  const unlisten = session.onHits((batch) => {
    try {
      for (let i = 0; i < batch.length; i++) {
        if (batch.id(i) === filmRecordId) for (const { bytes } of batch.pieces(i)) onPiece(bytes);
      }
    } catch (error) {
      failure ??= error;
    }
  });
  try {
    await session.film(what);
    try {
      await session.runTo(to, signal);
    } finally {
      await session.film("off");
    }
    await session.settled();
  } finally {
    unlisten();
  }
  if (failure) throw failure;
}
