import { openFileSource } from "../../base/byte-source.js";
import { noLinks } from "../../base/regular-file.js";
import type { Icount } from "../../base/units.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { kindCodes } from "../../formats/replay-log-layout.js";
import { ReplayLogScanner } from "../../formats/replay-log-scanner.js";
import type { Tape } from "../../tape/tape.js";

/** Kinds of events that change registers or memory at once. */
const changing: ReadonlySet<number> = new Set(
  (["interrupt", "exception", "async-bh", "async-bh-oneshot", "async-block", "async-net"] as const).map(
    (kind) => kindCodes[kind],
  ),
);

/**
 * Those of `instants` at which something is delivered: an interrupt, an exception, a disk's answer or a packet with the
 * very same icount. Without the guard, `replay-break` stops there before or after the delivery, as it happens, so states
 * at them cannot be compared. (Measured on 7.2 and 10.0: about half each.) A halted guest waits at such an instant.
 *
 * Cost: one scan of the log, about 500 MB/s.
 */
export async function deliveringInstants(tape: Tape, instants: readonly Icount[]): Promise<Set<Icount>> {
  const wanted = new Map(instants.map((at) => [Number(at), at]));
  const delivering = new Set<Icount>();
  await using source = await openFileSource(tape.layout.log, noLinks);
  const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
  while (await scanner.next()) {
    const { count, kinds, icounts } = scanner.batch;
    for (let i = 0; i < count; i++) {
      if (!changing.has(kinds[i]!)) continue;
      const at = wanted.get(icounts[i]!);
      if (at !== undefined) delivering.add(at);
    }
  }
  return delivering;
}

/**
 * All instants at which something is delivered, or the host's clock is read, for who looks for one where nothing is. (A
 * snapshot reads that clock, and would take its value.)
 */
export class QuietInstants {
  /** Their icounts, rising; the first `length` of them. */
  private readonly delivering: Float64Array;
  private readonly length: number;

  private constructor(delivering: Float64Array, length: number) {
    this.delivering = delivering;
    this.length = length;
  }

  /** Cost: one scan of the log, about 500 MB/s, and 8 bytes an interrupt or exception. */
  static async of(tape: Tape): Promise<QuietInstants> {
    let delivering = new Float64Array(1024);
    let length = 0;
    await using source = await openFileSource(tape.layout.log, noLinks);
    const scanner = await ReplayLogScanner.open(source, dialectFor(tape.manifest.qemu.version));
    while (await scanner.next()) {
      const { count, kinds, icounts } = scanner.batch;
      for (let i = 0; i < count; i++) {
        const kind = kinds[i]!;
        if (!changing.has(kind) && kind !== kindCodes["clock-host"]) continue;
        const at = icounts[i]!;
        if (length > 0 && delivering[length - 1] === at) continue;
        if (length === delivering.length) {
          const larger = new Float64Array(length * 2);
          larger.set(delivering);
          delivering = larger;
        }
        delivering[length++] = at;
      }
    }
    return new QuietInstants(delivering, length);
  }

  /** The first icount from `at` on at which nothing is delivered. */
  from(at: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.delivering[middle]! < at) low = middle + 1;
      else high = middle;
    }
    let quiet = at;
    while (low < this.length && this.delivering[low] === quiet) {
      quiet++;
      low++;
    }
    return quiet;
  }
}
