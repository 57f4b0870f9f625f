import { type GuestAddress, guestAddress } from "../base/units.js";
import { parseHex, parseHexCount } from "./hex.js";

/** The machine's one CPU, as GDB's process and thread. */
export const onlyThread = 1;

/** As `thread:` and `m` want it. */
export function formatThread(): string {
  return onlyThread.toString(16).padStart(2, "0");
}

/**
 * Does a thread id name our thread? `-1` is all, `0` any, `pP.T` has a process too.
 *
 * Source: GDB manual, "thread-id syntax".
 */
export function isOurThread(text: string): boolean {
  return /^(p(0*1|0|-1)(\.(0*1|0|-1))?|0*1|0+|-1)$/.test(text);
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
