import type { NameList } from "../tables/name-list.js";
import { demangle, isMangled, withoutParameters } from "./demangle.js";

/** The demangled names of a list, made when they are asked for and kept: about 5 µs each. */
export class MangledNames {
  /** Indexes of the mangled names of the list. */
  private mangled: Int32Array | undefined;
  private readonly texts = new Map<number, string>();

  constructor(private readonly names: NameList) {}

  /** Every index whose demangled name is this, with or without its parameters. */
  find(name: string): number[] {
    const letters = identifierIn(name);
    return Array.from(this.indexes()).filter((index) => {
      // Mangled names hold identifiers as they are: most names need not be demangled.
      if (letters && !this.holds(index, letters)) return false;
      const text = this.nameAt(index);
      return text === name || (text.startsWith(name) && withoutParameters(text) === name);
    });
  }

  /** Whether the demangled name of an index passes a test, with or without its parameters. */
  matches(index: number, test: (name: string) => boolean): boolean {
    if (!isMangledAt(this.names, index)) return false;
    const text = this.nameAt(index);
    return test(text) || test(withoutParameters(text));
  }

  /** The name of an index as the linker knows it, when that is a mangled one. */
  linkageName(index: number): string | undefined {
    return isMangledAt(this.names, index) ? this.names.at(index) : undefined;
  }

  private nameAt(index: number): string {
    let text = this.texts.get(index);
    if (text === undefined) {
      text = demangle(this.names.at(index));
      this.texts.set(index, text);
    }
    return text;
  }

  private indexes(): Int32Array {
    if (!this.mangled) {
      const found: number[] = [];
      for (let i = 0; i < this.names.count; i++) if (isMangledAt(this.names, i)) found.push(i);
      this.mangled = Int32Array.from(found);
    }
    return this.mangled;
  }

  private holds(index: number, letters: Buffer): boolean {
    const { bytes, starts, ends } = this.names;
    return Buffer.from(
      bytes.buffer,
      bytes.byteOffset + starts[index]!,
      ends[index]! - starts[index]!,
    ).includes(letters);
  }
}

/** The last identifier of a function's name that any mangling holds as it is. */
function identifierIn(name: string): Buffer | undefined {
  const plain = name.replace(/[(<].*$/s, "");
  const [identifier] = /[A-Za-z_][A-Za-z_0-9]*$/.exec(plain) ?? [];
  return identifier === undefined || /operator/.test(plain) ? undefined : Buffer.from(identifier);
}

function isMangledAt({ bytes, starts, ends }: NameList, index: number): boolean {
  const start = starts[index]!;
  // The cheap question first: `_Z`, `_R`, `__Z`, `__R`.
  if (ends[index]! - start < 3 || bytes[start] !== 0x5f) return false;
  const second = bytes[start + 1] === 0x5f ? bytes[start + 2] : bytes[start + 1];
  if (second !== 0x5a && second !== 0x52) return false;
  return isMangled(
    Buffer.from(bytes.buffer, bytes.byteOffset + start, ends[index]! - start).toString("latin1"),
  );
}
