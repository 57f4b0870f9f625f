import type { ElfFile } from "../elf/elf.js";
import { sectionFlag } from "../elf/layout.js";
import { type ElfSymbolOptions, regionsOf } from "../elf/symbols.js";
import { type AddressKey, isExactKey } from "../tables/address.js";

/**
 * The addresses of a program that hold code. Debug information keeps what the linker has left out: functions at 0, or
 * at marks such as -1; they must not answer for anything.
 */
export class CodeMap {
  private readonly starts: Float64Array;
  private readonly ends: Float64Array;
  /** Index of the region that answered last: the next question is mostly about the same. */
  private last = 0;

  constructor(regions: readonly { readonly start: AddressKey; readonly end: AddressKey }[]) {
    this.starts = Float64Array.from(regions, ({ start }) => start);
    this.ends = Float64Array.from(regions, ({ end }) => end);
  }

  /** The executable sections of a file; its separate debug file has the same. */
  static of(elf: ElfFile, options: ElfSymbolOptions = {}): CodeMap {
    const isCode = (index: number) => (elf.sections[index]!.flags & sectionFlag.execute) !== 0;
    return new CodeMap(regionsOf(elf, options).filter(({ section }) => isCode(section)));
  }

  /** Whether there is code at an address. */
  holds(address: AddressKey): boolean {
    const { starts, ends } = this;
    if (address >= starts[this.last]! && address < ends[this.last]!) return true;
    for (let i = 0; i < starts.length; i++) {
      if (address >= starts[i]! && address < ends[i]!) {
        this.last = i;
        return isExactKey(address);
      }
    }
    return false;
  }
}
