/** A call that has begun and not returned, of something that is probed with its returns. */
export interface OpenCall<Watch> {
  readonly watch: Watch;
  readonly icount: bigint;
  /** The stack pointer where its return address is. */
  readonly slot: bigint;
  readonly returnTo: bigint;
  /** The task that made it; undefined where that is not known. */
  readonly owner: string | undefined;
}

/** A call that has returned. */
export interface ReturnedCall<Watch> extends OpenCall<Watch> {
  /**
   * False when it cannot be told whether it returned here or was left before without a return (`longjmp`): the same
   * function was entered again from the same place, at the same depth of the stack, and both would return here.
   */
  readonly isCertain: boolean;
}

/**
 * Open calls, by stack. A call is known by the place of its return address: it returns when that address is reached with
 * the stack pointer just behind. Several may share one place: probes on one function, and functions that end in a jump to
 * another, which returns for both.
 */
export class OpenCalls<Watch> {
  private readonly slots = new Map<string, OpenCall<Watch>[]>();
  /** How many were left without a return, as far as is known yet. */
  lost = 0;

  /** @param space tells stacks apart that are at the same addresses: the task, or its page table */
  enter(space: string, call: OpenCall<Watch>): void {
    const key = `${space}:${call.slot}`;
    const before = this.slots.get(key) ?? [];
    // Another return address lies there now, or the stack is another task's: who had the place has left it.
    const live = before.filter((one) => one.returnTo === call.returnTo && one.owner === call.owner);
    this.lost += before.length - live.length;
    live.push(call);
    this.slots.set(key, live);
  }

  /** The calls that return where `pc` is reached with this stack pointer, the innermost first. */
  leave(space: string, pc: bigint, stackPointer: bigint): ReturnedCall<Watch>[] {
    const key = `${space}:${stackPointer - 8n}`;
    const open = this.slots.get(key);
    if (open?.[0]?.returnTo !== pc) return [];
    this.slots.delete(key);
    return open.reverse().map((call, i) => ({
      ...call,
      isCertain: !open.slice(0, i).some(({ watch }) => watch === call.watch),
    }));
  }

  /** How many have not returned: they still run, or were left. */
  get size(): number {
    let count = 0;
    for (const open of this.slots.values()) count += open.length;
    return count;
  }
}
