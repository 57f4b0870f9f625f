import type { DebugTarget } from "../replay/session/timeline-types.js";
import type { MonitorDesk } from "./monitor-desk.js";
import type { ClientPoints } from "./points.js";
import { type ErrorStyle, Refusal, type Reply } from "./reply.js";
import type { ShownValues } from "./shown-values.js";
import type { StopFeatures } from "./stop-reply.js";

/** What one client has said so far that later packets depend on. */
export interface ClientState {
  errorStyle: ErrorStyle;
  /** It has asked for something that only LLDB asks for. */
  isLldb: boolean;
  /** It has said something that only GDB says. */
  isGdb: boolean;
  features: StopFeatures;
  /** Answers of `x` begin with `b`, as GDB 16 wants; LLDB before version 20, which probes with `x0,0`, does not. */
  binaryPrefix: boolean;
  /** Packets are neither acknowledged nor repeated any more. */
  noAcknowledgement: boolean;
  /** The stop reply that `?` repeats; undefined before anything moved. */
  lastStop: string | undefined;
  /** Files of the guest's processes that the client has open, by descriptor, and the next of these. */
  readonly files: Map<number, Uint8Array>;
  nextFile: number;
  /** Set by a packet that ends the conversation, once it is answered. */
  leaving: "detached" | "killed" | undefined;
}

/** What a handler works with. */
export interface Conversation {
  readonly target: DebugTarget;
  readonly desk: MonitorDesk;
  readonly points: ClientPoints;
  readonly shown: ShownValues;
  readonly state: ClientState;
  /** Fires when the client interrupts this very packet, or goes away. */
  readonly signal: AbortSignal;
  /** Shows the user a text, before the packet is answered. */
  print(text: string): void;
  /** Memory was to be written. Clients say of that only that they cannot. */
  writeRefused(): void;
  /** Says that the answer takes time: GDB waits seconds for one to anything but a run, and complains. */
  pulse(): void;
}

/** One packet of the protocol. */
export interface Command {
  /** How its body begins. A name of several letters ends where the letters do. */
  readonly name: string;
  /** Where the GDB manual (or LLDB's) describes it, under {@link manual}. */
  readonly section: string;
  /** Parses what follows the name, and acts. */
  answer(conversation: Conversation, text: string): Reply | Promise<Reply>;
}

/** The manual that `section` is a page of. LLDB's own packets are in `lldb/docs/resources/lldbgdbremote.md`. */
export const manual = "https://sourceware.org/gdb/current/onlinedocs/gdb.html/";

/**
 * A packet from its parts, parsing apart from acting: `parse` gives undefined for arguments that are wrong, which the
 * client is told; `handle` is called with what it gave.
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

/** For a packet without arguments. */
export function nothing(text: string): true | undefined {
  return text === "" ? true : undefined;
}

/** For a packet whose arguments do not matter. */
export function anything(text: string): string {
  return text;
}
