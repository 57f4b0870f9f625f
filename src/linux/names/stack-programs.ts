import { basename } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import type { GuestMemory } from "../../base/guest-memory.js";
import { noLinks, readRegular } from "../../base/regular-file.js";
import { openSyncFile, syncBytes } from "../../base/sync-source.js";
import { buildIdPaths, openDebugFile, systemDebugDirectories } from "../../symbols/debug/file.js";
import { debugOfBytes } from "../../symbols/debug/source.js";
import { ElfFile } from "../../symbols/elf/elf.js";
import { sectionType } from "../../symbols/elf/layout.js";
import { readElfSymbols } from "../../symbols/elf/symbols.js";
import { initramfsElfFiles } from "../../symbols/kernel/initramfs.js";
import { type Located, type SymbolSource, Symbols } from "../../symbols/names/symbols.js";
import type { Tape } from "../../tape/tape.js";
import { type Mapping, mappingAt } from "../objects/mappings.js";
import { DiskFiles } from "./disk-files.js";
import { type FileAt, loadBiasOf, type MappedFile } from "./stack-files.js";

/** The vDSO is two pages; nobody's is larger than this. */
const largestVdso = 1n << 16n;
const vdsoName = "[vdso]";
/** The ELF header and the program headers, and the build id after them. */
const comparedBytes = 1024;

/**
 * The programs a tape's guest can run, as far as they are at hand: in its initramfs, on its disks (ext4), and what the user
 * named with `--symbols`.
 */
export class GuestPrograms {
  private readonly tape: Tape;
  private readonly disks: DiskFiles;
  private archive: Promise<ReadonlyMap<string, ElfFile>> | undefined;
  private named: readonly ElfFile[] | undefined;
  private readonly onDisk = new Map<string, readonly ElfFile[]>();
  private readonly sources = new WeakMap<ElfFile, Omit<SymbolSource, "bias"> | "none">();
  private readonly withSymbols: Omit<SymbolSource, "bias">[] = [];

  constructor(tape: Tape) {
    this.tape = tape;
    this.disks = new DiskFiles(tape);
  }

  /**
   * The program at a path of the guest, when it is the one that is in memory.
   *
   * @param start the first bytes of it in the guest; undefined when they are not mapped: then the path must do
   */
  async find(path: string, start: Uint8Array | undefined): Promise<ElfFile | undefined> {
    this.archive ??= this.unpack();
    const inArchive = (await this.archive).get(path.replace(/^\/+/, ""));
    if (inArchive && begins(inArchive, start)) return inArchive;
    this.named ??= this.openNamed();
    const named = start && this.named.find((elf) => begins(elf, start));
    if (named) return named;
    const onDisk = this.findOnDisks(path).find((elf) => begins(elf, start));
    return onDisk && (this.namedLike(onDisk) ?? onDisk);
  }

  /** The program at a path of the guest by its path alone: what the user named counts by the last part of its name. */
  async findByPath(path: string, inode?: bigint): Promise<ElfFile | undefined> {
    // With its number it is the very file; an initramfs may have another one at this path.
    const [onDisk] = this.findOnDisks(path, inode);
    if (onDisk && inode !== undefined) return this.namedLike(onDisk) ?? onDisk;
    this.archive ??= this.unpack();
    const inArchive = (await this.archive).get(path.replace(/^\/+/, ""));
    if (inArchive) return inArchive;
    if (onDisk) return this.namedLike(onDisk) ?? onDisk;
    this.named ??= this.openNamed();
    const wanted = basename(path);
    const labels = this.tape.manifest.symbols.map(({ label }) => basename(label));
    return this.named.find(({ source }) =>
      labels.some((label, i) => label === wanted && source.name === this.tape.layout.symbolFile(i)),
    );
  }

  private findOnDisks(path: string, inode?: bigint): readonly ElfFile[] {
    const key = `${inode ?? ""} ${path}`;
    let found = this.onDisk.get(key);
    if (!found) {
      const files = [...this.disks.find(path, inode === undefined ? undefined : Number(inode))];
      found = files.flatMap(({ bytes }) => orUndefined(() => ElfFile.open(bytes)) ?? []);
      this.onDisk.set(key, found);
    }
    return found;
  }

  /** What the user named of a stripped program: with the same build id, and more to say. */
  private namedLike({ buildId }: ElfFile): ElfFile | undefined {
    this.named ??= this.openNamed();
    return buildId === undefined ? undefined : this.named.find((elf) => elf.buildId === buildId);
  }

