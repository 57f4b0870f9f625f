import { VmtapeError } from "../../base/errors.js";
import { type SyncSource, syncBytes, withSyncFile } from "../../base/sync-source.js";
import { openDebugFile, systemDebugDirectories } from "../debug/file.js";
import {
  cacheEntry,
  debugOfBytes,
  debugOfFile,
  debugOfKernel,
  type SymbolFileOptions,
} from "../debug/source.js";
import { cachedSymbols } from "../debug/table-cache.js";
import { ElfFile, isElf } from "../elf/elf.js";
import { sectionType } from "../elf/layout.js";
import { readElfSymbols } from "../elf/symbols.js";
import { initramfsElfFiles } from "../kernel/initramfs.js";
import { readKernelSymbols } from "../kernel/symbols.js";
import type { SymbolSourceSpec } from "./symbol-source-spec.js";
import type { SymbolSource } from "./symbols.js";

/** A source made from a file, before anybody knows where the file is loaded. */
export interface LoadedSource extends SymbolSource {
  /** True: its addresses need a load bias (shared libraries, position-independent programs). */
  readonly needsBias: boolean;
  readonly buildId: string | undefined;
}

/**
 * Loads what a user named with `--symbols`: a program, a library, or a kernel (vmlinux, vmlinuz). A program's debug
 * information, its own or a separate file's, is opened by the first lookup that needs it.
 *
 * @throws VmtapeError `bad-file` when it is neither, damaged, or has no symbols; `unsupported` (big-endian,
 *   relocatable)
 */
export function loadSymbolSource(spec: SymbolSourceSpec, options: SymbolFileOptions = {}): LoadedSource {
  return withSyncFile(spec.file, (source) => {
    const { prefix, range, bias, debug } = spec;
    const system = options.debugDirectories ?? systemDebugDirectories;
    const debugDirectories = debug === undefined ? system : [debug, ...system];
    return {
      ...readSource(source, { ...options, debugDirectories }),
      ...(prefix !== undefined && { prefix }),
      ...(range !== undefined && { range }),
      ...(bias !== undefined && { bias }),
    };
  });
}

/**
 * The programs and libraries of an initramfs that have symbols; those that have none, or cannot be read, are left
 * out. Kernel modules are not among them: their addresses come from guest memory (`readModules`).
 *
 * @throws VmtapeError `bad-file` when it is no initramfs; see `initramfsFiles`
 */
export function loadInitramfsSources(archive: Uint8Array, file?: string): LoadedSource[] {
  const sources: LoadedSource[] = [];
  for (const { name, bytes } of initramfsElfFiles(archive, file)) {
    if (name.endsWith(".ko")) continue;
    try {
      const elf = ElfFile.open(syncBytes(bytes, name));
      const table = readElfSymbols(elf);
      if (table.names.count === 0) continue;
      const debug = elf.section(".debug_info") && debugOfBytes(elf, {});
      sources.push({
        name,
        table,
        needsBias: elf.isPositionIndependent,
        buildId: elf.buildId,
        debug,
      });
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
    }
  }
  return sources;
}

function readSource(source: SyncSource, options: SymbolFileOptions): LoadedSource {
  const { name } = source;
  if (!isElf(source.read(0, Math.min(4, source.size)))) return readKernelSource(source, options);
  const elf = ElfFile.open(source);
  const facts = { name, needsBias: elf.isPositionIndependent, buildId: elf.buildId };
  const { cache } = options;
  // A stripped program has few symbols or none: its debug file has them all.
  const isStripped = !elf.sections.some(({ type }) => type === sectionType.symbols);
  const separate = isStripped ? openDebugFile(elf, name, options.debugDirectories ?? [], []) : undefined;
  try {
    const entry = cache === undefined ? undefined : cacheEntry(cache, separate?.elf ?? elf, elf);
    const read = () => ({ table: readElfSymbols(elf, separate && { separate: separate.elf }), facts: {} });
    const { table } = cachedSymbols(entry, read);
    if (table.names.count > 0) return { ...facts, table, debug: debugOfFile(name, options) };
  } finally {
    separate?.close();
  }
  if (elf.section("__ksymtab")) return readKernelSource(source, options);
  throw new VmtapeError("bad-file", `${name} has no symbols: it is stripped`, { file: name });
}

function readKernelSource(source: SyncSource, options: SymbolFileOptions): LoadedSource {
  const kernel = readKernelSymbols(source, options);
  const debug = debugOfKernel(kernel, options);
  return {
    name: source.name,
    table: kernel.table,
    needsBias: false,
    buildId: kernel.buildId,
    debug,
  };
}
