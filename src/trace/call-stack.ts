/** What a frame was made by; it decides which transfer ends it. */
export const frameTypes = {
  /** Ends with a return to just after the call. */
  call: 0,
  /** A call of the function that changes tasks: its return may be another task's. */
  switch: 1,
  /** Ends with a return to the interrupted instruction. */
  interrupt: 2,
  /** Ends with a return to the faulting instruction or the one after it. */
  exception: 3,
  /** Ends with a return to after the system call. */
  syscall: 4,
} as const;

/** Set in the type of an entry that was left to another place: what runs there may still come back to it. */
const diverted = 8;
const typeMask = 7;

/** The longest x86 instruction. */
const longestInstruction = 15n;
/** The shortest call. */
const shortestCall = 2n;
const syscallBytes = 2n;
/** Levels that are looked through for one that fits: an odd trace must not cost the square of its length. */
const mostLevels = 1024;

/**
 * What a task has not yet returned from, as columns. At most `most` frames are kept: beyond that the oldest half
 * is dropped, and the depth goes on counting it.
 */
export class CallStack {
  private count = 0;
  private dropped = 0;
  private sites = new BigUint64Array(64);
  private functions = new BigUint64Array(64);
  private types = new Uint8Array(64);
  /** Was it left by a change of tasks? Then only another one comes back to it. */
  leftBySwitch = false;
  /** Was it, or another one, taken for the running one by a guess? Then its frames may be another task's. */
  isDoubtful = false;

  constructor(
    /** Names the stack: 1 for the first that was seen, 0 while that is open. */
    public id: number,
    private readonly most = 1 << 16,
  ) {}

  /** Frames kept. */
  get length(): number {
    return this.count;
  }

  /** Frames, with those that were dropped. */
  get depth(): number {
    return this.count + this.dropped;
  }

  /**
   * @param site address of the instruction that called or was interrupted
   * @param target first address of what runs now
   */
  push(type: number, site: bigint, target: bigint): void {
    if (this.count === this.most) this.dropOldest();
    if (this.count === this.types.length) this.grow();
    this.sites[this.count] = site;
    this.functions[this.count] = target;
    this.types[this.count] = type;
    this.count++;
  }

  /** Takes off the newest `levels` frames. */
  pop(levels = 1): void {
    this.count = Math.max(0, this.count - levels);
  }

  clear(): void {
    this.count = 0;
    this.dropped = 0;
  }

  /** Type of the frame `level` below the newest (0); undefined when there is none. */
  typeAt(level: number): number | undefined {
    return level < this.count ? this.types[this.count - 1 - level]! & typeMask : undefined;
  }

  /** First address of what runs in that frame. */
  functionAt(level: number): bigint | undefined {
    return level < this.count ? this.functions[this.count - 1 - level] : undefined;
  }

  /** Address of the instruction that made that frame. */
  siteAt(level: number): bigint | undefined {
    return level < this.count ? this.sites[this.count - 1 - level] : undefined;
  }

  /** The newest frame now runs another function (a tail call). A call of the switch function stays one. */
  become(target: bigint, type: number): void {
    const newest = this.count - 1;
    if (newest < 0) return;
    this.functions[newest] = target;
    if (this.types[newest]! <= frameTypes.switch) this.types[newest] = Math.max(this.types[newest]!, type);
  }

  /** The newest frame, an entry, was left to another place than it came from. */
  divert(): void {
    if (this.count > 0) this.types[this.count - 1]! |= diverted;
  }

  /** Was the newest frame left so? */
  get isDiverted(): boolean {
    return this.count > 0 && (this.types[this.count - 1]! & diverted) !== 0;
  }

  /** Does a return to `to` end that frame, a call? */
  endsCall(level: number, to: bigint): boolean {
    const index = this.count - 1 - level;
    if (index < 0 || this.types[index]! > frameTypes.switch) return false;
    const length = to - this.sites[index]!;
    return length >= shortestCall && length <= longestInstruction;
  }

  /** Does leaving the kernel to `to` end that frame, an entry into it? */
  endsEntry(level: number, to: bigint): boolean {
    const index = this.count - 1 - level;
    if (index < 0) return false;
    const length = to - this.sites[index]!;
    switch (this.types[index]! & typeMask) {
      case frameTypes.interrupt:
        return length === 0n;
      case frameTypes.exception:
        return length >= 0n && length <= longestInstruction;
      case frameTypes.syscall:
        return length === syscallBytes;
      default:
        return false;
    }
  }

  /** The first call from the newest on that a return to `to` ends, not looking beyond an entry; -1 for none. */
  findCall(to: bigint): number {
    const end = Math.min(this.count, mostLevels);
    for (let level = 0; level < end; level++) {
      if (this.endsCall(level, to)) return level;
      if (this.types[this.count - 1 - level]! > frameTypes.switch) return -1;
    }
    return -1;
  }

  /** The first entry from the newest on that leaving the kernel to `to` ends; -1 for none. */
  findEntry(to: bigint): number {
    const end = Math.min(this.count, mostLevels);
    for (let level = 0; level < end; level++) if (this.endsEntry(level, to)) return level;
    return -1;
  }

  /** The first frame from the newest on for which it is true; -1 for none. */
  findFrame(isIt: (target: bigint, type: number, site: bigint) => boolean): number {
    const end = Math.min(this.count, mostLevels);
    for (let level = 0; level < end; level++) {
      const index = this.count - 1 - level;
      if (isIt(this.functions[index]!, this.types[index]! & typeMask, this.sites[index]!)) return level;
    }
    return -1;
  }

  private dropOldest(): void {
    const half = this.most >> 1;
    for (const column of [this.sites, this.functions, this.types]) column.copyWithin(0, half, this.count);
    this.count -= half;
    this.dropped += half;
  }

  private grow(): void {
    const size = Math.min(this.most, 2 * this.types.length);
    const wide = (from: BigUint64Array) => {
      const to = new BigUint64Array(size);
      to.set(from);
      return to;
    };
    this.sites = wide(this.sites);
    this.functions = wide(this.functions);
    const types = new Uint8Array(size);
    types.set(this.types);
    this.types = types;
  }
}
