/**
 * The kernel command line of the default guest. Each option is here because it was measured:
 * docs/PERFORMANCE.md, "Kernel options".
 */
export const defaultAppend = [
  // The serial port is the console; the machine has nothing else.
  "console=ttyS0",
  // Each PAUSE instruction of a busy-waiting guest is two events in the replay log, and a stock boot executes 6
  // million of them. The next four options leave out the timer check, the calibration of the APIC timer, the check of
  // the ACPI timer, and the calibration of the HPET. Time then comes from the TSC and ticks from the PIT.
  "no_timer_check",
  "nolapic_timer",
  "pmtmr=0",
  "hpet=disable",
  // There is no keyboard or mouse to wait for.
  "i8042.nokbd",
  "i8042.noaux",
  // The self-tests of all ciphers are 0.8e9 instructions, one in nine of the boot.
  "cryptomgr.notests",
  // A panic ends the run instead of spinning for ever (with QEMU's -no-reboot).
  "panic=-1",
  // Each character on the serial port costs events too.
  "quiet",
].join(" ");