  /** What a program's addresses are called; undefined when it has no symbols. Kept for the next time. */
  symbolsOf(elf: ElfFile, name: string): Omit<SymbolSource, "bias"> | undefined {
    let source = this.sources.get(elf);
    if (source === undefined) {
      source = readSource(elf, name, () => this.debugOnDisks(elf)) ?? "none";
      this.sources.set(elf, source);
      if (source !== "none") this.withSymbols.push(source);
    }
    return source === "none" ? undefined : source;
  }

  /** What could not be used of the programs' debug information so far, in words for people. */
  get notes(): readonly string[] {
    return this.withSymbols.flatMap(({ debug }) => debug?.notes ?? []);
  }

  /** The debug file of a stripped program, where its debug package is installed in the guest. */
  private debugOnDisks({ buildId }: ElfFile): ElfFile | undefined {
    const [path] = buildIdPaths(buildId, systemDebugDirectories);
    return path === undefined ? undefined : this.findOnDisks(path).find((other) => other.buildId === buildId);
  }

  /** Whether a source of symbols is a file that the user named. */
  isNamed(source: string): boolean {
    return this.tape.manifest.symbols.some(({ label }) => label === source);
  }

  /** Whether a source of symbols is a file that the user named, whose addresses the kernel chose. */
  isMovable(source: string): boolean {
    this.named ??= this.openNamed();
    const labels = this.tape.manifest.symbols.map(({ label }) => label);
    return this.named.some(
      (elf) =>
        elf.isPositionIndependent &&
        labels.some((label, i) => label === source && elf.source.name === this.tape.layout.symbolFile(i)),
    );
  }

  private async unpack(): Promise<ReadonlyMap<string, ElfFile>> {
    const files = new Map<string, ElfFile>();
    if (!this.tape.manifest.machine.initrd) return files;
    try {
      const archive = await readRegular(this.tape.layout.initrd, noLinks);
      for (const { name, bytes } of initramfsElfFiles(archive, this.tape.layout.initrd)) {
        const elf = orUndefined(() => ElfFile.open(syncBytes(bytes, name)));
        if (elf) files.set(name, elf);
      }
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
    }
    return files;
  }

  private openNamed(): ElfFile[] {
    return this.tape.manifest.symbols.flatMap((_, i) => {
      // Kept open: what is read of it is read when it is needed, as long as the tape is looked at.
      const elf = orUndefined(() => ElfFile.open(openSyncFile(this.tape.layout.symbolFile(i), noLinks)));
      return elf ? [elf] : [];
    });
  }
}

const ofTape = new WeakMap<Tape, GuestPrograms>();

/** The programs of a tape, opened once however often they are asked for. */
export function guestPrograms(tape: Tape): GuestPrograms {
  let programs = ofTape.get(tape);
  if (!programs) {
    programs = new GuestPrograms(tape);
    ofTape.set(tape, programs);
  }
  return programs;
}

/** One task's programs: what its mappings are of. */
export class TaskPrograms implements FileAt {
  private readonly found = new Map<bigint, Promise<MappedFile | undefined>>();
  private readonly files: MappedFile[] = [];
  private readonly symbols = new Symbols();

  constructor(
    private readonly programs: GuestPrograms,
    /** Ascending. */
    private readonly mappings: readonly Mapping[],
    /** The task's memory. */
    private readonly memory: GuestMemory,
  ) {}

  /** Only where code may run. */
  async fileAt(address: bigint): Promise<MappedFile | undefined> {
    const mapping = mappingAt(this.mappings, address);
    if (!mapping?.permissions.includes("x")) return undefined;
    let file = this.found.get(mapping.start);
    if (!file) {
      file = this.open(mapping);
      this.found.set(mapping.start, file);
    }
    return file;
  }

  /** The symbols of the programs that `fileAt` was asked for, where they are in this task. */
  get names(): Symbols {
    return this.symbols;
  }

  /** Opens all files whose code is mapped. */
  async openAll(): Promise<void> {
    for (const { start } of this.mappings) await this.fileAt(start);
    this.files.sort((a, b) => (a.start < b.start ? -1 : 1));
  }

  /** Those of the files that were opened of which something is known, by address. */
  get opened(): readonly MappedFile[] {
    return this.files;
  }

