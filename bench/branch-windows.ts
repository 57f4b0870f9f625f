import { icount } from "../src/base/units.js";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import { TapeIndex } from "../src/replay/index/tape-index.js";
import { Session } from "../src/replay/session/session.js";
import { tapeCache } from "../src/replay/session/tape-cache.js";
import { placesFrom } from "../src/tape/home.js";
import { Tape } from "../src/tape/tape.js";
import { collectTrace } from "../src/trace/collect.js";

/** Guests whose later half does one kind of work; see src/guest/default-init.ts. */
export const workloads = {
  "compute-bound": "awk 'BEGIN{for(i=0;i<600000;i++)s=(s*31+i)%65521;print s}'",
  "system calls": "dd if=/dev/zero of=/dev/null bs=1 count=1500000",
} as const;

/** What a window of a tape took, s, and what the full log of it holds. */
export interface WindowTimes {
  readonly instructions: number;
  readonly branches: number;
  readonly bytes: number;
  readonly plain: number;
  readonly counting: number;
  readonly log: number;
}

/**
 * Replays the work of an indexed tape (three quarters of it to its last fiftieth) from the same checkpoint: by a plain
 * QEMU in a session, counting, and with the full log. The least of the rounds each.
 *
 * @param environment where vmtape's homes are
 */
export async function measureWindow(
  directory: string,
  options: { rounds: number; output: string; qemu: string; environment: NodeJS.ProcessEnv },
): Promise<WindowTimes> {
  const places = placesFrom(options.environment);
  const tape = await Tape.open(places, "window", directory);
  const cache = tapeCache(places, tape);
  const plugin = await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version });
  const index = await TapeIndex.open(cache, tape.manifest.qemu);
  const last = Number(tape.end.at);
  const from = index.nearest(icount(BigInt(Math.floor(0.75 * last))));
  if (!from) throw new Error(`${directory} has no checkpoint before its last quarter`);
  const end = icount(BigInt(Math.floor(0.98 * last)));
  const common = { qemu: [options.qemu], trusted: true, from };
  const window = { start: { at: "now" }, end: { at: "icount", icount: end } } as const;
  const least = { plain: Infinity, counting: Infinity, log: Infinity };
  let branches = 0;
  let bytes = 0;
  const time = async (which: keyof typeof least, work: () => Promise<unknown>) => {
    const begun = performance.now();
    await work();
    least[which] = Math.min(least[which], (performance.now() - begun) / 1000);
  };
  for (let round = 0; round < options.rounds; round++) {
    await time("plain", async () => {
      await using session = await Session.create(tape, common);
      await session.start(end);
    });
    await time("counting", () => collectTrace(tape, window, { ...common, plugin }));
    await time("log", async () => {
      const trace = await collectTrace(tape, window, { ...common, plugin, output: options.output });
      branches = Number(trace.records);
      bytes = trace.bytes;
    });
  }
  return { ...least, instructions: Number(end - from.icount), branches, bytes };
}
