import { type GuestAddress, icount } from "../../base/units.js";
import { agentOps } from "../../formats/agent-opcodes.js";
import type { ProbeChannel, ProbePlace } from "../../qemu/probe-channel.js";
import type { HitBatch, ProbeHit } from "../../qemu/probe-hits.js";
import type { Access, Instant, StopPoint } from "./timeline-types.js";

/** All that was met at one instant. */
export interface Meeting {
  readonly instant: Instant;
  /** Their ids are places in the list of points. */
  readonly hits: readonly ProbeHit[];
}

/** Sets points in a stopped machine, each with its place in the list as id. `stop`: those of execution stop it. */
export async function placePoints(
  channel: ProbeChannel,
  points: readonly StopPoint[],
  options: { readonly stop?: boolean } = {},
): Promise<void> {
  for (const [id, point] of points.entries()) {
    await channel.place(id, placeOf(point), {
      ...(point.condition && { when: point.condition }),
      ...(options.stop && point.kind === "execute" && { stop: true }),
    });
  }
}

/** Are two lists of points the same, so that those that are set can stay? */
export function pointsText(points: readonly StopPoint[]): string {
  return points.map(pointText).join(";");
}

function pointText(point: StopPoint): string {
  const condition = point.condition ? Buffer.from(point.condition).toString("hex") : "";
  if (point.kind === "execute") return `x ${point.address} ${condition}`;
  return `${point.kind} ${point.space} ${point.address} ${point.length} ${condition}`;
}

function placeOf(point: StopPoint): ProbePlace {
  if (point.kind === "execute") return { at: "execute", address: point.address };
  const { kind, space, address, length } = point;
  return { at: kind, space, address, length };
}

/** All hits of a batch, in order. */
export function* hitsOf(batch: HitBatch): Generator<ProbeHit> {
  for (let i = 0; i < batch.length; i++) yield batch.hit(i);
}

/**
 * Where a hit stops a forward run: before an instruction that is a breakpoint, after one that touched watched memory.
 * After a delivery, which takes no instruction, that is the end of the handler's first one.
 */
export function stopForward({ icount: at, pc, access }: ProbeHit): Instant {
  return access ? { icount: icount(at + 1n) } : { icount: at, pc };
}

/** Where a hit stops a run back: before the instruction or delivery that met the point. */
export function stopBack({ icount: at, pc }: ProbeHit): Instant {
  return { icount: at, pc };
}

/** Are they one instant? Without an address, an instant is taken for the same as others of its icount. */
export function isSame(a: Instant, b: Instant): boolean {
  return a.icount === b.icount && (a.pc === undefined || b.pc === undefined || a.pc === b.pc);
}

/** The access of a hit, as a debugger is told. */
export function accessOf({ access, pc }: ProbeHit): Access | undefined {
  if (!access) return undefined;
  const { address, physical, length, write } = access;
  return { address, physical, length, write, pc: pc as GuestAddress };
}

/** May a condition ask for the branch count? Yes, too, where the byte is part of a number: that costs only time. */
export function mayAskForBranches(points: readonly StopPoint[]): boolean {
  return points.some(({ condition }) => condition?.includes(agentOps.brctr[0]));
}
