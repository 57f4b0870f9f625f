/** The guest's user space: one static busybox, from this machine or from its package. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ByteReader } from "../base/bytes.js";
import { VmtapeError } from "../base/errors.js";
import { readRegular } from "../base/regular-file.js";
import { isPackageName, updateCommand } from "./archive.js";
import { lastLine, runCommand } from "./command.js";
import { fetchPackage, type KernelOptions } from "./kernel.js";
import { makeDirectory } from "./storage.js";

const busyboxPackage = "busybox-static";
const installedPlaces = ["/bin/busybox", "/usr/bin/busybox"];
/** Where the package puts it: in releases before and after /bin became a link to /usr/bin. */
const packagedPlaces = ["bin/busybox", "usr/bin/busybox"];

/** A busybox and the programs that it contains. */
export interface Busybox {
  readonly data: Uint8Array;
  readonly sha256: string;
  /** Sorted, without `busybox` itself. */
  readonly applets: readonly string[];
}

/**
 * The machine's static busybox; else the one from package `busybox-static`, fetched into the cache.
 *
 * @throws VmtapeError `missing-tool` when there is neither, and the errors of `fetchKernel`
 */
export async function findBusybox(
  options: KernelOptions & { readonly installed?: readonly string[] },
): Promise<Busybox> {
  for (const file of options.installed ?? installedPlaces) {
    const data = await readRegular(file).catch(() => undefined);
    if (data && isStaticProgram(data)) return open(file, data, options.signal);
  }
  const record = await options.archive.find(busyboxPackage, undefined, options.signal);
  if (!record) {
    throw new VmtapeError("missing-tool", "there is no static busybox, here or in the package archive", {
      package: busyboxPackage,
      mend: updateCommand(),
    });
  }
  const directory = join(options.cacheDir, "busybox", record.version);
  const known = await fromDirectory(directory, options.signal);
  if (known) return known;
  const patterns = packagedPlaces.map((place) => `./${place}`);
  await makeDirectory(
    directory,
    (unfinished) => fetchPackage(record, unfinished, patterns, options),
    options.signal,
  );
  const made = await fromDirectory(directory, options.signal);
  if (made) return made;
  throw new VmtapeError("bad-file", `the package ${busyboxPackage} holds no static busybox`, {
    file: directory,
  });
}

async function fromDirectory(directory: string, signal?: AbortSignal): Promise<Busybox | undefined> {
  for (const place of packagedPlaces) {
    const file = join(directory, place);
    const data = await readRegular(file).catch(() => undefined);
    if (data && isStaticProgram(data)) return open(file, data, signal);
  }
  return undefined;
}

async function open(file: string, data: Uint8Array, signal?: AbortSignal): Promise<Busybox> {
  const listed = await runCommand(file, ["--list"], { signal });
  if (listed.code !== 0) {
    throw new VmtapeError("bad-file", `${file} does not run: ${lastLine(listed)}`, { file });
  }
  const names = listed.stdout
    .split("\n")
    .filter((name) => isPackageName(name) || name === "[" || name === "[[");
  const applets = [...new Set(names)].filter((name) => name !== "busybox").sort();
  return { data, sha256: createHash("sha256").update(data).digest("hex"), applets };
}

const elfMagic = 0x464c457f;
const elf = { class: 4, machine: 0x12, programs: 0x20, programSize: 0x36, programCount: 0x38 } as const;
const class64 = 2;
const machineX86 = 62;
const interpreterSegment = 3;

/** Is this an amd64 ELF program that names no interpreter, so that it runs without libraries? */
export function isStaticProgram(bytes: Uint8Array): boolean {
  try {
    const reader = new ByteReader(bytes, "program");
    const at = (offset: number) => {
      reader.seek(offset);
      return reader;
    };
    if (reader.u32() !== elfMagic || at(elf.class).u8() !== class64 || at(elf.machine).u16() !== machineX86) {
      return false;
    }
    const table = Number(at(elf.programs).u64());
    const size = at(elf.programSize).u16();
    const count = at(elf.programCount).u16();
    for (let index = 0; index < count; index++) {
      if (at(table + index * size).u32() === interpreterSegment) return false;
    }
    return count > 0;
  } catch {
    return false; // shorter than its headers say
  }
}
