import type { Command } from "commander";
import type { CommandLine } from "../../linux/objects/command-line.js";
import type { Task } from "../../linux/objects/task.js";
import { atMoment, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { type Column, sayTable } from "../shell/table.js";

interface Row {
  readonly task: Task;
  readonly isCurrent: boolean;
  readonly command: CommandLine | undefined;
}

export function psCommand(): Command {
  return viewCommand("ps", "list the guest's tasks at an instant; * marks the one that runs").action(
    action(async (context, name: string, flags: ViewFlags) => {
      const { rows, position } = await atMoment(context, name, flags, async (moment) => {
        const current = await moment.currentAddress();
        const rows: Row[] = [];
        for (const task of await moment.tasks()) {
          rows.push({ task, isCurrent: task.address === current, command: await moment.commandLine(task) });
        }
        return { rows, position: moment.position };
      });
      if (flags.json) return say(toJson({ position: positionFacts(position), tasks: rows.map(toFacts) }));
      await sayTable(columns, rows);
    }),
  );
}

const columns: readonly Column<Row>[] = [
  { head: "", text: ({ isCurrent }) => (isCurrent ? "*" : "") },
  { head: "PID", align: "right", text: ({ task }) => String(task.pid) },
  { head: "TGID", align: "right", text: ({ task }) => String(task.tgid) },
  { head: "PPID", align: "right", text: ({ task }) => String(task.parent) },
  { head: "UID", align: "right", text: ({ task }) => String(task.effectiveUid) },
  { head: "S", text: ({ task }) => task.state },
  { head: "NAME", text: ({ task }) => task.name },
  { head: "COMMAND", text: commandText },
];

/** The command line of a task, with a mark for parts that are not in memory. A kernel thread has none. */
function commandText({ command }: Row): string {
  if (!command) return "";
  const words = command.words.map(shown).join(" ");
  return command.missing
    ? `${words} (${command.missing.why} from 0x${command.missing.address.toString(16)} on)`
    : words;
}

/** A word, in quotes where its end would not be clear. */
function shown(word: string): string {
  return word === "" || /[\s"]/.test(word) ? `"${word.replace(/["\\]/g, "\\$&")}"` : word;
}

function toFacts({ task, isCurrent, command }: Row) {
  const { address, mm, startedAt, ...facts } = task;
  return {
    ...facts,
    current: isCurrent,
    command: command?.words ?? null,
    ...(command?.missing && { commandMissing: command.missing.why }),
    startedNs: startedAt,
    address: `0x${address.toString(16)}`,
  };
}
