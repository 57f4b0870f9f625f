import { firstKernelAddress, type GuestAddress } from "../base/units.js";
import type { Condition, DebugTarget, PointId, StopPoint } from "../replay/session/timeline-types.js";

/** The types of `Z` packets: software and hardware breakpoint, write, read and access watchpoint. */
export type PointType = "swbreak" | "hwbreak" | "watch" | "rwatch" | "awatch";

/** A point as a client names it. `Z` with the same three values replaces it, `z` removes it. */
export interface ClientPoint {
  readonly type: PointType;
  readonly address: GuestAddress;
  /** The length in bytes: of a watchpoint, or of a breakpoint's instruction, which does not matter here. */
  readonly size: number;
}

interface Inserted {
  readonly point: ClientPoint;
  /** Ids of the target's points, one for each condition. */
  readonly ids: readonly PointId[];
  readonly conditional: boolean;
}

/** The most points of a client, more than any debugger sets. It keeps a client from filling the server's memory. */
const mostPoints = 4096;

/** The points of one client in a target. Finds the client's point for each point of the target. */
export class ClientPoints {
  private readonly target: DebugTarget;
  private readonly inserted = new Map<string, Inserted>();
  private readonly byId = new Map<PointId, ClientPoint>();

  constructor(target: DebugTarget) {
    this.target = target;
  }

  /**
   * Sets a point, or gives new conditions to one that is set. A hit counts when at least one condition holds.
   *
   * @returns false when there are too many
   */
  insert(point: ClientPoint, conditions: readonly Condition[]): boolean {
    this.remove(point);
    if (this.byId.size + Math.max(1, conditions.length) > mostPoints) return false;
    const conditional = conditions.length > 0;
    const ids = (conditional ? conditions : [undefined]).map((condition) =>
      this.target.addPoint(stopPoint(point, condition)),
    );
    for (const id of ids) this.byId.set(id, point);
    this.inserted.set(keyOf(point), { point, ids, conditional });
    return true;
  }

  /** Removes a point. Does nothing when it is not set. */
  remove(point: ClientPoint): void {
    const inserted = this.inserted.get(keyOf(point));
    if (inserted) this.drop(inserted);
  }

  /** Removes all points. */
  clear(): void {
    for (const inserted of [...this.inserted.values()]) this.drop(inserted);
  }

  /** The client's point for a point of the target; undefined when it is not one of the client's. */
  find(id: PointId): ClientPoint | undefined {
    return this.byId.get(id);
  }

  /** The write watchpoints on user addresses, which mean other memory in another process. */
  watched(): ReadonlyMap<string, ClientPoint> {
    const found = new Map<string, ClientPoint>();
    for (const [key, { point }] of this.inserted) {
      if (point.type === "watch" && point.address < firstKernelAddress) found.set(key, point);
    }
    return found;
  }

  /** A text that is another one for each point of a client. */
  keyOf(point: ClientPoint): string {
    return keyOf(point);
  }

  /** Does a breakpoint without a condition lie here? */
  breaksAt(address: GuestAddress): boolean {
    for (const { point, conditional } of this.inserted.values()) {
      if (!conditional && point.address === address && watchKind(point.type) === undefined) return true;
    }
    return false;
  }

  private drop({ point, ids }: Inserted): void {
    this.inserted.delete(keyOf(point));
    for (const id of ids) {
      this.byId.delete(id);
      this.target.removePoint(id);
    }
  }
}

function keyOf({ type, address, size }: ClientPoint): string {
  return `${type} ${address} ${size}`;
}

function watchKind(type: PointType): "write" | "read" | "access" | undefined {
  switch (type) {
    case "watch":
      return "write";
    case "rwatch":
      return "read";
    case "awatch":
      return "access";
    default:
      return undefined;
  }
}

function stopPoint({ type, address, size }: ClientPoint, condition: Condition | undefined): StopPoint {
  const kind = watchKind(type);
  const when = condition && { condition };
  return kind
    ? { kind, space: "virtual", address, length: size, ...when }
    : { kind: "execute", address, ...when };
}
