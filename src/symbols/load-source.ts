import { VmtapeError } from "../base/errors.js";
import { ElfFile, isElf } from "./elf.js";
import { readElfSymbols } from "./elf-symbols.js";
import { initramfsElfFiles } from "./initramfs.js";
import { readKernelSymbols } from "./kernel-symbols.js";
import type { SymbolSourceSpec } from "./symbol-source-spec.js";
import type { SymbolSource } from "./symbols.js";
import { type SyncSource, syncBytes, withSyncFile } from "./sync-source.js";

/** A source made from a file, before anybody knows where the file is loaded. */
export interface LoadedSource extends SymbolSource {
  /** True: its addresses need a load bias (shared libraries, position-independent programs). */
  readonly needsBias: boolean;
  readonly buildId: string | undefined;
}

/**
 * Loads what a user named with `--symbols`: a program, a library, or a kernel (vmlinux, vmlinuz).
 *
 * @throws VmtapeError `bad-file` when it is neither, damaged, or has no symbols; `unsupported` (big-endian,
 *   relocatable)
 */
export function loadSymbolSource(spec: SymbolSourceSpec): LoadedSource {
  return withSyncFile(spec.file, (source) => {
    const { prefix, range, bias } = spec;
    return {
      ...readSource(source),
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
      sources.push({ name, table, needsBias: elf.isPositionIndependent, buildId: elf.buildId });
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
    }
  }
  return sources;
}

function readSource(source: SyncSource): LoadedSource {
  const { name } = source;
  if (!isElf(source.read(0, Math.min(4, source.size)))) {
    const kernel = readKernelSymbols(source);
    return { name, table: kernel.table, needsBias: false, buildId: kernel.buildId };
  }
  const elf = ElfFile.open(source);
  const table = readElfSymbols(elf);
  if (table.names.count > 0) {
    return { name, table, needsBias: elf.isPositionIndependent, buildId: elf.buildId };
  }
  if (elf.section("__ksymtab")) {
    const kernel = readKernelSymbols(source);
    return { name, table: kernel.table, needsBias: false, buildId: kernel.buildId };
  }
  throw new VmtapeError("bad-file", `${name} has no symbols: it is stripped`, { file: name });
}
