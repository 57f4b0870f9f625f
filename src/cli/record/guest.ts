import type { Command } from "commander";
import { Command as Program } from "commander";
import { placesOf, several } from "../shell/options.js";
import { say, sayFacts, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action } from "../shell/run.js";
import { type GuestFlags, guestImage } from "./guest-image.js";

export function guestCommand(): Command {
  return new Program("guest")
    .description(
      "make the default guest: a stock kernel from its package, never installed, and a small initramfs",
    )
    .option("--dir <directory>", "where the guest's files go (default: the cache)")
    .option(
      "--package <package>",
      "the kernel's package, e.g. linux-image-cloud-amd64 (default: the newest stock one)",
    )
    .option(
      "--update",
      "take the newest kernel of that name, or make the image anew; without it they stay as they were made",
    )
    .option("--init <file>", "a script or program that becomes /init")
    .option(
      "--add <src=dest>",
      "add a file or directory to the initramfs, or to the image; may be given several times",
      several,
    )
    .option(
      "--image <dir|size>",
      "make a Debian with systemd on a disk image instead: in this directory, or in the cache with a disk of this size; DIR,size=4G for both",
    )
    .option("--suite <suite>", "of an image: bookworm, trixie … (default: this host's)")
    .option("--include <packages>", "of an image: more packages, with commas between; repeatable", several)
    .option("--mirror <url>", "of an image: where packages come from (default: where this host's do)")
    .option("--json", "print facts as JSON")
    .action(
      action(async ({ signal }, options: GuestFlags) => {
        if (await guestImage(options, signal)) return;
        const [{ makeGuest }, { parseAddition }] = await Promise.all([
          import("../../guest/guest.js"),
          import("../../guest/addition.js"),
        ]);
        using progress = new Progress();
        const guest = await makeGuest({
          cacheDir: placesOf(options).cache,
          directory: options.dir,
          package: options.package,
          update: options.update,
          init: options.init,
          additions: (options.add ?? []).map(parseAddition),
          progress: progress.sink,
          signal,
        });
        progress[Symbol.dispose]();
        if (options.json) return say(toJson(guest));
        const missing = guest.missingModules.join(" ");
        sayFacts({
          kernel: guest.kernel,
          initrd: guest.initrd,
          append: guest.append,
          version: guest.version,
          package: `${guest.package} ${guest.packageVersion}`,
          modules: guest.modules.join(" "),
          "without modules": missing || undefined,
        });
      }),
    );
}
