import { skipOf } from "./abbrev.js";
import { form } from "./layout.js";

/** A unit of `.debug_info`: its header and what its first entry says. Offsets are in the section. */
export class Unit {
  lowPc = 0;
  /** Offset in `.debug_line`; -1 for none. */
  lines = -1;
  directory = "";
  name = "";
  language = 0;
  stringOffsetsBase = 0;
  addressBase = 0;
  rangesBase = 0;
  /** The file that holds the rest of a split unit. */
  dwoName: string | undefined;
  private readonly steps: Int8Array;

  constructor(
    readonly start: number,
    /** Offset after the unit. */
    readonly end: number,
    /** Offset of the first entry. */
    readonly entries: number,
    readonly type: number,
    readonly version: number,
    readonly addressSize: number,
    readonly offsetSize: number,
    readonly abbrevs: number,
  ) {
    this.steps = stepsFor(this);
    if (version >= 5) this.stringOffsetsBase = offsetSize === 8 ? 16 : 8;
    if (version >= 5) this.addressBase = offsetSize === 8 ? 16 : 8;
  }

  /** `skipOf` of a form. */
  skips(code: number): number {
    return this.steps[code] ?? skipOf(code, this);
  }
}

const stepTables = new Map<number, Int8Array>();

/** What `skipOf` says of every common form, once for each shape of unit. */
function stepsFor(unit: Unit): Int8Array {
  const key = unit.addressSize * 256 + unit.offsetSize * 16 + Math.min(unit.version, 5);
  let steps = stepTables.get(key);
  if (!steps) {
    steps = Int8Array.from({ length: form.addrx4 + 1 }, (_, code) => skipOf(code, unit));
    stepTables.set(key, steps);
  }
  return steps;
}
