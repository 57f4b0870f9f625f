import { type GuestAddress, guestAddress } from "../base/units.js";
import { parseHex, parseHexCount } from "./hex.js";

/** The id of the thread that stands for the machine's one CPU. */
export const onlyThread = 1;

/**
 * The process id of the machine, which GDB needs for `info proc`. It stands for the process that runs at the present
 * instant. No process of a Linux guest has this id: those are below 2^22.
 */
export const onlyProcess = 9_999_999;

/** The thread's id as in `thread:` and `m` answers. */
export function formatThread({ multiprocess }: { readonly multiprocess: boolean }): string {
  const thread = onlyThread.toString(16).padStart(2, "0");
  return multiprocess ? `p${onlyProcess.toString(16)}.${thread}` : thread;
}

/**
 * Does a thread id name the machine's thread? `-1` means all, `0` any; `pP.T` also names a process.
 *
 * Source: GDB manual, "thread-id syntax".
 */
export function isOurThread(text: string): boolean {
  const [, process, inProcess, alone] =
    /^(?:p([0-9a-f]+|-1)(?:\.([0-9a-f]+|-1))?|([0-9a-f]+|-1))$/i.exec(text) ?? [];
  if (process === undefined) return alone !== undefined && isOneOf(alone, onlyThread);
  return isOneOf(process, onlyProcess, 1) && (inProcess === undefined || isOneOf(inProcess, onlyThread));
}

/** Does an id mean all, any, or one of these? */
function isOneOf(text: string, ...numbers: readonly number[]): boolean {
  return text === "-1" || [0, ...numbers].includes(parseHexCount(text) ?? -1);
}

/** The range of bytes that a packet asks for: `ADDR,LENGTH`. */
export interface AddressRange {
  readonly address: GuestAddress;
  readonly length: number;
}

/** Reads `ADDR,LENGTH`; undefined when it is anything else. */
export function parseRange(text: string): AddressRange | undefined {
  const [address, length, ...more] = text.split(",");
  const start = parseHex(address);
  const count = parseHexCount(length);
  if (start === undefined || count === undefined || more.length > 0) return undefined;
  return { address: guestAddress(start), length: count };
}
