import type { Command } from "commander";
import type { OpenFile } from "../../linux/objects/open-files.js";
import { atMoment, pid, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { type Column, sayTable } from "../shell/table.js";

export function filesCommand(): Command {
  return viewCommand("files", "list the open files of one of the guest's processes")
    .argument("<pid>", "the process", pid)
    .action(
      action(async (context, name: string, process: number, flags: ViewFlags) => {
        const { formatOpenFlags } = await import("../../linux/objects/file.js");
        const { task, files, position } = await atMoment(context, name, flags, async (moment) => {
          const task = await moment.process(process);
          return { task, files: await moment.files(task), position: moment.position };
        });
        const namesOf = (file: OpenFile) =>
          formatOpenFlags(file.flags) + (file.closesOnExec ? "|O_CLOEXEC" : "");
        if (flags.json) {
          const facts = files.map((file) => ({ ...file, address: undefined, flagNames: namesOf(file) }));
          return say(
            toJson({ position: positionFacts(position), pid: process, name: task.name, files: facts }),
          );
        }
        const columns: readonly Column<OpenFile>[] = [
          { head: "FD", align: "right", text: ({ descriptor }) => String(descriptor) },
          { head: "POSITION", align: "right", text: ({ position }) => String(position) },
          { head: "KIND", text: ({ kind }) => kind },
          { head: "FLAGS", text: namesOf },
          { head: "PATH", text: ({ path }) => path },
        ];
        await sayTable(columns, files);
        if (files.length === 0) note(`${task.name} has no open files`);
      }),
    );
}
