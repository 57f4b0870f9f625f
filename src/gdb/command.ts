import type { DebugTarget } from "../replay/session/timeline-types.js";
import type { MonitorDesk } from "./monitor-desk.js";
import type { ClientPoints } from "./points.js";
import { type ErrorStyle, Refusal, type Reply } from "./reply.js";
import type { ShownValues } from "./shown-values.js";
import type { StopFeatures } from "./stop-reply.js";

/** What the client's packets so far have set, on which later ones depend. */
export interface ClientState {
  errorStyle: ErrorStyle;
  /** The client has sent a packet that only LLDB sends. */
  isLldb: boolean;
  /** The client has sent something that only GDB sends. */
  isGdb: boolean;
  features: StopFeatures;
  /** Answers of `x` begin with `b`, as GDB 16 wants; LLDB before version 20, which probes with `x0,0`, does not. */
  binaryPrefix: boolean;
  /** Packets are no longer acknowledged or repeated. */
  noAcknowledgement: boolean;
  /** The stop reply that `?` repeats; undefined before the target has moved. */
  lastStop: string | undefined;
  /** Files of the guest's processes that the client has open, by descriptor, and the next of these. */
  readonly files: Map<number, Uint8Array>;
  nextFile: number;
  /** Set by a packet that ends the conversation. It ends once that packet is answered. */
  leaving: "detached" | "killed" | undefined;
}

/** What a handler works with. */
export interface Conversation {
  readonly target: DebugTarget;
  readonly desk: MonitorDesk;
  readonly points: ClientPoints;
  readonly shown: ShownValues;
  readonly state: ClientState;
  /** Fires when the client interrupts this packet, or leaves. */
  readonly signal: AbortSignal;
  /** Shows the user a text, before the packet is answered. */
  print(text: string): void;
  /** Called when the client asks to write memory, since clients tell their users only that it failed, not why. */
  writeRefused(): void;
  /**
   * Tells the client that the answer takes more time. Except for runs, GDB complains when an answer takes some
   * seconds.
   */
  pulse(): void;
}

/** One packet of the protocol. */
export interface Command {
  /** How its body begins. A name of several letters ends where the letters do. */
  readonly name: string;
  /** The page of the GDB manual (or LLDB's document) that describes it, below {@link manual}. */
  readonly section: string;
  /** Parses the text after the name, and does what it asks. */
  answer(conversation: Conversation, text: string): Reply | Promise<Reply>;
}

/** The manual whose pages `section` names. LLDB's own packets are in `lldb/docs/resources/lldbgdbremote.md`. */
export const manual = "https://sourceware.org/gdb/current/onlinedocs/gdb.html/";

/**
 * Makes a command of a parser and a handler. `parse` returns undefined for wrong arguments, and the client gets an
 * error. Otherwise `handle` is called with its result.
 */
export function command<Arguments>(
  name: string,
  section: string,
  parse: (text: string) => Arguments | undefined,
  handle: (conversation: Conversation, args: Arguments) => Reply | Promise<Reply>,
): Command {
  return {
    name,
    section,
    answer(conversation, text) {
      const args = parse(text);
      if (args === undefined) return new Refusal(`what follows '${name}' in this packet is not understood`);
      return handle(conversation, args);
    },
  };
}

/** The parser of packets without arguments. */
export function nothing(text: string): true | undefined {
  return text === "" ? true : undefined;
}

/** The parser of packets whose arguments do not matter. */
export function anything(text: string): string {
  return text;
}
