import type { Command } from "commander";

/** A command as the list of all shows it, and where it is. Only the one that was typed is loaded. */
export interface CommandEntry {
  readonly name: string;
  /** Options and arguments, as commander writes them. */
  readonly usage: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** All commands, in the order of the list. That they say of themselves what is said here, `test/cli/commands.test.ts` checks. */
export const commands: readonly CommandEntry[] = [
  {
    name: "doctor",
    usage: "[options]",
    summary: "is everything here? lists what is missing, with the command that mends it",
    load: async () => (await import("./record/doctor.js")).doctorCommand(),
  },
  {
    name: "demo",
    usage: "[options]",
    summary:
      "record a stock Debian kernel, prove that the replay is the same run, and trace one of its system calls",
    load: async () => (await import("./record/demo.js")).demoCommand(),
  },
  {
    name: "guest",
    usage: "[options]",
    summary:
      "make the default guest: a stock kernel from its package, never installed, and a small initramfs",
    load: async () => (await import("./record/guest.js")).guestCommand(),
  },
  {
    name: "record",
    usage: "[options] <name>",
    summary: "record a run: until the guest powers off, vmtape stop, or Ctrl-C",
    load: async () => (await import("./record/record.js")).recordCommand(),
  },
  {
    name: "attach",
    usage: "[options] <name>",
    summary: "join the console of a running recording: type, or watch",
    load: async () => (await import("./record/attach.js")).attachCommand(),
  },
  {
    name: "stop",
    usage: "[options] <name>",
    summary: "end a running recording; its tape replays to that point",
    load: async () => (await import("./record/stop.js")).stopCommand(),
  },
  {
    name: "destroy",
    usage: "[options] <name>",
    summary: "remove a tape and its cache; a running recording is ended first",
    load: async () => (await import("./record/destroy.js")).destroyCommand(),
  },
  {
    name: "list",
    usage: "[options]",
    summary: "list the tapes",
    load: async () => (await import("./record/list.js")).listCommand(),
  },
  {
    name: "info",
    usage: "[options] <name>",
    summary: "say what a tape is, and how a plain QEMU replays it",
    load: async () => (await import("./record/info.js")).infoCommand(),
  },
  {
    name: "replay",
    usage: "[options] <name>",
    summary: "replay a tape; QMP and gdb can attach",
    load: async () => (await import("./replay/replay.js")).replayCommand(),
  },
  {
    name: "console",
    usage: "[options] <name>",
    summary: "play a tape's console back, at the speed it was recorded",
    load: async () => (await import("./replay/console.js")).consoleCommand(),
  },
  {
    name: "verify",
    usage: "[options] <name>",
    summary: "replay a tape to its end, twice, and prove that it is the same run",
    load: async () => (await import("./replay/verify.js")).verifyCommand(),
  },
  {
    name: "repair",
    usage: "[options] <name>",
    summary: "make the tape of a killed recorder replay up to its last whole event",
    load: async () => (await import("./record/repair.js")).repairCommand(),
  },
  {
    name: "log",
    usage: "[options] <name|file>",
    summary: "print a replay log: every event with its icount, or counts by kind",
    load: async () => (await import("./replay/log.js")).logCommand(),
  },
  {
    name: "index",
    usage: "[options] <name>",
    summary: "replay a tape once and leave what makes every later way through it short",
    load: async () => (await import("./replay/index-tape.js")).indexCommand(),
  },
  {
    name: "at",
    usage: "[options] <name> <position>",
    summary: "go to an instant of a tape, and show the machine there",
    load: async () => (await import("./at/at.js")).atCommand(),
  },
  {
    name: "steps",
    usage: "[options] <name> <position>",
    summary: "list the instructions that were executed around an instant, and what each changed",
    load: async () => (await import("./at/steps.js")).stepsCommand(),
  },
  {
    name: "trace",
    usage: "[options] <name> [start] [end]",
    summary: "write down every branch between two positions of a tape",
    load: async () => (await import("./branches/trace.js")).traceCommand(),
  },
  {
    name: "branches",
    usage: "",
    summary: "work on branch logs (vmtape trace) and on 24-byte BTS files: info, dump, extract, calls",
    load: async () => (await import("./branches/branches.js")).branchesCommand(),
  },
  {
    name: "gdb",
    usage: "[options] <name> [arguments...]",
    summary: "serve a tape to a debugger, which then runs forwards and backwards",
    load: async () => (await import("./at/gdb.js")).gdbCommand(),
  },
  {
    name: "ps",
    usage: "[options] <name>",
    summary: "list the guest's tasks at an instant; * marks the one that runs",
    load: async () => (await import("./guest/ps.js")).psCommand(),
  },
  {
    name: "tasks",
    usage: "[options] <name> [start] [end]",
    summary: "list which task of the guest ran when, and how much",
    load: async () => (await import("./guest/tasks.js")).tasksCommand(),
  },
  {
    name: "probe",
    usage: "[options] <name> <where>",
    summary: "print a line each time a place of the guest is reached, with values",
    load: async () => (await import("./guest/probe.js")).probeCommand(),
  },
  {
    name: "strace",
    usage: "[options] <name>",
    summary: "print the system calls of the guest's tasks, with arguments, results and durations",
    load: async () => (await import("./guest/strace.js")).straceCommand(),
  },
  {
    name: "profile",
    usage: "[options] <name> [start] [end]",
    summary: "tell where the instructions went: by function, task or system call, exactly",
    load: async () => (await import("./views/profile.js")).profileCommand(),
  },
  {
    name: "coverage",
    usage: "[options] <name> [start] [end]",
    summary: "tell which code ran, how often, and which did not",
    load: async () => (await import("./views/coverage.js")).coverageCommand(),
  },
  {
    name: "levels",
    usage: "[options] <name> [start] [end]",
    summary: "tell what went on in a tape, in cells of equal length",
    load: async () => (await import("./views/levels.js")).levelsCommand(),
  },
  {
    name: "maps",
    usage: "[options] <name> <pid>",
    summary: "list the mappings of one of the guest's processes, as /proc/PID/maps",
    load: async () => (await import("./guest/maps.js")).mapsCommand(),
  },
  {
    name: "files",
    usage: "[options] <name> <pid>",
    summary: "list the open files of one of the guest's processes",
    load: async () => (await import("./guest/files.js")).filesCommand(),
  },
  {
    name: "modules",
    usage: "[options] <name>",
    summary: "list the modules loaded in the guest at an instant",
    load: async () => (await import("./guest/modules.js")).modulesCommand(),
  },
  {
    name: "dmesg",
    usage: "[options] <name>",
    summary: "print the kernel's log as it stands in the guest's memory at an instant",
    load: async () => (await import("./guest/dmesg.js")).dmesgCommand(),
  },
  {
    name: "completion",
    usage: "<shell>",
    summary: "print a shell's completion script: commands, options, names of tapes, files",
    load: async () => (await import("./shell/completion.js")).completionCommand(),
  },
];
