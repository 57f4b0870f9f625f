import { guestAddress } from "../base/units.js";
import type { Condition } from "../replay/session/timeline-types.js";
import { type Command, command } from "./command.js";
import { parseBytes, parseHex, parseHexCount } from "./hex.js";
import type { ClientPoint, PointType } from "./points.js";
import { ok, Refusal, unsupported } from "./reply.js";

/** The types of points by their number in `Z` and `z` packets. */
const types: readonly PointType[] = ["swbreak", "hwbreak", "watch", "rwatch", "awatch"];
/** The most bytes of a watchpoint; more would be a mistake. */
const longestWatch = 1 << 30;

/** The parser's result for a type that is not served; it is answered like a packet that is not served. */
const otherType = "other type";

interface PointRequest extends ClientPoint {
  readonly conditions: readonly Condition[];
}

/** Packets for breakpoints and watchpoints. */
export const pointCommands: readonly Command[] = [
  command("Z", "Packets.html#insert-breakpoint-or-watchpoint-packet", parsePoint, ({ points }, request) => {
    if (request === otherType) return unsupported;
    const { conditions, ...point } = request;
    return points.insert(point, conditions) ? ok : new Refusal("there are too many points");
  }),
  command("z", "Packets.html#insert-breakpoint-or-watchpoint-packet", parsePoint, ({ points }, request) => {
    if (request === otherType) return unsupported;
    const { conditions: _, ...point } = request;
    points.remove(point);
    return ok;
  }),
];

/**
 * Reads `TYPE,ADDR,KIND[;COND…]`, COND being `XLENGTH,EXPRESSION`.
 *
 * @returns undefined for anything else, also for `cmds:`, a feature that the server does not offer
 */
function parsePoint(text: string): PointRequest | typeof otherType | undefined {
  const [place = "", ...parts] = text.split(";");
  const [type, address, size, ...more] = place.split(",");
  const known = type !== undefined && /^\d$/.test(type) ? types[Number(type)] : undefined;
  if (known === undefined) return otherType;
  const start = parseHex(address);
  const length = parseHexCount(size);
  if (start === undefined || length === undefined || more.length > 0) return undefined;
  const isWatch = known !== "swbreak" && known !== "hwbreak";
  if (isWatch && (length < 1 || length > longestWatch)) return undefined;
  const conditions = parseConditions(parts.join(";"));
  return conditions && { type: known, address: guestAddress(start), size: length, conditions };
}

/** Reads expressions one after another; older clients put no `;` between them. */
function parseConditions(text: string): Condition[] | undefined {
  const conditions: Condition[] = [];
  let rest = text;
  while (rest !== "") {
    const [head, length] = /^;?X([0-9a-f]{1,8}),/i.exec(rest) ?? [];
    const digits = 2 * (parseHexCount(length) ?? 0);
    if (head === undefined || digits === 0) return undefined;
    const bytes = parseBytes(rest.slice(head.length, head.length + digits));
    if (bytes?.length !== digits / 2) return undefined;
    conditions.push(bytes);
    rest = rest.slice(head.length + digits);
  }
  return conditions;
}
