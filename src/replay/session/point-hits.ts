import { type GuestAddress, icount } from "../../base/units.js";
import { agentOps } from "../../formats/agent-opcodes.js";
import type { ProbeChannel, ProbePlace } from "../../qemu/probe-channel.js";
import type { HitBatch, ProbeHit } from "../../qemu/probe-hits.js";
import type { Access, Instant, StopPoint } from "./timeline-types.js";

/** All hits at one instant. */
export interface Meeting {
  readonly instant: Instant;
  /** The id of a hit is the place of its point in the list of points. */
  readonly hits: readonly ProbeHit[];
}

/**
 * Sets points in a stopped machine; the id of each is its place in the list. `stop`: breakpoints stop the machine.
 */
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

/** A text that is the same for equal lists of points: points that are set already need not be set again. */
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
 * Where a hit stops a forward run: before an instruction with a breakpoint, after one that touched watched memory. A
 * delivery executes no instruction, so one that touched watched memory stops the run after the first instruction of
 * its handler.
 */
export function stopForward({ icount: at, pc, access }: ProbeHit): Instant {
  return access ? { icount: icount(at + 1n) } : { icount: at, pc };
}

/** Where a hit stops a run back: before the instruction or delivery that met the point. */
export function stopBack({ icount: at, pc }: ProbeHit): Instant {
  return { icount: at, pc };
}

/** Are two instants the same? An instant without a pc counts as the same as any other of its icount. */
export function isSame(a: Instant, b: Instant): boolean {
  return a.icount === b.icount && (a.pc === undefined || b.pc === undefined || a.pc === b.pc);
}

/** The access of a hit in the form that debuggers get. */
export function accessOf({ access, pc }: ProbeHit): Access | undefined {
  if (!access) return undefined;
  const { address, physical, length, write } = access;
  return { address, physical, length, write, pc: pc as GuestAddress };
}

/**
 * May a condition ask for the branch count? A number in it may hold the same byte as the opcode; then the answer is a
 * needless yes, which costs only time.
 */
export function mayAskForBranches(points: readonly StopPoint[]): boolean {
  return points.some(({ condition }) => condition?.includes(agentOps.brctr[0]));
}
