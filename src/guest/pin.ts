/**
 * Which packages a kernel's name stands for, pinned: a guest that was made stays the same until somebody asks for a newer
 * one, whatever apt's lists say in the meantime. Asking apt takes half a second to two; a pin takes nothing.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "../base/errors.js";
import { readRegular } from "../base/regular-file.js";
import { isPackageName, isPackageVersion, type PackageArchive, type PackageRecord } from "./archive.js";
import type { KernelPackages } from "./kernel.js";
import { writeWhole } from "./storage.js";

/** What a name once stood for, in a file of its own in the cache. */
export class KernelPin {
  private readonly directory: string;
  private readonly file: string;

  /**
   * @param wanted the name as the user wrote it; undefined for the default guest
   * @param archive pins of another archive say nothing about this one
   */
  constructor(cacheDir: string, wanted: string | undefined, archive: Pick<PackageArchive, "id">) {
    const question = JSON.stringify([wanted ?? null, archive.id]);
    this.directory = join(cacheDir, "pins");
    const name = createHash("sha256").update(question).digest("hex").slice(0, 16);
    this.file = join(this.directory, `${name}.json`);
  }

  /** The packages; undefined when there are none, or they cannot be read. */
  async read(): Promise<KernelPackages | undefined> {
    try {
      const { packages } = JSON.parse((await readRegular(this.file)).toString("utf8")) as {
        packages: KernelPackages;
      };
      return packages.length > 0 && packages.every(isRecord) ? packages : undefined;
    } catch {
      return undefined; // not pinned, or not readable: the archive is asked
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
