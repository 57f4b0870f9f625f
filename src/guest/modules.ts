/** Which kernel modules a guest needs, and in what order they load. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readRegular } from "../base/regular-file.js";
import { throwIfAborted } from "../base/stopping.js";
import type { FileSystem } from "../formats/file-systems.js";
import { compressedSuffixes, unpack } from "./compressed.js";
import { type ModuleInfo, parseModuleInfo, readModuleInfo } from "./modinfo.js";

/** The modules for the default guest's devices and file system; what they depend on is added. */
export const defaultModules = [
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_console",
  "af_packet",
  "ext4",
] as const;

/** The modules for mounting a file system, beyond those of the default guest. */
export const fileSystemModules: Readonly<Record<FileSystem, readonly string[]>> = {
  ext4: [],
  xfs: ["xfs"],
  btrfs: ["btrfs"],
  // The nls modules are the character sets that a mount without options uses.
  vfat: ["vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"],
  exfat: ["exfat", "nls_utf8"],
  ntfs: ["ntfs3"],
  iso9660: ["isofs"],
  squashfs: ["squashfs"],
  erofs: ["erofs"],
  f2fs: ["f2fs"],
};

/** A module to load, ready for `insmod`. */
export interface GuestModule {
  /** With underscores, as in /proc/modules. */
  readonly name: string;
  /** Below the modules directory, without a compression suffix: `kernel/fs/ext4/ext4.ko`. */
  readonly path: string;
  /** Uncompressed. */
  readonly data: Uint8Array;
}

/** The result of `planModules`. */
export interface ModulePlan {
  /** In load order: each module comes after all that it depends on. */
  readonly load: readonly GuestModule[];
  /** Wanted modules that are built into the kernel image. */
  readonly builtIn: readonly string[];
  /** Wanted modules, or dependencies of them, that this kernel does not have. */
  readonly missing: readonly string[];
}

/**
 * Finds the modules and all they depend on in an unpacked `/lib/modules/RELEASE`. Dependencies come from the modules
 * themselves, since an unpacked package has no `modules.dep` (depmod writes that at installation). A missing one is
 * an entry in `missing`, not an error: kernels differ in what they have.
 *
 * Soft dependencies (`softdep`) count, too: ext4 needs a module that provides `crypto-crc32c` for its checksums, and
 * the guest has no modprobe that could load it later.
 *
 * @throws VmtapeError `bad-file` for a damaged module, `cancelled`
 */
export async function planModules(
  directory: string,
  wanted: readonly string[],
  signal?: AbortSignal,
): Promise<ModulePlan> {
  const files = await moduleFiles(directory);
  const builtIn = await builtInNames(directory);
  const load: GuestModule[] = [];
  const seen = new Set<string>();
  const skipped = new Set<string>();
  const missing = new Set<string>();

  for (const name of wanted) await visit(name);
  return { load, builtIn: [...skipped], missing: [...missing] };

  async function visit(word: string): Promise<void> {
    const asked = moduleName(word);
    if (seen.has(asked)) return;
    seen.add(asked);
    throwIfAborted(signal);
    const path = files.get(asked);
    if (path) return take(asked, path);
    if (builtIn.has(asked)) return void skipped.add(asked);
    const provider = await findProvider(directory, files, word);
    if (provider) return visit(provider);
    missing.add(asked);
  }

  async function take(name: string, path: string): Promise<void> {
    const { data, info } = await readModule(directory, path);
    for (const other of [...info.wants, ...info.depends]) await visit(other);
    load.push({ name, path: withoutSuffix(path), data });
  }
}

/** The kernel's name of a module, with underscores. Users and files may also write dashes. */
export function moduleName(word: string): string {
  return word.replaceAll("-", "_");
}

async function readModule(directory: string, path: string): Promise<{ data: Uint8Array; info: ModuleInfo }> {
  const file = join(directory, path);
  const data = await unpack(await readRegular(file), file);
  return { data, info: readModuleInfo(data, file) };
}

/** Module name to path below `directory`, sorted. */
async function moduleFiles(directory: string): Promise<Map<string, string>> {
  const paths = await readdir(join(directory, "kernel"), { recursive: true }).catch(() => []);
  const files = new Map<string, string>();
  for (const path of paths.sort()) {
    const base = withoutSuffix(path.slice(path.lastIndexOf("/") + 1));
    if (base.endsWith(".ko")) files.set(moduleName(base.slice(0, -".ko".length)), join("kernel", path));
  }
  return files;
}

/** Names and aliases of the modules built into the kernel image, with underscores. */
async function builtInNames(directory: string): Promise<Set<string>> {
  const names = new Set<string>();
  for (const line of (await readText(join(directory, "modules.builtin"))).split("\n")) {
    const match = /([^/]+)\.ko$/.exec(line.trim());
    if (match) names.add(moduleName(match[1]!));
  }
  // Strings of the form `module.key=value`, since Linux 5.2.
  for (const line of (await readText(join(directory, "modules.builtin.modinfo"))).split("\0")) {
    const dot = line.indexOf(".");
    for (const alias of parseModuleInfo(line.slice(dot + 1)).aliases) names.add(moduleName(alias));
  }
  return names;
}

/** The directories of modules with aliases such as `crypto-crc32c`. Reading all 4,000 modules would take seconds. */
const providerPlaces = /^kernel\/(crypto|lib|arch\/[^/]+\/(crypto|lib))\//;

/** The module that has an alias. A generic one is preferred to those for certain processors. */
async function findProvider(
  directory: string,
  files: ReadonlyMap<string, string>,
  alias: string,
): Promise<string | undefined> {
  const found: string[] = [];
  for (const [name, path] of files) {
    if (!providerPlaces.test(path)) continue;
    if ((await readModule(directory, path)).info.aliases.includes(alias)) found.push(name);
  }
  return found.find((name) => name.endsWith("_generic")) ?? found[0];
}

function withoutSuffix(path: string): string {
  const suffix = compressedSuffixes.find((ending) => ending !== "" && path.endsWith(`.ko${ending}`)) ?? "";
  return path.slice(0, path.length - suffix.length);
}

async function readText(file: string): Promise<string> {
  return readRegular(file).then(
    (bytes) => bytes.toString("latin1"),
    () => "",
  );
}
