/**
 * Which packages a kernel's name stood for, remembered: asking apt takes half a second to two, and its answer only
 * changes when its lists or settings do.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError, isVmtapeError } from "../base/errors.js";
import { readRegular } from "../base/regular-file.js";
import { isPackageName, isPackageVersion, type PackageRecord } from "./archive.js";
import { findKernelPackages, type KernelOptions, type KernelPackages } from "./kernel.js";
import { writeWhole } from "./storage.js";

interface Remembered {
  readonly state: string;
  readonly packages: KernelPackages;
}

/**
 * `findKernelPackages` with a memory in the cache. When apt has lost its lists, as in many container images, the
 * last answer still holds.
 *
 * @throws VmtapeError as `findKernelPackages`
 */
export async function findKernelPackagesRemembered(
  wanted: string | undefined,
  { archive, cacheDir, signal }: KernelOptions,
): Promise<KernelPackages> {
  const hash = (text: string) => createHash("sha256").update(text).digest("hex");
  const directory = join(cacheDir, "resolved");
  const file = join(directory, `${hash(wanted ?? "").slice(0, 16)}.json`);
  const state = hash(await archive.state());
  const known = await recall(file);
  if (known?.state === state) return known.packages;
  try {
    const packages = await findKernelPackages(wanted, archive, signal);
    await mkdir(directory, { recursive: true }).catch((error) => {
      throw fileError(error, directory, "writing");
    });
    await writeWhole(file, JSON.stringify({ state, packages } satisfies Remembered));
    return packages;
  } catch (error) {
    if (known && isVmtapeError(error, "missing-tool")) return known.packages;
    throw error;
  }
}

async function recall(file: string): Promise<Remembered | undefined> {
  try {
    const value = JSON.parse((await readRegular(file)).toString("utf8")) as Remembered;
    const whole = value.packages.length > 0 && value.packages.every(isRecord);
    return whole && typeof value.state === "string" ? value : undefined;
  } catch {
    return undefined; // nothing remembered, or not readable: apt is asked
  }
}

function isRecord(record: PackageRecord): boolean {
  return (
    isPackageName(record.name) &&
    isPackageVersion(record.version) &&
    /^[0-9a-f]{64}$/.test(record.sha256) &&
    Number.isSafeInteger(record.size) &&
    Array.isArray(record.depends)
  );
}
