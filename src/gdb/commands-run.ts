import { guestAddress } from "../base/units.js";
import type { Arrival, Direction } from "../replay/session/timeline-types.js";
import { type StepRange, stepRange } from "../replay/timeline/motion.js";
import { type Command, type Conversation, command, nothing } from "./command.js";
import { parseHex } from "./hex.js";
import type { Reply } from "./reply.js";
import { halted, stopReply } from "./stop-reply.js";
import { isOurThread } from "./syntax.js";

/** The action of `vCont` for the machine's one thread. */
type Action =
  | { readonly kind: "step" | "continue" | "stop" }
  | { readonly kind: "range"; readonly range: StepRange };

/** Packets that move the target. Signals (`C`, `S`) are accepted and ignored, since a machine has none. */
export const runCommands: readonly Command[] = [
  command("vCont?", "Packets.html#vCont-packet", nothing, () => "vCont;c;C;s;S;r;t"),
  command("vCont", "Packets.html#vCont-packet", parseActions, act),
  command("c", "Packets.html#c-packet", noAddress, (c) => move(c, goOn)),
  command("C", "Packets.html#C-packet", noAddressAfterSignal, (c) => move(c, goOn)),
  command("s", "Packets.html#s-packet", noAddress, (c) => move(c, step)),
  command("S", "Packets.html#S-packet", noAddressAfterSignal, (c) => move(c, step)),
  command("bc", "Packets.html#bc", nothing, (c) =>
    move(c, ({ target, signal }) => target.run("back", signal), "back"),
  ),
  command("bs", "Packets.html#bs", nothing, (c) =>
    move(c, ({ target, signal }) => target.stepBack(1, signal), "back"),
  ),
];

function act(conversation: Conversation, action: Action): Reply | Promise<Reply> {
  switch (action.kind) {
    case "continue":
      return move(conversation, goOn);
    case "step":
      return move(conversation, step);
    case "range":
      return move(conversation, ({ target, points, signal }) =>
        stepRange(target, action.range, (pc) => points.breaksAt(pc), signal),
      );
    case "stop":
      return halted(conversation.state.features); // it stands already, otherwise this packet would not be read now
  }
}

function goOn({ target, signal }: Conversation): Promise<Arrival> {
  return target.run("forward", signal);
}

function step({ target, signal }: Conversation): Promise<Arrival> {
  return target.stepForward(1, signal);
}

/**
 * Moves the target, and answers with a stop reply. The text of a failure is printed before, because LLDB would close
 * the connection at any other answer than a stop reply.
 */
async function move(
  conversation: Conversation,
  how: (conversation: Conversation) => Promise<Arrival>,
  direction: Direction = "forward",
): Promise<Reply> {
  const { points, shown, state, signal } = conversation;
  try {
    await shown.begin();
    const arrival = await shown.settle(await how(conversation), direction, signal);
    state.lastStop = stopReply(arrival, points, state.features);
  } catch (error) {
    conversation.print(`vmtape: ${error instanceof Error ? error.message : String(error)}\n`);
    state.lastStop = halted(state.features);
  }
  return state.lastStop;
}

/** Reads `;ACTION[:THREAD]…`: the first action that names the machine's thread counts. */
function parseActions(text: string): Action | undefined {
  for (const part of text.split(";").slice(1)) {
    const [, action = "", thread] = /^([^:]*)(?::(.*))?$/.exec(part) ?? [];
    const wanted = parseAction(action);
    if (!wanted) return undefined;
    if (thread === undefined || isOurThread(thread)) return wanted;
  }
  return undefined;
}

function parseAction(text: string): Action | undefined {
  if (/^(c|C[0-9a-f]{2})$/i.test(text)) return { kind: "continue" };
  if (/^s$|^S[0-9a-f]{2}$/.test(text)) return { kind: "step" };
  if (text === "t") return { kind: "stop" };
  const [, first, last] = /^r([^,]*),([^,]*)$/.exec(text) ?? [];
  const start = parseHex(first);
  const end = parseHex(last);
  if (start === undefined || end === undefined) return undefined;
  return { kind: "range", range: { start: guestAddress(start), end: guestAddress(end) } };
}

/** The parser of `c` and `s`. It refuses an address to go on at: the run would be another than the recorded one. */
function noAddress(text: string): true | undefined {
  return nothing(text);
}

function noAddressAfterSignal(text: string): true | undefined {
  return /^[0-9a-f]{2}$/i.test(text) ? true : undefined;
}
