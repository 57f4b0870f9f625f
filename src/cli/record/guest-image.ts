import { readFile } from "node:fs/promises";
import { VmtapeError } from "../../base/errors.js";
import { placesOf, type TapeOptions } from "../shell/options.js";
import { say, sayFacts, size, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";

/** Options of `vmtape guest`. */
export interface GuestFlags extends TapeOptions {
  readonly image?: string;
  readonly suite?: string;
  readonly include?: readonly string[];
  readonly mirror?: string;
  readonly package?: string;
  readonly update?: boolean;
  readonly init?: string;
  readonly add?: readonly string[];
}

/** Carries out `vmtape guest --image`. Returns false when there is no `--image`. */
export async function guestImage(flags: GuestFlags, signal: AbortSignal): Promise<boolean> {
  if (flags.image === undefined) {
    const stray = (["suite", "include", "mirror"] as const).find((flag) => flags[flag] !== undefined);
    if (stray === undefined) return false;
    throw new VmtapeError("usage", `--${stray} is of a distribution image: it goes with --image DIR or SIZE`);
  }
  for (const flag of ["init", "dir"] as const) {
    if (flags[flag] === undefined) continue;
    const why = flag === "dir" ? "--image names the directory itself" : "a distribution has its own init";
    throw new VmtapeError("usage", `--${flag} does not go with --image: ${why}`, { got: flags[flag] });
  }
  const [{ makeImage, recordWords }, { parseImagePlace }, { parseAddition }] = await Promise.all([
    import("../../guest/image.js"),
    import("../../guest/image-spec.js"),
    import("../../guest/addition.js"),
  ]);
  const place = parseImagePlace(flags.image);
  const suite = flags.suite ?? (await hostSuite());
  using progress = new Progress();
  const image = await makeImage({
    cacheDir: placesOf(flags).cache,
    place,
    suite,
    package: flags.package,
    include: flags.include,
    mirror: flags.mirror,
    update: flags.update,
    additions: (flags.add ?? []).map(parseAddition),
    progress: progress.sink,
    signal,
  });
  progress[Symbol.dispose]();
  const record = recordWords(image);
  if (flags.json) say(toJson({ ...image, record }));
  else {
    sayFacts({
      kernel: image.kernel,
      initrd: image.initrd,
      disk: `${image.disk} (${size(image.diskBytes)})`,
      append: image.append,
      version: image.version,
      system: `${image.suite}, ${Object.keys(image.packages).length} packages, made by ${image.tool}`,
      login: image.login,
      record: record.map(shellWord).join(" "),
    });
  }
  return true;
}

/** The release of this host, if it is a Debian; otherwise Debian's stable one. */
async function hostSuite(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const codename = /^VERSION_CODENAME="?([a-z]+)/m.exec(release)?.[1];
  return /^ID="?debian"?$/m.test(release) && codename !== undefined ? codename : "stable";
}

/** A word, quoted for a shell where that is necessary. */
function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
