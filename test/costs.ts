/**
 * The cost of each file of the machine project, roughly, in processor seconds of one core. It decides only the order
 * of the files and which ones run side by side. `VMTAPE_TEST_COSTS=FILE npm test` measures them anew.
 */
export const costs: Readonly<Record<string, number>> = {
  "gdb-linux": 120,
  replays: 110,
  index: 92,
  probes: 58,
  "kernel-names": 57,
  "guest-timeline": 54,
  timeline: 52,
  kill: 51,
  record: 51,
  attach: 47,
  views: 39,
  cli: 35,
  "index-disk": 31,
  replay: 31,
  "branches-guests": 30,
  guest: 29,
  stack: 25,
  package: 25,
  strace: 19,
  "first-visits": 18,
  "branches-oracle": 18,
  "gdb-program": 17,
  linux: 15,
  "debug-info": 13,
  disk: 13,
  print: 10,
  interrupt: 9,
  library: 8,
  stops: 6,
  "branches-stops": 5,
  moment: 5,
  "elf-names": 3,
};

/** Files that boot Linux. One of them runs at a time, beside files of tiny guests, as long as there are both. */
export const big: ReadonlySet<string> = new Set([
  "gdb-linux",
  "guest-timeline",
  "attach",
  "index-disk",
  "kernel-names",
  "cli",
  "guest",
  "stack",
  "views",
  "replays",
  "linux",
  "strace",
]);
