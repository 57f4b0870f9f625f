import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import { openSyncFile, type SyncSource, withSyncFile } from "../../base/sync-source.js";
import { CodeMap } from "../dwarf/code.js";
import { readDebugTables } from "../dwarf/tables.js";
import { ElfFile, inFile } from "../elf/elf.js";
import { fileType, sectionType } from "../elf/layout.js";
import { buildIdPaths, openDebugFile } from "./file.js";
import { DebugInfo } from "./info.js";
import { type CacheEntry, cachedDebugTables } from "./table-cache.js";

/** Where to look for debug files, and where to keep what was read. */
export interface SymbolFileOptions {
  /** A directory that keeps what was read of large programs for the next time. Default: nothing is kept. */
  readonly cache?: string | undefined;
  /** Directories with separate debug files, in the order of search. */
  readonly debugDirectories?: readonly string[] | undefined;
}

/**
 * Debug information of one source, opened when the first lookup needs it. What cannot be read gives no lines and no
 * inlined copies, and a note.
 */
export class DebugSource {
  private readonly collected: string[] = [];
  private loaded: { readonly info: DebugInfo | undefined } | undefined;

  /** @param load opens it; may add notes; a VmtapeError becomes one */
  constructor(private readonly load: (notes: string[]) => DebugInfo | undefined) {}

  /** The information; undefined when there is none. Cost: see `readDebugTables` the first time. */
  get info(): DebugInfo | undefined {
    this.loaded ??= { info: this.open() };
    return this.loaded.info;
  }

  /** What could not be used so far, in words for people. */
  get notes(): readonly string[] {
    return [...this.collected, ...(this.loaded?.info?.notes ?? [])];
  }

  private open(): DebugInfo | undefined {
    try {
      return this.load(this.collected);
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
      this.collected.push(error.message);
      return undefined;
    }
  }
}

/**
 * The debug information of a file on disk, in it or separate; see `openDebugFile`. The file is opened again when the
 * information is first needed.
 */
export function debugOfFile(path: string, options: SymbolFileOptions): DebugSource {
  return new DebugSource((notes) => {
    const source = openSyncFile(path);
    try {
      return debugOf(ElfFile.open(source), path, options, notes);
    } finally {
      source.close();
    }
  });
}

/** The debug information inside an ELF file in memory, which is held until then. */
export function debugOfBytes(elf: ElfFile, options: SymbolFileOptions): DebugSource {
  return new DebugSource((notes) => debugOf(elf, undefined, options, notes));
}

/** Places of a kernel with debug information, for `uname -r`; `/` is put before them. */
const kernelPlaces = (release: string) => [
  `usr/lib/debug/boot/vmlinux-${release}`,
  `usr/lib/debug/lib/modules/${release}/vmlinux`,
  `lib/modules/${release}/build/vmlinux`,
  `lib/modules/${release}/vmlinux`,
];

/**
 * The debug information of a stock kernel, where the distribution's debug package is installed: a vmlinux with the
 * kernel's build id. Undefined when there is none.
 */
export function debugOfKernel(
  kernel: KernelIdentity,
  options: SymbolFileOptions,
  root = "/",
): DebugSource | undefined {
  const path = kernelDebugFile(kernel, options, root);
  return path === undefined ? undefined : debugOfFile(path, options);
}

/** What tells a kernel's vmlinux from others. */
export interface KernelIdentity {
  readonly buildId: string | undefined;
  /** As in `uname -r`. */
  readonly release: string | undefined;
}

/** The file that `debugOfKernel` reads. */
export function kernelDebugFile(
  { buildId, release }: KernelIdentity,
  options: SymbolFileOptions,
  root = "/",
): string | undefined {
  if (buildId === undefined) return undefined;
  const isRelease = release !== undefined && /^[\w.+~-]+$/.test(release);
  const candidates = [
    ...buildIdPaths(buildId, options.debugDirectories ?? []),
    ...(isRelease ? kernelPlaces(release).map((path) => join(root, path)) : []),
  ];
  return candidates.find((candidate) => existsSync(candidate) && buildIdOf(candidate) === buildId);
}

function buildIdOf(path: string): string | undefined {
  try {
    return withSyncFile(path, (source) => ElfFile.open(source).buildId);
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}

function debugOf(
  elf: ElfFile,
  path: string | undefined,
  options: SymbolFileOptions,
  notes: string[],
): DebugInfo | undefined {
  const file = openDebugFile(elf, path, options.debugDirectories ?? [], notes);
  if (!file) return undefined;
  try {
    if (elf.type === fileType.relocatable) {
      notes.push(`${elf.source.name} is a relocatable object: its debug information is not read`);
      return undefined;
    }
    const { cache } = options;
    const entry =
      cache === undefined ? undefined : cacheEntry(cache, file.elf, elf, file.dwarf.alt !== undefined);
    const tables = cachedDebugTables(entry, () => readDebugTables(file.dwarf, CodeMap.of(elf)));
    return tables && new DebugInfo(tables);
  } finally {
    file.close();
  }
}

const sampleSize = 4096;
const samples = 4;

/**
 * Where the tables of a file are kept. The build id names them, but whoever made the file chose it: a digest of the
 * section headers and of samples of the sections that were read must agree, too.
 *
 * @param isShared names were read from a file that several share: without it others were read
 */
export function cacheEntry(directory: string, elf: ElfFile, code = elf, isShared = false): CacheEntry {
  const hash = createHash("sha256");
  if (isShared) hash.update("shared\n");
  for (const { name, type, flags, address, offset, size } of [...elf.sections, ...code.sections]) {
    hash.update(`${name}\0${type}\0${flags}\0${address}\0${offset}\0${size}\n`);
  }
  for (const section of elf.sections) {
    const isRead = section.name.includes("debug_") || section.type === sectionType.symbols;
    if (!isRead || !inFile(elf.source, section) || section.type === sectionType.noBits) continue;
    for (let i = 0; i < samples; i++) hash.update(sampleOf(elf.source, section, i / (samples - 1)));
  }
  const key = hash.digest("hex");
  return { directory, name: elf.buildId ?? key, key };
}

function sampleOf(
  source: SyncSource,
  section: { readonly offset: number; readonly size: number },
  place: number,
): Uint8Array {
  const length = Math.min(sampleSize, section.size);
  return source.read(section.offset + Math.floor((section.size - length) * place), length);
}
