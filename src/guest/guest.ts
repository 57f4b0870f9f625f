/** The default guest: a stock kernel and a small initramfs, ready to be recorded. */
import { createHash } from "node:crypto";
import { constants, copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileError, isVmtapeError, VmtapeError } from "../base/errors.js";
import type { ProgressSink } from "../base/progress.js";
import { readRegular } from "../base/regular-file.js";
import type { FileSystem } from "../formats/file-systems.js";
import type { NewcEntry } from "../formats/newc.js";
import { type Addition, readAdditions } from "./addition.js";
import { defaultAppend } from "./append.js";
import { aptArchive, type PackageArchive } from "./archive.js";
import { type Busybox, findBusybox } from "./busybox.js";
import { defaultInit } from "./default-init.js";
import { buildInitramfs } from "./initramfs.js";
import { fetchKernel, findKernelPackages, type KernelPackages } from "./kernel.js";
import { defaultModules, fileSystemModules, planModules } from "./modules.js";
import { KernelPin } from "./pin.js";
import { makeDirectory, withTemporary, writeWhole } from "./storage.js";

export interface GuestOptions {
  /** Where downloads and finished guests are kept; made when missing. */
  readonly cacheDir: string;
  /** Where the guest's files go; by default a directory of the cache, named by a hash of all inputs. */
  readonly directory?: string | undefined;
  /** A package, meta package or kernel release, with `=VERSION` if wanted; by default the newest stock kernel. */
  readonly package?: string | undefined;
  /** True: ask the archive anew, in place of the kernel that the last guest of this name was made with. */
  readonly update?: boolean | undefined;
  /** A file that becomes `/init`, in place of the default script. */
  readonly init?: string | undefined;
  readonly additions?: readonly Addition[] | undefined;
  /** The file systems that the guest can mount beside ext4. */
  readonly fileSystems?: readonly FileSystem[] | undefined;
  readonly archive?: PackageArchive | undefined;
  readonly progress?: ProgressSink | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A guest that can be booted. Paths are absolute. */
export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
  /** The kernel's command line. */
  readonly append: string;
  /** The kernel's release, as `uname -r` says it. */
  readonly version: string;
  readonly package: string;
  readonly packageVersion: string;
  readonly directory: string;
  /** Names of the modules in the initramfs, in load order. */
  readonly modules: readonly string[];
  /** Modules that this kernel does not have; what needs them does not work in this guest. */
  readonly missingModules: readonly string[];
}

/** What a guest's directory says about itself: everything but the directory itself. */
type GuestFile = Omit<Guest, "kernel" | "initrd" | "directory"> & {
  readonly key: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly sizes: { readonly kernel: number; readonly initrd: number };
};

/** A part of a guest's key. Raise it when a change of the code makes other bytes from the same inputs. */
const generation = 1;
const factsName = "guest.json";
const initrdName = "initrd.img";

/**
 * Makes the default guest, or finds one that was made from the same inputs. The same inputs give the same bytes; the
 * same name of a kernel gives the same kernel until `update`. The first call for a kernel downloads 30 to 110 MB and
 * takes some seconds; a call that finds everything there takes well under 100 ms.
 *
 * @throws VmtapeError `usage`, `bad-guest`, `missing-tool`, `bad-file`, `disk-full`, `not-writable`,
 *   `limit-exceeded`, `cancelled`: see `findKernelPackages`, `fetchKernel`, `readAdditions`. Nothing half-made is
 *   left behind.
 */
