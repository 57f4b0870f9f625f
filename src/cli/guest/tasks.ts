import type { Command } from "commander";
import type { HistoryTask, Slice, TaskTotal } from "../../linux/history/task-history.js";
import { loadHistory, taskOption, wantedTask } from "../open/load-history.js";
import { openRange } from "../open/tape-range.js";
import { qemuOption, type TapeOptions, tapeCommand } from "../shell/options.js";
import { grouped, note, say, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import { action } from "../shell/run.js";
import { type Column, sayTable } from "../shell/table.js";

interface TasksFlags extends TapeOptions {
  readonly task?: string;
  readonly total?: boolean;
}

export function tasksCommand(): Command {
  return tapeCommand("tasks", "list which task of the guest ran when, and how much")
    .argument("[start]", "start, end, @ICOUNT, SYMBOL[:BRCTR] or 0xADDR[:BRCTR[/REP]]")
    .argument("[end]", "the same")
    .option("--total", "one line a task, the busiest first")
    .option(...taskOption)
    .option(...qemuOption)
    .option("-d, --debug", "print what is done")
    .action(
      action(
        async (
          { signal },
          name: string,
          start: string | undefined,
          end: string | undefined,
          flags: TasksFlags,
        ) => {
          const { totalsOf } = await import("../../linux/history/task-history.js");
          using progress = new Progress();
          const { tape, from, to } = await openRange(name, [start, end], flags, progress, signal);
          const history = await loadHistory(tape, flags, progress, signal);
          progress[Symbol.dispose]();
          const isWanted = flags.task === undefined ? () => true : await wantedTask(history, flags.task);
          const slices = [...history.slices(Number(from), Number(to))].filter(({ task }) => isWanted(task));
          if (slices.length === 0) note("no such task runs between these instants");
          if (flags.total) {
            const totals = totalsOf(slices);
            if (flags.json) return say(toJson({ from, to, tasks: totals.map(totalFacts) }));
            return await sayTable(totalColumns, totals);
          }
          if (flags.json) return say(toJson({ from, to, slices: slices.map(sliceFacts) }));
          await sayTable(sliceColumns, slices);
        },
      ),
    );
}

interface Measured {
  readonly task: HistoryTask;
  readonly instructions: number;
  readonly userInstructions: number;
  readonly branches: number | undefined;
}

const share = ({ instructions, userInstructions }: Measured) =>
  instructions === 0 ? "" : `${((100 * userInstructions) / instructions).toFixed(1)} %`;

const measured: readonly Column<Measured>[] = [
  { head: "INSTRUCTIONS", align: "right", text: ({ instructions }) => grouped(instructions) },
  {
    head: "BRANCHES",
    align: "right",
    text: ({ branches }) => (branches === undefined ? "" : grouped(branches)),
  },
  { head: "USER", align: "right", text: share },
];
const whose: Column<Measured> = { head: "PID", align: "right", text: ({ task }) => pidText(task) };
const called: Column<Measured> = { head: "TASK", text: ({ task }) => task.name };

const sliceColumns: readonly Column<Slice>[] = [
  { head: "FROM", align: "right", text: ({ from }) => `@${from.icount}` },
  { head: "TO", align: "right", text: ({ to }) => `@${to.icount}` },
  ...measured,
  whose,
  called,
];
const totalColumns: readonly Column<TaskTotal>[] = [
  { head: "TIMES", align: "right", text: ({ slices }) => grouped(slices) },
  ...measured,
  whose,
  called,
];

/** The pid of a task. What ran before Linux has none. */
function pidText({ pid }: HistoryTask): string {
  return pid < 0 ? "" : String(pid);
}

function facts({ task, instructions, userInstructions, branches }: Measured) {
  return {
    pid: task.pid < 0 ? null : task.pid,
    tgid: task.tgid < 0 ? null : task.tgid,
    name: task.name,
    instructions,
    userInstructions,
    kernelInstructions: instructions - userInstructions,
    branches: branches ?? null,
  };
}

const totalFacts = (total: TaskTotal) => ({ ...facts(total), slices: total.slices });

function sliceFacts(slice: Slice) {
  const { from, to, branches } = slice;
  const at = (instant: Slice["from"]) => ({
    icount: instant.icount,
    brctr: branches === undefined ? null : instant.brctr,
  });
  return { ...facts(slice), from: at(from), to: at(to) };
}
