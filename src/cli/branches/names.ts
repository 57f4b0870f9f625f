import { join } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import type { Symbols } from "../../symbols/names/symbols.js";
import type { Tape } from "../../tape/tape.js";
import type { BranchReader } from "../../trace/branch-reader.js";
import { contextFor, placesOf } from "../shell/options.js";
import { note } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import type { NameFlags } from "./flags.js";

/**
 * The symbols for a file of branches: those of its tape, and of files that the user named. Prints a note when there
 * are none.
 *
 * @throws what loading a named file or tape throws
 */
export async function loadNames(
  reader: BranchReader,
  flags: NameFlags,
  signal: AbortSignal,
): Promise<Symbols | undefined> {
  const [{ Symbols }, { loadSymbolSource }, { parseSymbolSource }] = await Promise.all([
    import("../../symbols/names/symbols.js"),
    import("../../symbols/names/load-source.js"),
    import("../../symbols/names/symbol-source-spec.js"),
  ]);
  const tape = await findTape(reader, flags);
  const symbols = tape ? await tapeSymbols(tape, flags, signal) : new Symbols();
  const cache = join(placesOf(flags).cache, "symbols");
  for (const text of flags.symbols ?? []) {
    symbols.add({ ...loadSymbolSource(parseSymbolSource(text), { cache }), priority: namedPriority });
  }
  for (const file of flags.user ?? []) {
    symbols.add({ ...loadSymbolSource({ file, prefix: "User:" }, { cache }), priority: namedPriority });
  }
  if (symbols.sources.length > 0) return symbols;
  note("no names: the file's tape is not in the home; name it with --tape, or files with --symbols");
  return undefined;
}

/** Names of files on the command line go before the tape's. */
const namedPriority = 100;

/** The tape that the user named, which must be the file's; otherwise the file's tape, if it is in the home. */
export async function findTape(reader: BranchReader, flags: NameFlags): Promise<Tape | undefined> {
  const [{ Tape }, { tapeNames }] = await Promise.all([
    import("../../tape/tape.js"),
    import("../../tape/home.js"),
  ]);
  const places = placesOf(flags);
  const { tape: id, file } = reader.info;
  if (flags.tape !== undefined || flags.dir !== undefined) {
    const tape = await Tape.open(places, flags.tape ?? "tape", flags.dir);
    if (id === undefined || id === tape.manifest.id) return tape;
    throw new VmtapeError("bad-file", `${file} is the branch log of another tape than ${tape.name}`, {
      file,
      expected: tape.manifest.id,
      got: id,
    });
  }
  if (id === undefined) return undefined;
  for (const name of await tapeNames(places).catch(() => [])) {
    const tape = await Tape.open(places, name).catch(() => undefined);
    if (tape?.manifest.id === id) return tape;
  }
  return undefined;
}

async function tapeSymbols(tape: Tape, flags: NameFlags, signal: AbortSignal): Promise<Symbols> {
  const [{ TapeSymbols }, { tapeCache }] = await Promise.all([
    import("../../linux/names/tape-symbols.js"),
    import("../../replay/session/tape-cache.js"),
  ]);
  using progress = new Progress();
  const loaded = await TapeSymbols.load(tape, {
    cache: tapeCache(placesOf(flags), tape),
    ...contextFor(flags, signal, progress),
  });
  return loaded.symbols;
}

/** The UUID a log must have, when a tape was named. */
export async function wantedTape(flags: NameFlags): Promise<{ readonly tape?: string }> {
  if (flags.tape === undefined) return {};
  const { Tape } = await import("../../tape/tape.js");
  return { tape: (await Tape.open(placesOf(flags), flags.tape, flags.dir)).manifest.id };
}
