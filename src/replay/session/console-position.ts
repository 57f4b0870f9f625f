import { openFileSource } from "../../base/byte-source.js";
import { noLinks } from "../../base/regular-file.js";
import { type Icount, icount } from "../../base/units.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { readReplayLog } from "../../formats/replay-log-reader.js";
import type { Tape } from "../../tape/tape.js";

/**
 * The icount at which the guest printed byte `offset` of its console. The log has an event for each write to the
 * serial line.
 */
export async function consoleIcount(tape: Tape, offset: number): Promise<Icount> {
  for await (const piece of consolePieces(tape)) {
    if (offset < piece.offset + piece.length) return piece.at;
  }
  return tape.end.at;
}

/** Bytes of the console that were printed at one instant. */
export interface ConsolePiece {
  readonly at: Icount;
  /** The offset of the piece's first byte in `console.raw`. */
  readonly offset: number;
  readonly length: number;
}

/** The console's pieces in order, with their icounts. */
export async function* consolePieces(tape: Tape): AsyncGenerator<ConsolePiece> {
  await using source = await openFileSource(tape.layout.log, noLinks);
  const dialect = dialectFor(tape.manifest.qemu.version);
  let offset = 0;
  for await (const event of readReplayLog(source, dialect, { kinds: new Set(["char-write"]) })) {
    if (event.kind !== "char-write") continue;
    const length = event.written;
    yield { at: icount(event.icount), offset, length };
    offset += length;
  }
}
