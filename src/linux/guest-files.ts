import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { isVmtapeError } from "../base/errors.js";
import { ElfFile } from "../symbols/elf.js";
import { readElfSymbols } from "../symbols/elf-symbols.js";
import { initramfsElfFiles } from "../symbols/initramfs.js";
import { type Located, Symbols } from "../symbols/symbols.js";
import { syncBytes } from "../symbols/sync-source.js";
import type { Tape } from "../tape/tape.js";
import { loadBiasOf } from "./stack-files.js";

/** A program or library of the guest that is at hand here. */
export interface GuestProgram {
  readonly elf: ElfFile;
  /** What was added to its addresses where a mapping of it begins; undefined when no segment lies there. */
  biasOf(mapping: { start: bigint; fileOffset: bigint }): bigint | undefined;
  /** The symbol at an address of the file; undefined when it has none there. */
  lookup(address: bigint): Located | undefined;
}

/**
 * The guest's programs and libraries that a tape brings along: those of its initramfs, by their paths in the guest, and
 * those a user named with `--symbols`, by the last part of theirs. What lies on a disk of the guest is not at hand.
 */
export class GuestFiles {
  private readonly programs: ReadonlyMap<string, GuestProgram>;

  private constructor(programs: ReadonlyMap<string, GuestProgram>) {
    this.programs = programs;
  }

  /** Cost: unpacking the initramfs, 50 ms for the default guest's. What cannot be read is left out. */
  static async of(tape: Tape): Promise<GuestFiles> {
    const programs = new Map<string, GuestProgram>();
    if (tape.manifest.machine.initrd) {
      const archive = await readFile(tape.layout.initrd);
      try {
        for (const { name, bytes } of initramfsElfFiles(archive, tape.layout.initrd)) {
          if (!name.endsWith(".ko")) addProgram(programs, `/${name}`, bytes);
        }
      } catch (error) {
        if (!isVmtapeError(error)) throw error;
      }
    }
    for (const [i, { label }] of tape.manifest.symbols.entries()) {
      const bytes = await readFile(tape.layout.symbolFile(i)).catch(() => undefined);
      if (bytes) addProgram(programs, basename(label), bytes);
    }
    return new GuestFiles(programs);
  }

  /** A program by its path in the guest. */
  program(path: string): GuestProgram | undefined {
    return this.programs.get(basename(path)) ?? this.programs.get(path);
  }
}

function addProgram(programs: Map<string, GuestProgram>, name: string, bytes: Uint8Array): void {
  try {
    const elf = ElfFile.open(syncBytes(bytes, name));
    let symbols: Symbols | undefined;
    programs.set(name, {
      elf,
      biasOf: (mapping) => loadBiasOf(elf, mapping),
      lookup(address) {
        symbols ??= symbolsOf(elf, name);
        return symbols.lookup(address);
      },
    });
  } catch (error) {
    if (!isVmtapeError(error)) throw error; // a file that is no ELF names nothing
  }
}

function symbolsOf(elf: ElfFile, name: string): Symbols {
  const symbols = new Symbols();
  try {
    symbols.add({ name, table: readElfSymbols(elf) });
  } catch (error) {
    if (!isVmtapeError(error)) throw error;
  }
  return symbols;
}
