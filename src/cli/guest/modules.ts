import type { Command } from "commander";
import type { ModuleFacts } from "../../linux/objects/loaded-modules.js";
import { atMoment, positionFacts, type ViewFlags, viewCommand } from "../open/guest-view.js";
import { note, say, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";
import { type Column, sayTable } from "../shell/table.js";

const hex = (value: bigint) => `0x${value.toString(16)}`;

export function modulesCommand(): Command {
  return viewCommand("modules", "list the modules loaded in the guest at an instant").action(
    action(async (context, name: string, flags: ViewFlags) => {
      const { modules, position } = await atMoment(context, name, flags, async (moment) => ({
        modules: await moment.modules(),
        position: moment.position,
      }));
      if (flags.json)
        return say(toJson({ position: positionFacts(position), modules: modules.map(toFacts) }));
      await sayTable(columns, modules);
      if (modules.length === 0) note("no module is loaded");
    }),
  );
}

const columns: readonly Column<ModuleFacts>[] = [
  { head: "MODULE", text: ({ name }) => name },
  { head: "SIZE", align: "right", text: ({ size }) => String(size) },
  {
    head: "USES",
    align: "right",
    text: ({ references }) => (references === undefined ? "" : String(references)),
  },
  { head: "STATE", text: ({ state }) => state },
  { head: "ADDRESS", text: ({ address }) => hex(address) },
  { head: "USED BY", text: ({ usedBy }) => usedBy?.join(",") ?? "" },
];

function toFacts({ address, regions, ...facts }: ModuleFacts) {
  return {
    ...facts,
    address: hex(address),
    regions: regions.map(({ start, end }) => ({ start: hex(start), end: hex(end) })),
  };
}