  /**
   * The name of an address of the task, once `fileAt` was asked for it.
   *
   * @param others symbols of the tape, for what the task's own files do not know
   */
  lookup(address: bigint, others: Symbols): Located | undefined {
    const own = this.symbols.lookup(address);
    if (own) return own;
    const found = others.lookup(address);
    return found && this.mayBe(found, address) ? found : undefined;
  }

  /**
   * Whether symbols for fixed addresses can be meant at an address of this task. Programs of other tasks lie at the same
   * addresses; what the user named counts where nothing else is known of the code.
   */
  mayBe({ source, prefix }: Pick<Located, "source" | "prefix">, address: bigint): boolean {
    if (prefix !== "") return true;
    if (!this.programs.isNamed(source)) return false;
    const mapping = mappingAt(this.mappings, address);
    if (!mapping?.file) return false;
    const isKnown = this.files.some(
      ({ name }) => name === mapping.name && this.symbols.sources.some((known) => known.name === name),
    );
    return basename(source) === basename(mapping.file.path) || !isKnown;
  }

  /** What a frame's code is of: a path, `[vdso]`. */
  nameAt(address: bigint): string | undefined {
    return mappingAt(this.mappings, address)?.name;
  }

  private async open(mapping: Mapping): Promise<MappedFile | undefined> {
    const { start, end, fileOffset } = mapping;
    const name = mapping.name ?? "";
    const header = this.headerOf(mapping);
    const elf = name === vdsoName ? await this.vdso(mapping) : await this.program(mapping, header);
    const loadBias =
      elf && loadBiasOf(elf, { start, fileOffset: name === vdsoName ? 0n : fileOffset, isCode: true });
    if (!elf || loadBias === undefined) return { start, end, name, header, elf: undefined, loadBias: 0n };
    const file = { start, end, name, header, elf, loadBias };
    this.files.push(file);
    const source = this.programs.symbolsOf(elf, name);
    if (source) {
      this.symbols.remove(name);
      this.symbols.add({ ...source, bias: loadBias });
    }
    return file;
  }

  /** Where the first byte of the mapping's file is. */
  private headerOf({ file, name, start }: Mapping): bigint | undefined {
    if (name === vdsoName) return start;
    if (!file) return undefined;
    return this.mappings.find(
      (other) =>
        other.fileOffset === 0n &&
        other.file?.inode === file.inode &&
        other.file.path === file.path &&
        other.start <= start,
    )?.start;
  }

  private async vdso({ start, end }: Mapping): Promise<ElfFile | undefined> {
    if (end - start > largestVdso) return undefined;
    const bytes = await this.memory.read(start, Number(end - start));
    return bytes && orUndefined(() => ElfFile.open(syncBytes(bytes, vdsoName)));
  }

  private async program({ file }: Mapping, header: bigint | undefined): Promise<ElfFile | undefined> {
    if (file?.kind !== "file") return undefined;
    const start = header === undefined ? undefined : await this.memory.read(header, comparedBytes);
    return this.programs.find(file.path, start);
  }
}

/** Whether a file begins with these bytes; without any, it may. */
function begins(elf: ElfFile, start: Uint8Array | undefined): boolean {
  if (!start) return true;
  const { source } = elf;
  return (
    source.size >= start.length && Buffer.compare(Buffer.from(source.read(0, start.length)), start) === 0
  );
}

/** A stripped program's names and lines are in its debug file, where the distribution's debug package is installed: here, or there. */
function readSource(
  elf: ElfFile,
  name: string,
  debugThere: () => ElfFile | undefined,
): Omit<SymbolSource, "bias"> | undefined {
  return orUndefined(() => {
    const options = { debugDirectories: systemDebugDirectories };
    const isStripped = !elf.sections.some(({ type }) => type === sectionType.symbols);
    const separate = isStripped ? openDebugFile(elf, undefined, systemDebugDirectories, []) : undefined;
    const there = isStripped && !separate ? debugThere() : undefined;
    try {
      const other = separate?.elf ?? there;
      const table = readElfSymbols(elf, other && { separate: other });
      const hasDebug = separate !== undefined || elf.section(".debug_info") !== undefined;
      const debug = there || hasDebug ? debugOfBytes(there ?? elf, options) : undefined;
      return table.names.count > 0 ? { name, table, debug } : undefined;
    } finally {
      separate?.close();
    }
  });
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}
