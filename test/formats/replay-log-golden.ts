import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/**
 * Two recordings of a tiny guest that prints 67 bytes, reads the clock and a sector of a disk, and powers off.
 * The counts are those of `bench/replay-log.py`, and the console file QEMU wrote was 67 bytes long.
 */
export const goldenLogs = [
  { name: "qemu-7.2", events: 2143, icount: 5990617n, console: 67 },
  { name: "qemu-10.0", events: 2133, icount: 6153891n, console: 67 },
].map((facts) => ({
  ...facts,
  log: (): Buffer =>
    gunzipSync(readFileSync(new URL(`../golden/replay-log/${facts.name}.log.gz`, import.meta.url))),
}));
