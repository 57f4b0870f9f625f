/** Why a frame is on a stack. */
export const frameTypes = {
  /** The bottom: what ran when the task was first seen. */
  base: 0,
  call: 1,
  syscall: 2,
  interrupt: 3,
  exception: 4,
  /** A signal's handler, which the kernel entered in place of what it came from. */
  signal: 5,
} as const;

/** More frames than any real stack: what goes deeper counts for the deepest. */
const mostFrames = 1 << 16;

/** The frames of one task, the running one on top. There is always one. */
export class TaskStack {
  length = 0;
  /** Addresses (signed) of the instruction each frame was entered from. */
  sites = new Float64Array(64);
  nodes = new Int32Array(64);
  types = new Uint8Array(64);
  /** Rows of the chart, -1 for none. */
  rows = new Int32Array(64);
  /** Frames that were entered and had no room. */
  private lost = 0;

  /** @param root the node of its tree */
  constructor(root: number) {
    this.push(frameTypes.base, Number.NaN, root);
  }

  get top(): number {
    return this.length - 1;
  }

  push(type: number, site: number, node: number): void {
    if (this.length === mostFrames) {
      this.lost++;
      return;
    }
    if (this.length === this.sites.length) this.grow();
    const at = this.length++;
    this.sites[at] = site;
    this.nodes[at] = node;
    this.types[at] = type;
    this.rows[at] = -1;
  }

  /** Takes frames away, down to a length of at least 1. */
  cutTo(length: number): void {
    if (this.lost > 0 && length === this.length - 1) {
      this.lost--;
      return;
    }
    this.lost = 0;
    this.length = Math.max(1, length);
  }

  private grow(): void {
    const size = 2 * this.sites.length;
    const sites = new Float64Array(size);
    sites.set(this.sites);
    this.sites = sites;
    const nodes = new Int32Array(size);
    nodes.set(this.nodes);
    this.nodes = nodes;
    const types = new Uint8Array(size);
    types.set(this.types);
    this.types = types;
    const rows = new Int32Array(size);
    rows.set(this.rows);
    this.rows = rows;
  }
}
