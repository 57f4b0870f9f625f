import type { Command } from "commander";
import type { Mapping } from "../../linux/objects/mappings.js";
import { atMoment, pid, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

export function mapsCommand(): Command {
  return viewCommand("maps", "list the mappings of one of the guest's processes, as /proc/PID/maps")
    .argument("<pid>", "the process", pid)
    .action(
      action(async (context, name: string, process: number, flags: ViewFlags) => {
        const { formatMapping } = await import("../../linux/objects/mappings.js");
        const { task, mappings, position } = await atMoment(context, name, flags, async (moment) => {
          const task = await moment.process(process);
          return { task, mappings: await moment.mappings(task), position: moment.position };
        });
        if (flags.json) {
          return say(
            toJson({
              position: positionFacts(position),
              pid: process,
              name: task.name,
              mappings: mappings.map(toFacts),
            }),
          );
        }
        for (const mapping of mappings) say(formatMapping(mapping));
        if (mappings.length === 0) note(`${task.name} has no user space`);
      }),
    );
}

function toFacts({ start, end, permissions, fileOffset, file, name }: Mapping) {
  return {
    start: `0x${start.toString(16)}`,
    end: `0x${end.toString(16)}`,
    permissions,
    offset: fileOffset,
    name: name ?? null,
    ...(file && { file: file.path, device: file.device, inode: file.inode }),
  };
}
