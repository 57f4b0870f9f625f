import type { FileMapping, SpaceEvent } from "./task-history.js";

/**
 * The files' code in each address space, as time goes on. Fed with the events of a history in order; queries are about
 * the latest instant it was moved to.
 */
export class AddressSpaces {
  private readonly events: readonly SpaceEvent[];
  private readonly spaces = new Map<bigint, readonly FileMapping[]>();
  private next = 0;

  constructor(events: readonly SpaceEvent[]) {
    this.events = events;
  }

  /** Takes in what has happened up to an instant; they must ascend. */
  moveTo(icount: number): void {
    for (
      let event = this.events[this.next];
      event && event.icount <= icount;
      event = this.events[++this.next]
    ) {
      this.apply(event);
    }
  }

  /** All of an address space, in the order they were made. */
  of(mm: bigint): readonly FileMapping[] {
    return this.spaces.get(mm) ?? [];
  }

  /** The mapping of an address; undefined where no file's code lies. */
  at(mm: bigint, address: bigint): FileMapping | undefined {
    return this.spaces.get(mm)?.find(({ start, end }) => address >= start && address < end);
  }

  private apply(event: SpaceEvent): void {
    const { mm } = event;
    switch (event.kind) {
      case "free":
        this.spaces.delete(mm);
        return;
      case "copy":
        this.spaces.set(mm, this.spaces.get(event.from) ?? []);
        return;
      case "map": {
        // The kernel has replaced what lay there.
        const { start, end } = event.mapping;
        const others = (this.spaces.get(mm) ?? []).filter((one) => one.end <= start || one.start >= end);
        this.spaces.set(mm, [...others, event.mapping]);
      }
    }
  }
}
