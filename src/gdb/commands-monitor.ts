import { type Command, command } from "./command.js";
import { parseBytes } from "./hex.js";
import { runMonitor } from "./monitor.js";
import { ok } from "./reply.js";

/** How often the client is told that an answer takes more time. GDB waits 2 s (`remotetimeout`). */
const pulseMs = 1000;

/** `monitor …` of GDB, `process plugin packet monitor …` of LLDB. */
export const monitorPackets: readonly Command[] = [
  command("qRcmd", "General-Query-Packets.html#qRcmd", parseLine, async (conversation, line) => {
    const pulse = setInterval(() => conversation.pulse(), pulseMs);
    try {
      conversation.print(`${await runMonitor(conversation, line)}\n`);
    } finally {
      clearInterval(pulse);
    }
    return ok;
  }),
];

/** `,` and the line's bytes in hexadecimal. */
function parseLine(text: string): string | undefined {
  const bytes = text.startsWith(",") ? parseBytes(text.slice(1)) : undefined;
  return bytes && Buffer.from(bytes).toString("utf8");
}
