import { formatText } from "./hex.js";

/** The answer to a packet: a body, or the reason for a refusal. Undefined when the packet gets no answer. */
export type Reply = string | Refusal | undefined;

/** The answer to a request that is understood but not carried out. */
export class Refusal {
  /**
   * @param message one sentence for the user
   * @param code a Unix error number for clients that take numbers only
   */
  constructor(
    readonly message: string,
    readonly code: number = errorNumber.inval,
  ) {}
}

/** Error numbers of GDB's file-I/O protocol, which are Linux's. */
export const errorNumber = { io: 5, fault: 14, busy: 16, inval: 22, readOnly: 30 } as const;

export const ok = "OK";
/** "This packet is not supported." */
export const unsupported = "";
/**
 * The answer when nothing is mapped at an address. It is a number, since GDB before version 16 takes a text for the
 * digits of memory.
 */
export const unmapped = `E${errorNumber.fault.toString(16).padStart(2, "0")}`;
/** The refusal of all changes: the past cannot be changed. */
export const readOnly = new Refusal(
  "a tape cannot be changed: this is a recording, what happened stays as it was",
  errorNumber.readOnly,
);

/**
 * The form in which a client wants errors: `text` (`E.sentence`, GDB), `number` (`E1e`, LLDB), or `number and text`
 * (`E1e;hex`, LLDB after `QEnableErrorStrings`).
 */
export type ErrorStyle = "text" | "number" | "number and text";

/** The body for a refusal. */
export function formatRefusal({ message, code }: Refusal, style: ErrorStyle): string {
  // GDB shows the text unchanged, so bytes that have a meaning in packets are replaced.
  if (style === "text") return `E.${message.replace(/[^ -~]|[#$}*]/g, "?")}`;
  const number = `E${code.toString(16).padStart(2, "0")}`;
  return style === "number" ? number : `${number};${formatText(message)}`;
}
