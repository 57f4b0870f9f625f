/** A tape of Debian's cloud kernel with an init of a test's own. */
import { writeFileSync } from "node:fs";
import type { Addition } from "../src/guest/addition.js";
import { makeGuest } from "../src/guest/guest.js";
import { defaultRecordOptions, placesFrom, record, type Tape } from "../src/index.js";
import type { Workbench } from "./workbench.js";

/**
 * Records such a boot as `name` in the bench's home, to its end. The guest's files are made there; the kernel's
 * package comes from the user's cache.
 */
export async function recordCloudBoot(
  bench: Workbench,
  name: string,
  init: string,
  additions: readonly Addition[] = [],
): Promise<Tape> {
  writeFileSync(bench.path("init"), init);
  const { kernel, initrd, append } = await makeGuest({
    cacheDir: placesFrom(process.env).cache,
    directory: bench.path("guest"),
    package: "linux-image-cloud-amd64",
    init: bench.path("init"),
    additions,
  });
  const options = await defaultRecordOptions(name);
  return (await record(bench.places, { ...options, kernel, initrd, append })).done;
}
