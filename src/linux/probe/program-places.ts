import { basename } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import { openDebugFile, systemDebugDirectories } from "../../symbols/debug/file.js";
import { DwarfTypes } from "../../symbols/dwarf/types.js";
import type { ElfFile } from "../../symbols/elf/elf.js";
import { Symbols } from "../../symbols/names/symbols.js";
import { Types } from "../../symbols/types/set.js";
import type { FileMapping, TaskHistory } from "../history/task-history.js";
import { loadBiasOf } from "../names/stack-files.js";
import type { GuestPrograms } from "../names/stack-programs.js";
import { entryScope, type ProbeScope, plainScope, returnScope } from "../pass/probe-names.js";
import type { ProbeAddress } from "./places.js";

/** `PROGRAM:WHAT`, taken apart. */
export interface ProgramWords {
  /** A path, or the last part of one; a library's without `.so` and what follows, too. */
  readonly program: string;
  /** A function, a pattern, or FILE:LINE. */
  readonly what: string;
}

/** Reads `PROGRAM:WHAT`; undefined for everything else: `FILE:LINE`, `ns::function`, an event. */
export function programWords(where: string): ProgramWords | undefined {
  const match = /^([^:]+):(?!:)([^\s:].*)$/.exec(where);
  const [, program, what] = match ?? [];
  return program === undefined || what === undefined || /^\d+$/.test(what) ? undefined : { program, what };
}

/** Does a user mean the file at a path by this word? */
export function isProgram(path: string, word: string): boolean {
  if (word.includes("/")) return path === word;
  const name = basename(path);
  return name === word || name.replace(/\.so(\.[\d.]+)?$/, "") === word;
}

/** A file whose code was mapped, and all places where it was. */
interface MappedProgram {
  readonly path: string;
  readonly inode: bigint;
  /** The icount of its first mapping. */
  readonly since: number;
  readonly mappings: readonly FileMapping[];
}

/**
 * Places in the programs that ran: wherever the kernel mapped them, which is elsewhere each time a position-independent
 * program is started. Their files are those of the initramfs, of the disks, and those that were named with `--symbols`.
 */
export class ProgramPlaces {
  private readonly types = new WeakMap<ElfFile, Types>();
  private files: readonly MappedProgram[] | undefined;

  constructor(
    private readonly history: TaskHistory,
    private readonly programs: GuestPrograms,
  ) {}

  /**
   * The addresses that `PROGRAM:WHAT` means, or `WHAT` in all programs that ran; empty when there are none.
   *
   * @throws VmtapeError `not-found` when no such program ran, or nothing is known of it
   */
  async find(where: string): Promise<ProbeAddress[]> {
    const words = programWords(where);
    const places: ProbeAddress[] = [];
    let known = 0;
    const meant = this.mapped().filter(({ path }) => !words || isProgram(path, words.program));
    if (words && meant.length === 0) throw this.noProgram(words);
    for (const file of meant) {
      const { path, inode } = file;
      const elf = await this.programs.findByPath(path, inode);
      const source = elf && this.programs.symbolsOf(elf, path);
      if (!elf || !source) continue;
      known++;
      const symbols = new Symbols();
      symbols.add({ ...source, bias: 0n });
      places.push(...this.placesIn(elf, symbols, words?.what ?? where, file));
    }
    if (words && known === 0) {
      throw new VmtapeError("not-found", `nothing is known of the names in ${meant[0]!.path}`, {
        got: where,
        mend: `record it with --symbols FILE, a copy of the program that has its names`,
      });
    }
    return places;
  }

  private placesIn(
    elf: ElfFile,
    symbols: Symbols,
    what: string,
    { path, inode, since, mappings }: MappedProgram,
  ): ProbeAddress[] {
    const found = symbols.resolve(what);
    const isPattern = found.length > 1 && /[*?[]/.test(what);
    const code = found.filter((one) => !("kind" in one) || /^[tTwWi]$/.test(one.kind));
    const places = new Map<bigint, ProbeAddress>();
    for (const one of isPattern ? code : found) {
      const label = "name" in one ? one.name : what;
      for (const mapping of mappings) {
        const bias = loadBiasOf(elf, { ...mapping, isCode: true });
        const address = bias === undefined ? undefined : BigInt.asUintN(64, one.address + bias);
        if (address === undefined || address < mapping.start || address >= mapping.end) continue;
        const scopes = places.get(address) ?? this.scopesOf(elf, symbols, label, one.address);
        places.set(address, {
          ...scopes,
          address,
          label,
          items: [],
          describe: () => undefined,
          program: {
            path,
            inode,
            since,
            isEntry: symbols.lookup(one.address)?.offset === 0,
            hasDebug: this.typesOf(elf) !== undefined,
          },
        });
      }
    }
    return [...places.values()];
  }

  /** Parameters are in the registers of the calling convention at a function's first instruction alone. */
  private scopesOf(
    elf: ElfFile,
    symbols: Symbols,
    label: string,
    address: bigint,
  ): Readonly<Record<"scope" | "returns", ProbeScope>> {
    const located = symbols.lookup(address);
    const name = located?.offset === 0 ? (located.declared?.name ?? label) : undefined;
    const type = name === undefined ? undefined : this.typesOf(elf)?.findFunction(name);
    if (!type || name === undefined) return { scope: plainScope, returns: plainScope };
    return { scope: entryScope(name, type), returns: returnScope(name, type) };
  }

  private typesOf(elf: ElfFile): Types | undefined {
    const known = this.types.get(elf);
    if (known) return known;
    try {
      // The file stays open as long as its types are asked for.
      const file = openDebugFile(elf, undefined, systemDebugDirectories, []);
      const types = file && new Types(new DwarfTypes(file.dwarf));
      if (types) this.types.set(elf, types);
      return types;
    } catch (error) {
      if (error instanceof VmtapeError) return undefined;
      throw error;
    }
  }

  /** Each file whose code was ever mapped, in the order in which they first were. */
  private mapped(): readonly MappedProgram[] {
    if (this.files) return this.files;
    const files = new Map<string, MappedProgram & { readonly mappings: FileMapping[] }>();
    for (const event of this.history.columns.spaces) {
      if (event.kind !== "map") continue;
      const { path, device, inode } = event.mapping;
      const key = `${device} ${inode} ${path}`;
      const file = files.get(key) ?? { path, inode, since: event.icount, mappings: [] };
      file.mappings.push(event.mapping);
      files.set(key, file);
    }
    this.files = [...files.values()];
    return this.files;
  }

  private noProgram({ program, what }: ProgramWords): VmtapeError {
    const names = [...new Set(this.mapped().map(({ path }) => basename(path)))];
    return new VmtapeError("not-found", `no program '${program}' ever ran${nearest(program, names)}`, {
      got: `${program}:${what}`,
    });
  }
}

function nearest(word: string, names: readonly string[]): string {
  const like = names.filter((name) => name.includes(word) || word.includes(name)).slice(0, 5);
  return like.length > 0 ? `; there are ${like.join(", ")}` : "";
}
