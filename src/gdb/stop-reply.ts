import type { GuestAddress } from "../base/units.js";
import type { Arrival } from "../replay/session/timeline-types.js";
import type { ClientPoint, ClientPoints } from "./points.js";
import { formatThread } from "./syntax.js";

/** Signals of a stop reply. GDB manual, "Stop Reply Packets"; numbers of include/gdb/signals.def. */
const signal = { none: 0, interrupt: 2, trap: 5 } as const;

/** Features of stop replies that a client has asked for; old clients do not know them. */
export interface StopFeatures {
  readonly swbreak: boolean;
  readonly hwbreak: boolean;
  /** Thread ids contain the process. */
  readonly multiprocess: boolean;
}

/** The stop reply before anything has happened. */
export function standing(features: StopFeatures): string {
  return stop(features, signal.trap);
}
/** The answer to `vCont;t`. */
export function halted(features: StopFeatures): string {
  return stop(features, signal.none);
}

/**
 * The stop reply for an arrival.
 *
 *     T05replaylog:begin;thread:01;        the tape's start; `end`: its end
 *     T05watch:ffff888003a01000;thread:01; a watchpoint and the address within it that was touched
 *     T05swbreak:;thread:01;               a software breakpoint; GDB then leaves the pc alone
 *     T02thread:01;                        an interrupt: Ctrl-C
 */
export function stopReply(arrival: Arrival, points: ClientPoints, features: StopFeatures): string {
  switch (arrival.why) {
    case "start":
      return stop(features, signal.trap, "replaylog:begin;");
    case "end":
      return stop(features, signal.trap, "replaylog:end;");
    case "cancelled":
      return stop(features, signal.interrupt);
    case "reached":
      return stop(features, signal.trap);
    case "point":
      return stop(features, signal.trap, reason(arrival, points, features));
  }
}

function reason(arrival: Arrival, points: ClientPoints, features: StopFeatures): string {
  const met = arrival.points.map((id) => points.find(id)).filter((point) => point !== undefined);
  // A reply names only one reason. GDB finds out breakpoints by the pc, but not watchpoints, so these come first.
  const watch = met.find(({ type }) => type !== "swbreak" && type !== "hwbreak");
  if (watch) return `${watch.type}:${touched(watch, arrival).toString(16)};`;
  if (features.swbreak && met.some(({ type }) => type === "swbreak")) return "swbreak:;";
  if (features.hwbreak && met.some(({ type }) => type === "hwbreak")) return "hwbreak:;";
  return "";
}

/**
 * The touched address for GDB, which looks for the watchpoint that contains it. So it must lie within the watched
 * bytes when the access begins before them.
 */
function touched({ address }: ClientPoint, { access }: Arrival): GuestAddress {
  return access && access.address > address ? access.address : address;
}

function stop(features: StopFeatures, number: number, reason = ""): string {
  return `T${number.toString(16).padStart(2, "0")}${reason}thread:${formatThread(features)};`;
}
