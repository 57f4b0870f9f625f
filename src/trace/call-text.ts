import type { CallEvent, CallGuess } from "./calls.js";

/** What a guess means, for people. */
export const guessTexts: Readonly<Record<CallGuess, string>> = {
  "entered-before": "entered before the trace",
  unwound: "several levels at once",
  task: "which task is open",
  switched: "goes on on another stack",
  "new-stack": "a stack not seen before",
  elsewhere: "not where it was entered from",
  leaves: "leaves the function",
};

const verbs: Readonly<Record<CallEvent["type"], string>> = {
  call: "call",
  return: "return",
  "tail-call": "tail call",
  jump: "jump",
  enter: "enter",
  leave: "leave",
};

/**
 * A line of the call tree: brctr in twelve digits, two blanks a level, what happened, to where and from where. A
 * `?` begins what had to be guessed.
 *
 * @param name how an address is written
 */
export function formatCall(event: CallEvent, name: (address: bigint) => string, kind = ""): string {
  const { type, brctr, depth, from, to, levels, guess } = event;
  const what = type === "enter" || type === "leave" ? `${verbs[type]}${kind && ` (${kind})`}` : verbs[type];
  const text = `${String(brctr).padStart(12, "0")} ${"  ".repeat(depth)}${what} ${name(to)}  from ${name(from)}`;
  if (!guess) return text;
  const many = guess === "unwound" ? `: ${levels}` : "";
  return `${text}  ? ${guessTexts[guess]}${many}`;
}
