/**
 * Pins which packages a kernel's name stands for, so that a guest stays the same until the user asks for a newer one,
 * even when apt's lists change. It also saves asking apt, which takes half a second to two.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "../base/errors.js";
import { readRegular } from "../base/regular-file.js";
import { isPackageName, isPackageVersion, type PackageArchive, type PackageRecord } from "./archive.js";
import type { KernelPackages } from "./kernel.js";
import { writeWhole } from "./storage.js";

/** The pin of one name, a file in the cache. */
export class KernelPin {
  private readonly directory: string;
  private readonly file: string;

  /**
   * @param wanted the name as the user wrote it; undefined for the default guest
   * @param archive each archive has pins of its own
   */
  constructor(cacheDir: string, wanted: string | undefined, archive: Pick<PackageArchive, "id">) {
    const question = JSON.stringify([wanted ?? null, archive.id]);
    this.directory = join(cacheDir, "pins");
    const name = createHash("sha256").update(question).digest("hex").slice(0, 16);
    this.file = join(this.directory, `${name}.json`);
  }

  /** The pinned packages; undefined when the name is not pinned or the file cannot be read. */
  async read(): Promise<KernelPackages | undefined> {
    try {
      const { packages } = JSON.parse((await readRegular(this.file)).toString("utf8")) as {
        packages: KernelPackages;
      };
      return packages.length > 0 && packages.every(isRecord) ? packages : undefined;
    } catch {
      return undefined; // not pinned, or not readable: the caller asks the archive
    }
  }

  /** @throws VmtapeError `disk-full`, `not-writable` */
  async write(packages: KernelPackages): Promise<void> {
    await mkdir(this.directory, { recursive: true }).catch((error) => {
      throw fileError(error, this.directory, "writing");
    });
    await writeWhole(this.file, JSON.stringify({ packages }));
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
