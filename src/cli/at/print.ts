import type { PrintedValue } from "../../linux/context/instant-context.js";
import { exitCodes } from "../shell/failure.js";
import { note, say } from "../shell/output.js";

/** Prints one line for each expression: `current->comm = "sh", '\000' <repeats 13 times>`. Errors go to stderr. */
export function sayValues(values: readonly PrintedValue[]): void {
  for (const { expression, value, error } of values) {
    if (error) note(`vmtape: ${error.message}`);
    else say(`${expression.replace(/^\s*\/[a-z]\s+/, "")} = ${value}`);
  }
}

/** The values for JSON. */
export function valueFacts(values: readonly PrintedValue[]) {
  return values.map(({ expression, value, error }) =>
    error ? { expression, value: null, code: error.code, error: error.message } : { expression, value },
  );
}

/** Sets the exit code by the first failure. To be called when everything was printed. */
export function failFor(values: readonly PrintedValue[] | undefined): void {
  const failed = values?.find(({ error }) => error);
  if (failed?.error) process.exitCode = exitCodes[failed.error.class];
}
