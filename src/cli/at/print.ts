import { isVmtapeError } from "../../base/errors.js";
import type { PrintedValue } from "../../linux/context/instant-context.js";
import type { LinuxGuest } from "../../linux/guest/linux-guest.js";
import type { OpenTimeline } from "../open/open-timeline.js";
import { exitCodes } from "../shell/failure.js";
import { note, say } from "../shell/output.js";

/**
 * The values of expressions where a timeline stands.
 *
 * @param notes gets what could not be used of debug information, in words for people
 */
export async function valuesAt(
  open: OpenTimeline,
  texts: readonly string[],
  notes?: Set<string>,
): Promise<PrintedValue[]> {
  const { printAt } = await import("../../linux/context/instant-context.js");
  return printAt(open, await linuxOr(open), texts, notes);
}

/** The guest's Linux; undefined, with a note, when none runs there. */
async function linuxOr(open: OpenTimeline): Promise<LinuxGuest | undefined> {
  // Without a banner it is no Linux, and nobody expects one.
  if (!open.symbols.kernel?.banner) return undefined;
  try {
    const { linuxOf } = await import("../../linux/names/tape-instant.js");
    return await linuxOf(open);
  } catch (error) {
    if (!isVmtapeError(error, "not-found")) throw error;
    note(`nothing is known of the guest's system: ${error.message}`);
    return undefined;
  }
}

/** One line an expression: `current->comm = "sh", '\000' <repeats 13 times>`; why there is none on stderr. */
export function sayValues(values: readonly PrintedValue[]): void {
  for (const { expression, value, error } of values) {
    if (error) note(`vmtape: ${error.message}`);
    else say(`${expression.replace(/^\s*\/[a-z]\s+/, "")} = ${value}`);
  }
}

/** Values as JSON has them. */
export function valueFacts(values: readonly PrintedValue[]) {
  return values.map(({ expression, value, error }) =>
    error ? { expression, value: null, code: error.code, error: error.message } : { expression, value },
  );
}

/** The first failure decides the exit code, once all was told. */
export function failFor(values: readonly PrintedValue[] | undefined): void {
  const failed = values?.find(({ error }) => error);
  if (failed?.error) process.exitCode = exitCodes[failed.error.class];
}
