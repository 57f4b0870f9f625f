import { type GuestAddress, guestAddress } from "../base/units.js";
import { parseHex, parseHexCount } from "./hex.js";

/** The machine's one CPU, as a thread. */
export const onlyThread = 1;

/**
 * The machine as a process, for GDB, which wants its number for `info proc`: it stands for whichever process runs. No
 * process of a Linux guest has it, whose numbers end at 2^22.
 */
export const onlyProcess = 9_999_999;

/** As `thread:` and `m` want it. */
export function formatThread({ multiprocess }: { readonly multiprocess: boolean }): string {
  const thread = onlyThread.toString(16).padStart(2, "0");
  return multiprocess ? `p${onlyProcess.toString(16)}.${thread}` : thread;
}

/**
 * Does a thread id name our thread? `-1` is all, `0` any, `pP.T` has a process too.
 *
 * Source: GDB manual, "thread-id syntax".
 */
export function isOurThread(text: string): boolean {
  const [, process, inProcess, alone] =
    /^(?:p([0-9a-f]+|-1)(?:\.([0-9a-f]+|-1))?|([0-9a-f]+|-1))$/i.exec(text) ?? [];
  if (process === undefined) return alone !== undefined && isOneOf(alone, onlyThread);
  return isOneOf(process, onlyProcess, 1) && (inProcess === undefined || isOneOf(inProcess, onlyThread));
}

/** All, any, or one of these. */
function isOneOf(text: string, ...numbers: readonly number[]): boolean {
  return text === "-1" || [0, ...numbers].includes(parseHexCount(text) ?? -1);
}

/** Bytes a packet asks for: `ADDR,LENGTH`. */
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
