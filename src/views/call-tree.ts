/** No function: a root. */
export const noFunction = -1;

/**
 * A tree of call paths that grows, as columns of numbers: a node is a function called along one path, its parent has a
 * lower number. Roots have a task for their `task` and no function. Memory: 57 bytes a node and 8 of the index.
 */
export class CallTree {
  length = 0;
  parent = new Int32Array(1 << 12);
  /** Of the function table; {@link noFunction} for a root. */
  fn = new Int32Array(1 << 12);
  task = new Int32Array(1 << 12);
  /** 1 in the trees of interrupts. */
  apart = new Uint8Array(1 << 12);
  self = new Float64Array(1 << 12);
  branches = new Float64Array(1 << 12);
  calls = new Float64Array(1 << 12);
  /** The child that was met last: most calls are of that. */
  private lastChild = new Int32Array(1 << 12);
  private index = new Int32Array(1 << 13).fill(-1);
  /** Were paths charged to where they begin, because there were too many? */
  isCut = false;

  /** @param most nodes at most; further paths count for the last node of theirs that is there */
  constructor(private readonly most = 4_000_000) {}

  /** Adds a root. */
  root(task: number, apart: boolean): number {
    return this.add(-1, noFunction, task, apart ? 1 : 0);
  }

  /** The node of a function called from a node. */
  child(parent: number, fn: number): number {
    const last = this.lastChild[parent]!;
    if (last > 0 && this.fn[last] === fn) return last;
    const mask = this.index.length - 1;
    let place = hash(parent, fn) & mask;
    for (;;) {
      const node = this.index[place]!;
      if (node < 0) break;
      if (this.parent[node] === parent && this.fn[node] === fn) {
        this.lastChild[parent] = node;
        return node;
      }
      place = (place + 1) & mask;
    }
    if (this.length >= this.most) {
      this.isCut = true;
      return parent;
    }
    const node = this.add(parent, fn, this.task[parent]!, this.apart[parent]!);
    this.index[place] = node;
    this.lastChild[parent] = node;
    if (2 * this.length > mask) this.rehash();
    return node;
  }

  private add(parent: number, fn: number, task: number, apart: number): number {
    const node = this.length++;
    if (node >= this.parent.length) this.grow();
    this.parent[node] = parent;
    this.fn[node] = fn;
    this.task[node] = task;
    this.apart[node] = apart;
    return node;
  }

  private grow(): void {
    const size = 2 * this.parent.length;
    this.parent = larger(this.parent, new Int32Array(size));
    this.fn = larger(this.fn, new Int32Array(size));
    this.task = larger(this.task, new Int32Array(size));
    this.apart = larger(this.apart, new Uint8Array(size));
    this.self = larger(this.self, new Float64Array(size));
    this.branches = larger(this.branches, new Float64Array(size));
    this.calls = larger(this.calls, new Float64Array(size));
    this.lastChild = larger(this.lastChild, new Int32Array(size));
  }

  private rehash(): void {
    this.index = new Int32Array(2 * this.index.length).fill(-1);
    const mask = this.index.length - 1;
    for (let node = 0; node < this.length; node++) {
      if (this.parent[node]! < 0) continue;
      let place = hash(this.parent[node]!, this.fn[node]!) & mask;
      while (this.index[place]! >= 0) place = (place + 1) & mask;
      this.index[place] = node;
    }
  }
}

function hash(parent: number, fn: number): number {
  const mixed = Math.imul(parent, 0x9e3779b1) ^ Math.imul(fn + 1, 0x85ebca6b);
  return mixed ^ (mixed >>> 16);
}

function larger<T extends Int32Array | Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
