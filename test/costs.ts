/**
 * What the files of the machine project cost, in seconds on a loaded host, roughly: only their order and the
 * pairs they run in follow from it. `VMTAPE_TEST_COSTS=FILE npm test` measures them anew.
 */
export const costs: Readonly<Record<string, number>> = {
  replays: 200,
  "gdb-linux": 190,
  index: 170,
  "guest-timeline": 150,
  kill: 130,
  attach: 120,
  record: 110,
  "index-disk": 100,
  "kernel-names": 100,
  cli: 100,
  guest: 95,
  timeline: 85,
  replay: 70,
  stack: 70,
  linux: 62,
  "branches-guests": 60,
  probes: 58,
  "gdb-program": 53,
  "first-visits": 47,
  "debug-info": 36,
  "branches-oracle": 29,
  library: 28,
  interrupt: 25,
  print: 19,
  disk: 18,
  "branches-stops": 17,
  strace: 13,
  stops: 11,
};

/** Those that boot Linux: of these one runs at a time, beside the tiny guests, as far as there are both. */
export const big: ReadonlySet<string> = new Set([
  "gdb-linux",
  "guest-timeline",
  "attach",
  "index-disk",
  "kernel-names",
  "cli",
  "guest",
  "stack",
  "linux",
  "strace",
]);
