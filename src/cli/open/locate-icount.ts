import type { Icount } from "../../base/units.js";
import type { WrittenPosition } from "../../replay/session/position.js";
import type { Tape } from "../../tape/tape.js";
import { contextFor, placesOf, type TapeOptions } from "../shell/options.js";
import type { Progress } from "../shell/progress.js";

/** The icount of a written position. */
export async function icountOf(
  tape: Tape,
  wanted: WrittenPosition,
  flags: TapeOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Icount> {
  const [{ locate }, { buildPlugin }, { TapeIndex }, { tapeCache }] = await Promise.all([
    import("../../replay/timeline/locate.js"),
    import("../../qemu/plugin-build.js"),
    import("../../replay/index/tape-index.js"),
    import("../../replay/session/tape-cache.js"),
  ]);
  const places = placesOf(flags);
  const cache = tapeCache(places, tape);
  const shared = contextFor(flags, signal, progress);
  const isPlace = wanted.kind === "symbol" || wanted.kind === "address";
  const plugin = isPlace
    ? await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version })
    : "";
  const symbols =
    wanted.kind === "symbol"
      ? await import("../../linux/names/tape-symbols.js").then(({ TapeSymbols }) =>
          TapeSymbols.load(tape, { cache, ...shared }),
        )
      : undefined;
  const checkpoints = async () => (await TapeIndex.open(cache, tape.manifest.qemu)).checkpoints;
  const addressOf = symbols && { addressOf: (symbol: string) => symbols.addressOf(symbol) };
  return (await locate(tape, wanted, { plugin, cache, checkpoints, ...addressOf, ...shared })).icount;
}
