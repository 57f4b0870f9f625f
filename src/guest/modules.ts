/** Which kernel modules a guest needs, and in what order they load. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readRegular } from "../base/regular-file.js";
import { throwIfAborted } from "../base/stopping.js";
import type { FileSystem } from "../formats/file-systems.js";
import { compressedSuffixes, unpack } from "./compressed.js";
import { type ModuleInfo, parseModuleInfo, readModuleInfo } from "./modinfo.js";

/** What the default guest's devices and file system need; each pulls in what it depends on. */
export const defaultModules = [
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_console",
  "af_packet",
  "ext4",
] as const;

/** What mounting a file system needs beyond the default guest's modules. */
export const fileSystemModules: Readonly<Record<FileSystem, readonly string[]>> = {
  ext4: [],
  xfs: ["xfs"],
  btrfs: ["btrfs"],
  // The tables are those a mount without options asks for.
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

/** The answer of `planModules`. */
export interface ModulePlan {
  /** Each after everything it needs. */
  readonly load: readonly GuestModule[];
  /** Wanted ones that are part of the kernel image. */
  readonly builtIn: readonly string[];
  /** Wanted or depended-on ones that this kernel does not have. */
  readonly missing: readonly string[];
}

/**
 * Finds the modules and all they depend on in an unpacked `/lib/modules/RELEASE`. Dependencies come from the
 * modules themselves, since an unpacked package has no `modules.dep` (depmod writes that at installation).
 * A missing one is an entry in `missing`, not an error: kernels differ in what they have.
 *
 * Softdeps count too: ext4 reads its checksums with whatever provides `crypto-crc32c`, and there is no modprobe
 * in the guest that could fetch it later.
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

/** Modules are called with dashes and with underscores alike; the kernel says underscores. */
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

/** Names and aliases of what is in the kernel image, with underscores. */
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

/** Where modules with plain aliases such as `crypto-crc32c` live; reading all 4,000 modules would take seconds. */
const providerPlaces = /^kernel\/(crypto|lib|arch\/[^/]+\/(crypto|lib))\//;

/** The module that answers to an alias: a generic one before those for certain processors. */
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
