import { isVmtapeError } from "../../base/errors.js";
import { withSyncFile } from "../../base/sync-source.js";
import type { BtfTypes } from "../../symbols/btf/types.js";
import { readKernelBtf } from "../../symbols/kernel/btf-find.js";
import { openKernelImage } from "../../symbols/kernel/image.js";
import { type KernelSymbols, kernelSymbolsOf, readKernelSymbols } from "../../symbols/kernel/symbols.js";
import { Types } from "../../symbols/types/set.js";

/** What a kernel's file says of it: names and types, at link addresses. */
export interface LinuxKernel {
  readonly symbols: KernelSymbols;
  /** Undefined for a kernel without BTF that can be read (CONFIG_DEBUG_INFO_BTF off; before 5.2 there was none), or not loaded. */
  readonly types: Types | undefined;
}

/** Types, or none where they are missing or damaged: names are worth something without. */
export function unlessDamaged(read: () => BtfTypes | undefined): Types | undefined {
  try {
    const found = read();
    return found && new Types(found);
  } catch (error) {
    if (isVmtapeError(error, "bad-file")) return undefined;
    throw error;
  }
}

/**
 * Reads a kernel's names and types from its file. Cost: about 0.6 s for a stock kernel, most of it unpacking.
 *
 * @returns undefined when the file is no Linux kernel, or has no symbols
 * @throws VmtapeError `bad-file` when it cannot be read
 */
export function loadLinuxKernel(file: string): LinuxKernel | undefined {
  return withSyncFile(file, (source) => {
    try {
      const image = openKernelImage(source);
      const symbols = kernelSymbolsOf(image) ?? readKernelSymbols(source);
      return { symbols, types: unlessDamaged(() => readKernelBtf(image)) };
    } catch (error) {
      if (isVmtapeError(error, "bad-file") || isVmtapeError(error, "unsupported")) return undefined;
      throw error;
    }
  });
}