export async function makeGuest(options: GuestOptions): Promise<Guest> {
  const archive = options.archive ?? aptArchive();
  const cacheDir = resolve(options.cacheDir);
  const sources = { archive, cacheDir, signal: options.signal, progress: options.progress };

  const init = options.init === undefined ? Buffer.from(defaultInit) : await readInit(options.init);
  const additions = await readAdditions(options.additions ?? [], options.signal);
  const pin = new KernelPin(cacheDir, options.package, archive);
  const pinned = options.update ? undefined : await pin.read();
  const packages = pinned ?? (await findKernelPackages(options.package, archive, options.signal));
  const busybox = await findBusybox(sources);

  const more = (options.fileSystems ?? []).flatMap((one) => fileSystemModules[one]);
  const wanted = [...new Set([...defaultModules, ...more])];
  const key = guestKey(packages, busybox, init, additions, wanted);
  const directory = options.directory
    ? resolve(options.directory)
    : join(cacheDir, `guest-${key.slice(0, 16)}`);
  const known = await openGuest(directory, key);
  if (known) {
    if (!pinned) await pin.write(packages);
    return known;
  }

  const kernel = await fetchKernel(packages, { ...sources, allFileSystems: more.length > 0 }).catch(
    (error) => {
      throw pinned ? pinnedError(error, options.package) : error;
    },
  );
  const plan = await planModules(kernel.modules, wanted, options.signal);
  const initrd = buildInitramfs({
    busybox,
    release: kernel.release,
    modules: plan.load,
    init,
    additions,
  });
  const facts: GuestFile = {
    key,
    kernel: basename(kernel.image),
    initrd: initrdName,
    append: defaultAppend,
    version: kernel.release,
    package: kernel.package,
    packageVersion: kernel.packageVersion,
    modules: plan.load.map((module) => module.name),
    missingModules: plan.missing,
    sizes: { kernel: (await stat(kernel.image)).size, initrd: initrd.length },
  };
  const fill = async (place: string) => {
    await copyFile(kernel.image, join(place, facts.kernel), constants.COPYFILE_FICLONE);
    await writeWhole(join(place, initrdName), initrd);
    await writeWhole(join(place, factsName), `${JSON.stringify(facts, undefined, 2)}\n`);
  };
  if (options.directory) await fillUserDirectory(directory, facts, fill);
  else await replaceDirectory(directory, key, fill, options.signal);
  if (!pinned) await pin.write(packages);
  return guestAt(directory, facts);
}

/**
 * Adds advice to the error of a pinned kernel that is no longer in the cache: the archive may no longer have it
 * either.
 */
function pinnedError(error: unknown, wanted: string | undefined): unknown {
  if (!isVmtapeError(error, "missing-tool")) return error;
  const mend = `vmtape guest --update${wanted === undefined ? "" : ` --package ${wanted}`}`;
  return new VmtapeError(error.code, error.message, { ...error.facts, mend }, error);
}

/** The guest in this directory, if it has this key and its files are undamaged; otherwise undefined. */
async function openGuest(directory: string, key: string): Promise<Guest | undefined> {
  try {
    const facts = JSON.parse((await readRegular(join(directory, factsName))).toString("utf8")) as GuestFile;
    if (facts.key !== key) return undefined;
    const guest = guestAt(directory, facts);
    const whole =
      (await stat(guest.kernel)).size === facts.sizes.kernel &&
      (await stat(guest.initrd)).size === facts.sizes.initrd;
    return whole ? guest : undefined;
  } catch {
    return undefined; // not there, or damaged: it is made anew
  }
}

function guestAt(directory: string, facts: GuestFile): Guest {
  return {
    kernel: join(directory, facts.kernel),
    initrd: join(directory, facts.initrd),
    append: facts.append,
    version: facts.version,
    package: facts.package,
    packageVersion: facts.packageVersion,
    directory,
    modules: facts.modules,
    missingModules: facts.missingModules,
  };
}

/**
 * Makes a directory of the cache, which appears complete or not at all. A damaged one is removed first, but not one
 * that another process has completed in the meantime.
 */
async function replaceDirectory(
  directory: string,
  key: string,
  fill: (place: string) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!(await openGuest(directory, key))) await rm(directory, { recursive: true, force: true });
  await makeDirectory(directory, fill, signal);
}

/**
 * Fills a directory that the user named. It may contain other files, so only the guest's are replaced, `guest.json`
 * last.
 */
async function fillUserDirectory(
  directory: string,
  facts: GuestFile,
  fill: (place: string) => Promise<void>,
): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
  } catch (error) {
    throw fileError(error, directory, "writing");
  }
  await withTemporary(directory, async (place) => {
    await fill(place);
    for (const name of [facts.kernel, facts.initrd, factsName]) {
      await rename(join(place, name), join(directory, name));
    }
  });
}

async function readInit(file: string): Promise<Uint8Array> {
  const path = resolve(file);
  const data = await readRegular(path);
  if (data.length === 0)
    throw new VmtapeError("bad-file", `${path} is empty and cannot be /init`, { file: path });
  return data;
}

function guestKey(
  packages: KernelPackages,
  busybox: Busybox,
  init: Uint8Array,
  additions: readonly NewcEntry[],
  modules: readonly string[],
): string {
  const digest = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
  const inputs = {
    generation,
    append: defaultAppend,
    packages: packages.map((record) => [record.name, record.version, record.sha256]),
    busybox: busybox.sha256,
    modules,
    init: digest(init),
    additions: additions.map((entry) =>
      entry.type === "file" ? { ...entry, data: digest(entry.data) } : entry,
    ),
  };
  return digest(Buffer.from(JSON.stringify(inputs)));
}
