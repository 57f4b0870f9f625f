import type { ControlClient } from "../tape/control.js";
import { note } from "./output.js";

/** Ctrl-], as in telnet and virsh. */
const escapeByte = 0x1d;
const keys = { detach: 0x64, quit: 0x71 } as const;
const help = "Ctrl-] then d: detach, the recording goes on · q: stop it · Ctrl-]: send Ctrl-]";

/** How a console session ended. */
export type ConsoleLeave = "detached" | "ended";

/**
 * Joins this terminal to a recording's console in raw mode until the user detaches or the recording ends.
 * Whatever happens, the terminal is given back as it was.
 */
export async function attachConsole(client: ControlClient, signal: AbortSignal): Promise<ConsoleLeave> {
  const socket = await client.console("owner");
  const { stdin, stdout } = process;
  note(help);
  stdin.setRawMode(true);
  stdin.resume();
  let left: ConsoleLeave = "ended";
  let escaping = false;
  const onInput = (bytes: Buffer) => {
    for (const byte of bytes) {
      if (!escaping) {
        if (byte === escapeByte) escaping = true;
        else socket.write(Uint8Array.of(byte));
        continue;
      }
      escaping = false;
      if (byte === escapeByte) socket.write(Uint8Array.of(byte));
      else if (byte === keys.detach) {
        left = "detached";
        client.detach();
      } else if (byte === keys.quit) socket.end();
      else stdout.write(`\r\n${help}\r\n`);
    }
  };
  const onAbort = () => socket.end();
  stdin.on("data", onInput);
  socket.on("data", (bytes: Buffer) => stdout.write(bytes)).resume();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  } finally {
    signal.removeEventListener("abort", onAbort);
    stdin.off("data", onInput);
    stdin.setRawMode(false);
    stdin.pause();
  }
  return left;
}
