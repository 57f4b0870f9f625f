/** Numbers of one kind, one after another, in one piece of memory that grows. */
export class Column<T extends Uint8Array | Uint16Array | Uint32Array | BigUint64Array> {
  private numbers: T;
  private readonly make: (length: number) => T;
  length = 0;

  constructor(make: (length: number) => T, room = 16) {
    this.make = make;
    this.numbers = make(room);
  }

  /** All numbers so far, borrowed until something is added. */
  get all(): T {
    return this.numbers.subarray(0, this.length) as T;
  }

  get bytes(): number {
    return this.numbers.byteLength;
  }

  at(i: number): T[number] {
    return this.numbers[i]!;
  }

  push(value: T[number]): void {
    if (this.length === this.numbers.length) this.grow(this.length + 1);
    this.numbers[this.length++] = value;
  }

  set(i: number, value: T[number]): void {
    this.numbers[i] = value;
  }

  /** Makes room for `count` more, and gives their places. */
  extend(count: number): T {
    const start = this.length;
    if (start + count > this.numbers.length) this.grow(start + count);
    this.length += count;
    return this.numbers.subarray(start, this.length) as T;
  }

  private grow(least: number): void {
    const larger = this.make(Math.max(least, 2 * this.numbers.length));
    larger.set(this.numbers.subarray(0, this.length) as never);
    this.numbers = larger;
  }
}

export const bytesColumn = () => new Column((length) => new Uint8Array(length));
export const shortColumn = () => new Column((length) => new Uint16Array(length));
export const wordColumn = () => new Column((length) => new Uint32Array(length));
export const longColumn = () => new Column((length) => new BigUint64Array(length));
