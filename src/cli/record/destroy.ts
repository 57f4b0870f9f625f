import type { Command } from "commander";
import { placesOf, type TapeOptions, tapeCommand } from "../shell/options.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

export function destroyCommand(): Command {
  return tapeCommand("destroy", "remove a tape and its cache; a running recording is ended first")
    .option("-k, --keep-running", "refuse when it is being recorded")
    .action(
      action(async (_context, name: string, options: TapeOptions & { keepRunning?: boolean }) => {
        const [{ tapeDirectory }, { destroyTape, readTapeManifest }, { ControlClient }, { dropTapeCache }] =
          await Promise.all([
            import("../../tape/home.js"),
            import("../../tape/tape.js"),
            import("../../tape/control.js"),
            import("../../replay/session/tape-cache.js"),
          ]);
        const places = placesOf(options);
        const directory = tapeDirectory(places, name, options.dir);
        if (!options.keepRunning) {
          const client = await ControlClient.connect(places, directory);
          await client?.stop().catch(() => {}); // it is removed, however the recording ended
        }
        const manifest = await readTapeManifest(directory, name).catch(() => undefined); // it may be damaged
        await destroyTape(directory, name, places);
        if (manifest) await dropTapeCache(places, manifest, directory);
        if (options.json) say(toJson({ destroyed: name, dir: directory }));
        else note(`destroyed ${name}`);
      }),
    );
}
