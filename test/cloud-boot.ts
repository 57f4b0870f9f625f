/**
 * Guests with Debian's cloud kernel, which boots in an eighth of the instructions of the stock one, and tapes of them. What is asked
 * of the stock kernel itself boots that: guest, kernel-names, cli.
 */
import { writeFileSync } from "node:fs";
import type { Addition } from "../src/guest/addition.js";
import { type Guest, makeGuest } from "../src/guest/guest.js";
import { defaultRecordOptions, record, type Tape } from "../src/index.js";
import { sharedCache, type Workbench } from "./workbench.js";

const packageName = "linux-image-cloud-amd64";

/** What is special about a guest. */
export interface CloudGuestOptions {
  /** The text of its `/init`. Default: that of the default guest. */
  readonly init?: string;
  readonly additions?: readonly Addition[];
}

/** Makes a guest in the bench; its package is in the user's cache. */
export async function cloudGuest(bench: Workbench, options: CloudGuestOptions = {}): Promise<Guest> {
  const { init, additions } = options;
  if (init !== undefined) writeFileSync(bench.path("init"), init);
  return makeGuest({
    cacheDir: sharedCache,
    directory: bench.path("guest"),
    package: packageName,
    ...(init !== undefined && { init: bench.path("init") }),
    additions,
  });
}

/** How `vmtape record` is told of a guest, and what its kernel is told beside. */
export function guestArguments({ kernel, initrd, append }: Guest, more = ""): string[] {
  return ["--kernel", kernel, "--initrd", initrd, "--append", `${append} ${more}`.trim()];
}

/** Records a guest as `name` in the bench's home, to its end. */
export async function recordCloudBoot(
  bench: Workbench,
  name: string,
  init: string,
  additions: readonly Addition[] = [],
): Promise<Tape> {
  const { kernel, initrd, append } = await cloudGuest(bench, { init, additions });
  const options = await defaultRecordOptions(name);
  return (await record(bench.places, { ...options, kernel, initrd, append })).done;
}
