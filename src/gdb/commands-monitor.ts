import { type Command, command } from "./command.js";
import { parseBytes } from "./hex.js";
import { runMonitor } from "./monitor.js";
import { ok } from "./reply.js";

/** `monitor …` of GDB, `process plugin packet monitor …` of LLDB. */
export const monitorPackets: readonly Command[] = [
  command("qRcmd", "General-Query-Packets.html#qRcmd", parseLine, async (conversation, line) => {
    conversation.print(`${await runMonitor(conversation, line)}\n`);
    return ok;
  }),
];

/** `,` and the line's bytes in hexadecimal. */
function parseLine(text: string): string | undefined {
  const bytes = text.startsWith(",") ? parseBytes(text.slice(1)) : undefined;
  return bytes && Buffer.from(bytes).toString("utf8");
}
