import { type Command, InvalidArgumentError } from "commander";
import { debugSink, placesOf, qemuCandidates, qemuOption, type TapeOptions, tapeCommand } from "./options.js";
import { grouped, say, toJson } from "./output.js";
import { Progress } from "./progress.js";
import { action } from "./run.js";

interface IndexFlags extends TapeOptions {
  readonly checkpoints: number;
}

export function indexCommand(): Command {
  return tapeCommand("index", "replay a tape once, count its branches, and leave checkpoints to start from")
    .option("--checkpoints <n>", "how many, evenly spaced", number, 9)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(
      action(async ({ signal }, name: string, flags: IndexFlags) => {
        const [{ Tape }, { tapeCache }, { buildPlugin }, { indexTape }] = await Promise.all([
          import("../tape/tape.js"),
          import("../replay/tape-cache.js"),
          import("../qemu/plugin-build.js"),
          import("../replay/index-tape.js"),
        ]);
        const places = placesOf(flags);
        const tape = await Tape.open(places, name, flags.dir);
        tape.requireComplete();
        using progress = new Progress();
        const checkpoints = await indexTape(tape, {
          cache: tapeCache(places, tape),
          plugin: await buildPlugin({ cacheDir: places.cache, qemuVersion: tape.manifest.qemu.version }),
          checkpoints: flags.checkpoints,
          qemu: qemuCandidates(flags),
          onProgress: progress.sink,
          signal,
          ...debugSink(flags),
        });
        progress[Symbol.dispose]();
        if (flags.json) {
          say(toJson({ name, checkpoints: checkpoints.map(({ icount, brctr }) => ({ icount, brctr })) }));
          return;
        }
        for (const { icount, brctr } of checkpoints) say(`@${grouped(icount)}  brctr ${grouped(brctr)}`);
      }),
    );
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000) {
    throw new InvalidArgumentError("it must be a number from 1 to 1000.");
  }
  return value;
}
