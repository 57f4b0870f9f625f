import { openFileSource } from "../../base/byte-source.js";
import { noLinks } from "../../base/regular-file.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { type EventKind, kindCodes } from "../../formats/replay-log-layout.js";
import { ReplayLogScanner } from "../../formats/replay-log-scanner.js";
import type { Tape } from "../../tape/tape.js";

/** The icounts of a tape at which the log has an event of certain kinds, rising, each once. */
export class EventInstants {
  private readonly icounts: Float64Array;

  private constructor(icounts: Float64Array) {
    this.icounts = icounts;
  }

  /** Cost: one scan of the log, about 500 MB/s, and 8 bytes an instant. */
  static async of(tape: Tape, kinds: readonly EventKind[]): Promise<EventInstants> {
    const wanted = new Set<number>(kinds.map((kind) => kindCodes[kind]));
    let found = new Float64Array(1024);
    let length = 0;
    await using source = await openFileSource(tape.layout.log, noLinks);
    const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
    while (await scanner.next()) {
      const batch = scanner.batch;
      for (let i = 0; i < batch.count; i++) {
        const at = batch.icounts[i]!;
        if (!wanted.has(batch.kinds[i]!) || (length > 0 && found[length - 1] === at)) continue;
        if (length === found.length) {
          const larger = new Float64Array(length * 2);
          larger.set(found);
          found = larger;
        }
        found[length++] = at;
      }
    }
    return new EventInstants(found.subarray(0, length));
  }

  /** The index of the first one at or after `at`; their number when there is none. */
  indexFrom(at: number): number {
    let low = 0;
    let high = this.icounts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.icounts[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first one at or after `at`; infinity when there is none. */
  firstFrom(at: number): number {
    return this.icounts[this.indexFrom(at)] ?? Number.POSITIVE_INFINITY;
  }

  /** The last one before `at`; -1 when there is none. */
  lastBefore(at: number): number {
    return this.icounts[this.indexFrom(at) - 1] ?? -1;
  }

  /** The first icount at or after `at` without an event. */
  firstWithout(at: number): number {
    let quiet = at;
    for (let i = this.indexFrom(at); this.icounts[i] === quiet; i++) quiet++;
    return quiet;
  }
}
