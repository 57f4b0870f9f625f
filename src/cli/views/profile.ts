import { type Command, InvalidArgumentError, Option } from "commander";
import type { HistoryTask } from "../../linux/history/task-history.js";
import type { FunctionTotal, Profile } from "../../views/profile.js";
import { taskOption } from "../open/load-history.js";
import { grouped, note, say, toJson } from "../shell/output.js";
import { type Column, sayTable } from "../shell/table.js";
import { openWindow, type WindowFlags, windowCommand, withWindow } from "./window.js";

interface ProfileFlags extends WindowFlags {
  readonly by: "function" | "task" | "syscall";
  readonly top: number;
}

export function profileCommand(): Command {
  return withWindow(
    windowCommand("profile", "tell where the instructions went: by function, task or system call, exactly")
      .addOption(
        new Option("--by <what>", "one line for each of these")
          .choices(["function", "task", "syscall"])
          .default("function"),
      )
      .option("--top <n>", "so many lines", lines, 30)
      .option(...taskOption),
    async (signal, name, range, flags: ProfileFlags) => {
      const [{ followLog }, { Profile }] = await Promise.all([
        import("../../survey/tape-profile.js"),
        import("../../views/profile.js"),
      ]);
      await using window = await openWindow(name, range, flags, signal);
      const { from, to, progress, history } = window;
      const follower = await followLog(window.open.log, {
        from: Number(from),
        to: Number(to),
        ...(history ? { history, names: window.names } : { plainNames: window.names }),
        isWanted: window.isWanted,
        onProgress: progress.sink,
        signal,
      });
      progress[Symbol.dispose]();
      const profile = Profile.of(follower);
      if (profile.isCut) note("there are too many call paths: the rarest count for where they begin");
      const tasks = history?.tasks ?? [];
      if (flags.json) return say(toJson({ from, to, ...profileFacts(profile, tasks) }));
      await sayProfile(profile, tasks, flags);
    },
  );
}

async function sayProfile(
  profile: Profile,
  tasks: readonly HistoryTask[],
  { by, top }: ProfileFlags,
): Promise<void> {
  const share = (value: number) =>
    profile.instructions === 0 ? "" : `${((100 * value) / profile.instructions).toFixed(2)} %`;
  const measured = <Row>(head: string, value: (row: Row) => number): Column<Row> => ({
    head,
    align: "right",
    text: (row) => grouped(value(row)),
  });
  say(`${grouped(profile.instructions)} instructions, ${grouped(profile.branches)} branches`);
  if (by === "task") {
    type Row = ReturnType<Profile["byTask"]>[number];
    await sayTable<Row>(
      [
        measured("INSTRUCTIONS", (row) => row.instructions),
        { head: "SHARE", align: "right", text: ({ instructions }) => share(instructions) },
        measured("USER", (row) => row.user),
        measured("KERNEL", (row) => row.kernel),
        measured("INTERRUPTS", (row) => row.interrupts),
        { head: "PID", align: "right", text: ({ task }) => pidText(tasks[task]) },
        { head: "TASK", text: ({ task }) => tasks[task]?.name ?? "" },
      ],
      profile.byTask().slice(0, top),
    );
    return;
  }
  if (by === "syscall") {
    type Row = ReturnType<typeof bySyscall>[number];
    await sayTable<Row>(
      [
        measured("INSTRUCTIONS", (row) => row.total),
        { head: "SHARE", align: "right", text: ({ total }) => share(total) },
        measured("CALLS", (row) => row.calls),
        { head: "SYSCALL", text: (row) => row.name },
      ],
      bySyscall(profile).slice(0, top),
    );
    return;
  }
  await sayTable<FunctionTotal>(
    [
      measured("SELF", (row) => row.self),
      { head: "SHARE", align: "right", text: ({ self }) => share(self) },
      measured("TOTAL", (row) => row.total),
      measured("CALLS", (row) => row.calls),
      measured("BRANCHES", (row) => row.branches),
      { head: "FUNCTION", text: (row) => row.name },
    ],
    profile.flat().slice(0, top),
  );
}

/** The pid of a task. What ran before Linux has none. */
function pidText(task: HistoryTask | undefined): string {
  return task && task.pid >= 0 ? String(task.pid) : "";
}

const entryPoint = /^__(?:x64|ia32|ia32_compat|x32_compat)_sys_(\w+)$/;

function bySyscall(profile: Profile) {
  return profile
    .byOutermost((name) => entryPoint.test(name))
    .map((row) => ({ ...row, name: entryPoint.exec(row.name)![1]! }));
}

/** Everything for `--json`: the tree as columns, parents before their children, and sums. */
function profileFacts(profile: Profile, tasks: readonly HistoryTask[]) {
  const { parent, fn, task, apart, self, total, branches, calls } = profile.columns;
  return {
    instructions: profile.instructions,
    branches: profile.branches,
    functions: profile.flat(),
    tasks: profile.byTask().map((row) => ({
      ...row,
      pid: tasks[row.task] && tasks[row.task]!.pid >= 0 ? tasks[row.task]!.pid : null,
      name: tasks[row.task]?.name ?? null,
    })),
    syscalls: bySyscall(profile),
    names: profile.names,
    kernel: profile.isKernel,
    tree: {
      parent: [...parent],
      function: [...fn],
      task: [...task],
      interrupt: [...apart],
      self: [...self],
      total: [...total],
      branches: [...branches],
      calls: [...calls],
    },
  };
}

function lines(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError("it must be a number from 1 to 999999.");
  return Number(text);
}
