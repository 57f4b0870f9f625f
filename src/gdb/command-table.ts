import type { Command } from "./command.js";
import { fileCommands } from "./commands-files.js";
import { generalCommands } from "./commands-general.js";
import { memoryCommands } from "./commands-memory.js";
import { monitorPackets } from "./commands-monitor.js";
import { pointCommands } from "./commands-points.js";
import { runCommands } from "./commands-run.js";

/** Every packet that is served. All others get the empty answer, which means "not supported". */
export const commandTable: readonly Command[] = [
  ...generalCommands,
  ...memoryCommands,
  ...fileCommands,
  ...pointCommands,
  ...runCommands,
  ...monitorPackets,
];

const byName = new Map(commandTable.map((command) => [command.name, command]));

/** The command of a packet, and the text after its name; undefined for a packet that is not served. */
export function findCommand(body: string): { readonly command: Command; readonly text: string } | undefined {
  const name = nameOf(body);
  const command = byName.get(name);
  return command && { command, text: body.slice(name.length) };
}

/**
 * The name at the beginning of a body: all letters of a `q`, `Q` or `v` packet, with object and operation for
 * `qXfer`; `bc` or `bs`; otherwise one character.
 */
function nameOf(body: string): string {
  const [long] = /^(qXfer:[\w-]+:\w+|[qQv][A-Za-z]+\??|b[cs])/.exec(body) ?? [];
  return long ?? body.slice(0, 1);
}
