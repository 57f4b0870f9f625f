import { anything, type Command, type Conversation, command, nothing } from "./command.js";
import { formatText } from "./hex.js";
import { ok, Refusal, type Reply, unsupported } from "./reply.js";
import { standing } from "./stop-reply.js";
import { formatThread, isOurThread } from "./syntax.js";

/** The most bytes of a packet, in both directions. */
export const packetBytes = 0x10000;

const offered = [
  `PacketSize=${packetBytes.toString(16)}`,
  "QStartNoAckMode+",
  "qXfer:features:read+",
  "qXfer:memory-map:read+",
  "qXfer:auxv:read+",
  "vContSupported+",
  "ReverseStep+",
  "ReverseContinue+",
  "ConditionalBreakpoints+",
  "swbreak+",
  "hwbreak+",
  "binary-upload+",
  "error-message+",
].join(";");

const noSuchThread = new Refusal("there is one thread, 1: the machine's CPU");

/** Packets for features and modes, threads, and the end of the conversation. */
export const generalCommands: readonly Command[] = [
  command("qSupported", "General-Query-Packets.html#qSupported", anything, negotiate),
  command("QStartNoAckMode", "Packet-Acknowledgment.html", nothing, ({ state }) => {
    state.noAcknowledgement = true;
    return ok;
  }),
  command("vMustReplyEmpty", "Packets.html#vMustReplyEmpty-packet", anything, () => unsupported),
  command("QNonStop", "General-Query-Packets.html#QNonStop", flag, (_, on) =>
    on ? new Refusal("only the all-stop mode is served") : ok,
  ),
  command("QEnableErrorStrings", "lldb: QEnableErrorStrings", nothing, ({ state }) => {
    state.errorStyle = "number and text";
    state.isLldb = true;
    return ok;
  }),
  // LLDB loads its program's sections at these offsets. GDB would move the symbols of a kernel that it has already
  // loaded with its slide.
  command("qOffsets", "General-Query-Packets.html#qOffsets", nothing, ({ state }) =>
    state.isLldb ? "Text=0;Data=0;Bss=0" : unsupported,
  ),
  command("qSymbol", "General-Query-Packets.html#qSymbol-packet", anything, () => ok),
  command("qAttached", "General-Query-Packets.html#qAttached", anything, () => "1"),
  command("!", "Packets.html#_0021-packet", nothing, () => unsupported),
  command(
    "?",
    "Packets.html#_003f-packet",
    nothing,
    ({ state }) => state.lastStop ?? standing(state.features),
  ),

  command("qC", "General-Query-Packets.html#qC", nothing, ({ state }) => `QC${formatThread(state.features)}`),
  command(
    "qfThreadInfo",
    "General-Query-Packets.html#qfThreadInfo",
    nothing,
    ({ state }) => `m${formatThread(state.features)}`,
  ),
  command("qsThreadInfo", "General-Query-Packets.html#qfThreadInfo", nothing, () => "l"),
  command("qThreadExtraInfo", "General-Query-Packets.html#qThreadExtraInfo", thread, (_, ours) =>
    ours ? formatText("CPU 0") : noSuchThread,
  ),
  command(
    "H",
    "Packets.html#thread_002did-syntax",
    (text) => ({ operation: text[0], ours: thread(text.slice(1)) }),
    (_, { operation, ours }) =>
      operation !== "g" && operation !== "c" ? unsupported : ours ? ok : noSuchThread,
  ),
  command("T", "Packets.html#T-packet", thread, (_, ours) => (ours ? ok : noSuchThread)),

  command("D", "Packets.html#D-packet", anything, ({ state }) => {
    state.leaving = "detached";
    return ok;
  }),
  command("k", "Packets.html#k-packet", anything, ({ state }) => {
    state.leaving = "killed";
    return undefined; // `k` has no reply; `vKill` has one
  }),
  command("vKill", "Packets.html#vKill-packet", anything, ({ state }) => {
    state.leaving = "killed";
    return ok;
  }),
];

function negotiate({ state }: Conversation, text: string): Reply {
  const wanted = new Set(text.replace(/^:/, "").split(";"));
  // LLDB knows several processes, too, but it does not need the number of the machine's one process.
  state.isGdb = wanted.has("qRelocInsn+");
  const multiprocess = state.isGdb && wanted.has("multiprocess+");
  state.features = { swbreak: wanted.has("swbreak+"), hwbreak: wanted.has("hwbreak+"), multiprocess };
  return multiprocess ? `${offered};multiprocess+` : offered;
}

function flag(text: string): boolean | undefined {
  return text === ":0" ? false : text === ":1" ? true : undefined;
}

/** `,ID` or `ID`: is it the machine's one thread? */
function thread(text: string): boolean {
  return isOurThread(text.replace(/^,/, ""));
}
