/** A function as names tell it. */
export interface NamedFunction {
  readonly name: string;
  /** Bytes from its first instruction; NaN where it is not known where that lies. */
  readonly offset: number;
}

/** Names of the code that runs at the moment; user addresses mean what they mean to the running task. */
export interface FunctionLookup {
  functionOf(address: bigint): NamedFunction | undefined;
}

/** Parts that compilers move out of line belong to the function they are of. */
const outOfLine = /\.cold(\.\d+)?$/;

/**
 * The functions that were met, numbered from 0, and which one each address lies in. Kernel addresses always mean the same;
 * those of user space belong to a *space*, a number the caller gives. An address is looked up once a space.
 *
 * Memory: 24 bytes an address.
 */
export class FunctionTable {
  readonly names: string[] = [];
  readonly isKernel: boolean[] = [];
  /** First addresses; undefined where the names did not tell. The same program may lie elsewhere in another space. */
  readonly starts: (bigint | undefined)[] = [];
  private readonly byKey = new Map<string, number>();
  private count = 0;
  private mask = (1 << 14) - 1;
  private lows = new Uint32Array(1 << 14);
  private highs = new Uint32Array(1 << 14);
  private spaces = new Int32Array(1 << 14).fill(-1);
  /** Twice the function, and 1 where the address is its first. */
  private values = new Int32Array(1 << 14);

  get length(): number {
    return this.names.length;
  }

  /**
   * Twice the number of the function an address lies in, and 1 more at its first instruction.
   *
   * @param space of user addresses; 0 where there is no user space: before Linux runs, or without it
   */
  find(low: number, high: number, space: number, names: FunctionLookup | undefined): number {
    const owner = high >>> 31 ? 0 : space;
    let place = this.placeOf(low, high, owner);
    while (this.spaces[place]! >= 0) {
      if (this.lows[place] === low && this.highs[place] === high && this.spaces[place] === owner) {
        return this.values[place]!;
      }
      place = (place + 1) & this.mask;
    }
    const value = this.look(low, high, space === 0, names);
    this.lows[place] = low;
    this.highs[place] = high;
    this.spaces[place] = owner;
    this.values[place] = value;
    if (++this.count * 2 > this.mask) this.grow();
    return value;
  }

  /** The number of a function by its name; makes one that has no address. */
  named(name: string, isKernel: boolean): number {
    return this.intern(`${isKernel ? "k" : "u"}:${name}`, name, isKernel, undefined);
  }

  private look(low: number, high: number, isBare: boolean, names: FunctionLookup | undefined): number {
    const isKernel = isBare || high >>> 31 === 1;
    const address = (BigInt(high) << 32n) | BigInt(low);
    const found = names?.functionOf(address);
    if (!found) return 2 * this.named(isBare ? "[before Linux]" : isKernel ? "[kernel]" : "[user]", isKernel);
    const side = isKernel ? "k" : "u";
    if (outOfLine.test(found.name)) return 2 * this.named(found.name.replace(outOfLine, ""), isKernel);
    // Code of a file without symbols: a name, and no first instruction.
    if (Number.isNaN(found.offset)) return 2 * this.named(found.name, isKernel);
    const start = address - BigInt(found.offset);
    // Programs move by pages; two static functions of one name seldom have one place within theirs.
    const where = isKernel ? start : start & 0xfffn;
    const plain = `${side}:${found.name}`;
    const first = this.byKey.get(plain);
    const key = first === undefined || this.isAt(first, where) ? plain : `${plain}@${where}`;
    const number = this.intern(key, found.name, isKernel, start);
    return 2 * number + (found.offset === 0 ? 1 : 0);
  }

  /** Is it the function at this place, or one of which only a part out of line was met yet? */
  private isAt(number: number, where: bigint): boolean {
    const start = this.starts[number];
    if (start === undefined) return true;
    return (this.isKernel[number] ? start : start & 0xfffn) === where;
  }

  private intern(key: string, name: string, isKernel: boolean, start: bigint | undefined): number {
    const known = this.byKey.get(key);
    if (known !== undefined) {
      this.starts[known] ??= start;
      return known;
    }
    const number = this.names.push(name) - 1;
    this.isKernel.push(isKernel);
    this.starts.push(start);
    this.byKey.set(key, number);
    return number;
  }

  private placeOf(low: number, high: number, space: number): number {
    const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high ^ Math.imul(space, 0x2c1b3c6d), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & this.mask;
  }

  private grow(): void {
    const { lows, highs, spaces, values } = this;
    const size = 2 * (this.mask + 1);
    this.mask = size - 1;
    this.lows = new Uint32Array(size);
    this.highs = new Uint32Array(size);
    this.spaces = new Int32Array(size).fill(-1);
    this.values = new Int32Array(size);
    for (let i = 0; i < spaces.length; i++) {
      if (spaces[i]! < 0) continue;
      let place = this.placeOf(lows[i]!, highs[i]!, spaces[i]!);
      while (this.spaces[place]! >= 0) place = (place + 1) & this.mask;
      this.lows[place] = lows[i]!;
      this.highs[place] = highs[i]!;
      this.spaces[place] = spaces[i]!;
      this.values[place] = values[i]!;
    }
  }
}
