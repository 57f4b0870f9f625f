import { VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { noLinks } from "../../base/regular-file.js";
import { openSyncFile, type SyncFile } from "../../base/sync-source.js";
import { firstKernelAddress } from "../../base/units.js";
import { type DebugFile, openDebugFile, systemDebugDirectories } from "../../symbols/debug/file.js";
import { kernelDebugFile } from "../../symbols/debug/source.js";
import { DwarfTypes } from "../../symbols/dwarf/types.js";
import { DwarfVariables } from "../../symbols/dwarf/variables.js";
import { ElfFile } from "../../symbols/elf/elf.js";
import { programType } from "../../symbols/elf/layout.js";
import type { Tape } from "../../tape/tape.js";
import { currentTask } from "../guest/current-task.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { readMappings } from "../objects/mappings.js";
import { TaskReader } from "../objects/task.js";
import type { FileAt, MappedFile } from "./stack-files.js";
import { guestPrograms, TaskPrograms } from "./stack-programs.js";
import type { TapeSymbols } from "./tape-symbols.js";

/** What a program's debug information says of its types and variables. */
export interface ProgramDebug {
  readonly types: DwarfTypes;
  readonly variables: DwarfVariables;
  /** Add to an address of the file to get one in the guest. */
  readonly bias: bigint;
}

/**
 * The debug information of what runs in a tape's guest, for values: the kernel's where its debug package is installed or
 * it was named with `--symbols`, and that of programs. Opened when it is first asked for; dispose closes the files.
 */
export class TapeDebug implements Disposable, FileAt {
  private readonly open: SyncFile[] = [];
  private readonly debugFiles: DebugFile[] = [];
  private readonly texts: string[] = [];
  private readonly known = new WeakMap<ElfFile, Omit<ProgramDebug, "bias"> | "none">();
  private named: readonly ElfFile[] | undefined;
  private kernel: ElfFile | "none" | undefined;

  constructor(
    private readonly tape: Tape,
    private readonly symbols: TapeSymbols,
  ) {}

  /**
   * The debug information of the code at an address; undefined when there is none.
   *
   * @param task the programs of the task that runs; undefined when no Linux does
   */
  async at(address: bigint, task: FileAt | undefined): Promise<ProgramDebug | undefined> {
    const { place } = this.symbols;
    if (place && address >= firstKernelAddress) return this.of(this.kernelFile(), place.slide);
    const file = await task?.fileAt(address);
    if (file?.elf) return this.of(file.elf, file.loadBias);
    const fixed = await this.fileAt(address);
    return this.of(fixed?.elf, 0n);
  }

  /** The named program, linked to a fixed address, that holds this one. */
  async fileAt(address: bigint): Promise<MappedFile | undefined> {
    for (const elf of this.namedFiles()) {
      if (elf.isPositionIndependent) continue;
      for (const segment of elf.segments) {
        const start = segment.address;
        const end = start + BigInt(segment.memorySize);
        if (segment.type !== programType.load || address < start || address >= end) continue;
        return { start, end, name: elf.source.name, header: undefined, elf, loadBias: 0n };
      }
    }
    return undefined;
  }

  /** What could not be used so far, in words for people. */
  get notes(): readonly string[] {
    return [...this.texts, ...this.debugFiles.flatMap(({ dwarf }) => dwarf.notes)];
  }

  [Symbol.dispose](): void {
    for (const file of this.debugFiles) file.close();
    for (const file of this.open) file.close();
  }

  private of(elf: ElfFile | undefined, bias: bigint): ProgramDebug | undefined {
    if (!elf) return undefined;
    let debug = this.known.get(elf);
    if (!debug) {
      debug = orUndefined(() => this.read(elf)) ?? "none";
      this.known.set(elf, debug);
    }
    return debug === "none" ? undefined : { ...debug, bias };
  }

  private read(elf: ElfFile): Omit<ProgramDebug, "bias"> | undefined {
    const file = openDebugFile(elf, undefined, systemDebugDirectories, this.texts);
    if (!file) return undefined;
    this.debugFiles.push(file);
    const types = new DwarfTypes(file.dwarf);
    return { types, variables: new DwarfVariables(types) };
  }

  private kernelFile(): ElfFile | undefined {
    this.kernel ??= this.findKernel() ?? "none";
    return this.kernel === "none" ? undefined : this.kernel;
  }

  private findKernel(): ElfFile | undefined {
    const { kernel } = this.symbols;
    if (!kernel) return undefined;
    const named = this.namedFiles().find(
      ({ buildId }) => buildId !== undefined && buildId === kernel.buildId,
    );
    if (named) return named;
    const path = kernelDebugFile(kernel, { debugDirectories: systemDebugDirectories });
    return path === undefined ? undefined : this.openElf(path);
  }

  private namedFiles(): readonly ElfFile[] {
    this.named ??= this.tape.manifest.symbols.flatMap(
      (_, i) => this.openElf(this.tape.layout.symbolFile(i)) ?? [],
    );
    return this.named;
  }

  private openElf(path: string): ElfFile | undefined {
    return orUndefined(() => {
      const source = openSyncFile(path, noLinks);
      this.open.push(source);
      return ElfFile.open(source);
    });
  }
}

/** The programs of the task that runs, by its mappings; undefined where they cannot be read. */
export async function taskPrograms(
  tape: Tape,
  guest: LinuxGuest,
  memory: GuestMemory,
): Promise<TaskPrograms | undefined> {
  try {
    const task = await new TaskReader(guest).at(await currentTask(guest));
    return new TaskPrograms(guestPrograms(tape), await readMappings(guest, task), memory);
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}
