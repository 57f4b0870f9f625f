import type { Command } from "commander";
import { atMoment, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

export function dmesgCommand(): Command {
  return viewCommand(
    "dmesg",
    "print the kernel's log as it stands in the guest's memory at an instant",
  ).action(
    action(async (context, name: string, flags: ViewFlags) => {
      const { formatLogRecord } = await import("../../linux/objects/kernel-log.js");
      const { log, position } = await atMoment(context, name, flags, async (moment) => ({
        log: await moment.log(),
        position: moment.position,
      }));
      const { records, lost } = log;
      if (flags.json) {
        const facts = records.map(({ time, ...record }) => ({ ...record, timeNs: time }));
        return say(toJson({ position: positionFacts(position), lost, records: facts }));
      }
      if (lost > 0n) note(`${lost} older records were overwritten by then`);
      for (const record of records) for (const line of formatLogRecord(record).split("\n")) say(line);
    }),
  );
}
