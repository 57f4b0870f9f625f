/**
 * The kernel command line of the default guest. Each option is here because it was measured:
 * docs/PERFORMANCE.md, "Kernel options".
 */
export const defaultAppend = [
  // The serial port is the console; the machine has nothing else.
  "console=ttyS0",
  // Both calibrations spin on PAUSE, and each PAUSE is an event in the replay log: 98% of all events of a boot.
  "no_timer_check",
  "nolapic_timer",
  // A panic ends the run instead of spinning for ever (with QEMU's -no-reboot).
  "panic=-1",
  "quiet",
].join(" ");
