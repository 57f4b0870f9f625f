import type { Command } from "commander";
import { atGuest, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

export function dmesgCommand(): Command {
  return viewCommand(
    "dmesg",
    "print the kernel's log as it stands in the guest's memory at an instant",
  ).action(
    action(async (context, name: string, flags: ViewFlags) => {
      const { formatLogRecord, readKernelLog } = await import("../../linux/objects/kernel-log.js");
      const { log, position } = await atGuest(context, name, flags, async ({ guest, position }) => ({
        log: await readKernelLog(guest),
        position,
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
