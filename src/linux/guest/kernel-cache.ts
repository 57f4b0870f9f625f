import { dirname, join } from "node:path";
import { breathe } from "../../base/breathe.js";
import { isVmtapeError } from "../../base/errors.js";
import { noLinks, readRegularSync } from "../../base/regular-file.js";
import { replaceFileSync } from "../../base/replace-file.js";
import { withSyncFile } from "../../base/sync-source.js";
import { type BtfTypes, decodeBtf } from "../../symbols/btf/types.js";
import { kernelBtfBytes } from "../../symbols/kernel/btf-find.js";
import { openKernelImage } from "../../symbols/kernel/image.js";
import { type KernelSymbols, loadKernelSymbols } from "../../symbols/kernel/symbols.js";
import { type LinuxKernel, unlessDamaged } from "./linux-kernel.js";

/**
 * `loadLinuxKernel` of a tape's kernel, whose types are kept unpacked in the tape's cache. Cost: as that the first time,
 * then about 0.1 s.
 *
 * @param cache the tape's (`tapeCache`)
 */
export function loadKernelOnce(file: string, cache: string): LinuxKernel | undefined {
  const symbols = symbolsOf(file, cache);
  return symbols && { symbols, types: typesOf(file, cache) };
}

/**
 * The same in two steps, between which a Ctrl-C is heard.
 *
 * @throws VmtapeError `cancelled`
 */
export async function loadKernelInSteps(
  file: string,
  cache: string,
  signal: AbortSignal | undefined,
): Promise<LinuxKernel | undefined> {
  const symbols = symbolsOf(file, cache);
  await breathe(signal);
  const types = symbols && typesOf(file, cache);
  await breathe(signal);
  return symbols && { symbols, types };
}

function symbolsOf(file: string, cache: string): KernelSymbols | undefined {
  return unlessUnreadable(() => loadKernelSymbols(file, { cache: join(dirname(dirname(cache)), "symbols") }));
}

function typesOf(file: string, cache: string): LinuxKernel["types"] {
  const kept = join(cache, "btf");
  return unlessUnreadable(() => unlessDamaged(() => readKept(kept) ?? unpack(file, kept)));
}

function unlessUnreadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isVmtapeError(error, "bad-file") || isVmtapeError(error, "unsupported")) return undefined;
    throw error;
  }
}

/** What {@link keep} wrote; undefined when there is none, or not all of it. */
function readKept(file: string): BtfTypes | undefined {
  try {
    const types = decodeBtf(readRegularSync(file, noLinks), { name: "the kernel's BTF" });
    return types.data.damage === undefined ? types : undefined;
  } catch {
    return undefined;
  }
}

function unpack(file: string, kept: string): BtfTypes | undefined {
  const bytes = withSyncFile(file, (source) => kernelBtfBytes(openKernelImage(source)));
  if (!bytes) return undefined;
  keep(kept, bytes);
  return decodeBtf(bytes, { name: file });
}

/** A cache that takes nothing costs only time. */
function keep(kept: string, bytes: Uint8Array): void {
  try {
    replaceFileSync(kept, bytes);
  } catch {
    // unpacked again next time
  }
}
