import { formatText } from "./hex.js";

/** The answer to a packet: a body, or why there is none. Undefined: the packet gets no answer. */
export type Reply = string | Refusal | undefined;

/** A request that is understood and not done. */
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
/** Nothing is mapped at an address. A number, since GDB before version 16 takes any text for memory's digits. */
export const unmapped = `E${errorNumber.fault.toString(16).padStart(2, "0")}`;
/** Nothing in the past can be changed. */
export const readOnly = new Refusal(
  "a tape cannot be changed: this is a recording, what happened stays as it was",
  errorNumber.readOnly,
);

/**
 * How a client takes errors: `text` (`E.sentence`, GDB), `number` (`E1e`, LLDB), or `number and text` (`E1e;hex`, LLDB
 * after `QEnableErrorStrings`).
 */
export type ErrorStyle = "text" | "number" | "number and text";

/** A refusal as a body. */
export function formatRefusal({ message, code }: Refusal, style: ErrorStyle): string {
  // GDB shows the text as it stands; it must hold no byte with a meaning in packets.
  if (style === "text") return `E.${message.replace(/[^ -~]|[#$}*]/g, "?")}`;
  const number = `E${code.toString(16).padStart(2, "0")}`;
  return style === "number" ? number : `${number};${formatText(message)}`;
}
