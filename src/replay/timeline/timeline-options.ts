import { chooseQemu } from "../../qemu/choose.js";
import { buildPlugin } from "../../qemu/plugin-build.js";
import type { Places } from "../../tape/home.js";
import type { Tape } from "../../tape/tape.js";
import { TapeIndex } from "../index/tape-index.js";
import { tapeCache } from "../session/tape-cache.js";
import type { TimelineOptions } from "./timeline.js";

/**
 * What a timeline of a tape needs: the plugin, which is built when it is missing, and the tape's checkpoints, which
 * are looked up anew each time, because other processes may add some.
 *
 * @throws everything `chooseQemu` and `buildPlugin` throw
 */
export async function timelineOptions(
  places: Places,
  tape: Tape,
  options: Pick<TimelineOptions, "qemu" | "debug" | "onProgress"> = {},
): Promise<TimelineOptions & { readonly cache: string }> {
  const { version } = tape.manifest.qemu;
  const build = await chooseQemu(tape.manifest.qemu, options.qemu);
  const cache = tapeCache(places, tape);
  const index = await TapeIndex.open(cache, build);
  return {
    ...options,
    plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: version }),
    cache,
    checkpoints: async () => {
      await index.refresh();
      return index.checkpoints;
    },
  };
}
