/** A distribution's kernel, fetched from its package without installing it. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, VmtapeError } from "../base/errors.js";
import type { ProgressSink } from "../base/progress.js";
import {
  isPackageName,
  isPackageVersion,
  type PackageArchive,
  type PackageRecord,
  updateCommand,
} from "./archive.js";
import { lastLine, runPipeline } from "./command.js";
import { makeDirectory, withTemporary } from "./storage.js";

/** Meta packages that depend on the newest stock kernel: Debian's, and Ubuntu's. */
const metaPackages = ["linux-image-amd64", "linux-image-generic"];
const kernelPrefix = "linux-image-";
/** How many meta packages are followed, each to the next, so that a loop ends. */
const maxMetaDepth = 4;

/**
 * The packages of a kernel. The first one has the image; where a distribution splits them, the others have the
 * modules.
 */
export type KernelPackages = readonly [PackageRecord, ...PackageRecord[]];

/** An unpacked kernel. */
export interface Kernel {
  readonly package: string;
  readonly packageVersion: string;
  /** What `uname -r` says. */
  readonly release: string;
  /** The bzImage. */
  readonly image: string;
  /** `lib/modules/RELEASE`, with the modules a guest may need and no others. */
  readonly modules: string;
}

export interface KernelOptions {
  readonly archive: PackageArchive;
  readonly cacheDir: string;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: ProgressSink | undefined;
}

/**
 * The packages of a kernel: `wanted` is a package (`linux-image-6.1.0-56-cloud-amd64`), a meta package, a kernel
 * release (`6.1.0-56-amd64`), any of them with `=VERSION` of the package; undefined means the distribution's newest
 * kernel.
 *
 * @throws VmtapeError `usage` for a word that is no package name, `bad-guest` when the archive has none of that name
 *   or it holds no kernel, `missing-tool` without apt or without its lists
 */
export async function findKernelPackages(
  wanted: string | undefined,
  archive: PackageArchive,
  signal?: AbortSignal,
): Promise<KernelPackages> {
  const { names, version } = wantedNames(wanted);
  for (const name of names) {
    if (name32Pattern.test(name)) throw not64Bit(name, "i386");
    if (/-dbg(sym)?$/.test(name)) {
      // Refused before the download: it would be a gigabyte.
      throw new VmtapeError("bad-guest", `the package ${name} holds debug symbols and no kernel`, {
        package: name,
      });
    }
    const record = await archive.find(name, version, signal);
    if (record) return followMeta(checkArchitecture(record), archive, signal);
  }
  throw new VmtapeError(
    "bad-guest",
    `the package archive has no ${names[0]}${version ? ` ${version}` : ""}`,
    {
      package: names[0],
      mend: `${updateCommand()}; apt-cache search '^linux-image-'`,
    },
  );
}

/**
 * Fetches and unpacks these packages into the cache, once: a second call finds them there. Takes some 3 s with a
 * fast network; 100 MB of temporary space.
 *
 * @throws VmtapeError `missing-tool`, `bad-file` when a download is damaged or holds no kernel, `disk-full`,
 *   `not-writable`, `cancelled`
 */
export async function fetchKernel(
  packages: KernelPackages,
  options: KernelOptions & {
    /** With the modules of all file systems that a guest may mount, not only of ext4. */
    readonly allFileSystems?: boolean;
  },
): Promise<Kernel> {
  const [main] = packages;
  const { allFileSystems } = options;
  const name = `${main.name}_${main.version}${allFileSystems ? "_file-systems" : ""}`;
  const directory = join(options.cacheDir, "kernels", name);
  const files = allFileSystems ? [...kernelFiles, ...fileSystemFiles] : kernelFiles;
  const known = await openKernel(directory, main);
  if (known) return known;
  await makeDirectory(
    directory,
    async (unfinished) => {
      for (const record of packages) await fetchPackage(record, unfinished, files, options);
      await tidyKernel(unfinished, main);
    },
    options.signal,
  );
  const made = await openKernel(directory, main);
  if (!made)
    throw new VmtapeError("bad-file", `${directory} was changed while it was written`, { file: directory });
  return made;
}

/**
 * Downloads a package, checks it against the archive's hash, and unpacks the files that match one of the tar
 * patterns into `directory`.
 *
 * @throws VmtapeError as `fetchKernel`
 */
export async function fetchPackage(
  record: PackageRecord,
  directory: string,
  patterns: readonly string[],
  options: Pick<KernelOptions, "archive" | "signal" | "progress">,
): Promise<void> {
  const { archive, signal } = options;
  await withTemporary(directory, async (downloads) => {
    const watch = watchDownload(downloads, record, options.progress);
    const file = await archive.download(record, downloads, signal).finally(() => clearInterval(watch));
    await checkHash(file, record);
    await unpackFiles(file, directory, patterns, signal);
  });
}

/**
 * The files that are unpacked. The rest of the 100 to 400 MB stays in the package.
 */
const kernelFiles = [
  "*/boot/vmlinuz-*",
  "*/lib/modules/*/vmlinuz",
  "*/lib/modules/*/modules.builtin*",
  "*/kernel/arch/x86/crypto/*.ko*",
  "*/kernel/crypto/*.ko*",
  "*/kernel/drivers/block/virtio_blk.ko*",
  "*/kernel/drivers/char/virtio_console.ko*",
  "*/kernel/drivers/net/net_failover.ko*",
  "*/kernel/drivers/net/virtio_net.ko*",
  "*/kernel/drivers/virtio/*.ko*",
  "*/kernel/fs/ext4/*.ko*",
  "*/kernel/fs/jbd2/*.ko*",
  "*/kernel/fs/mbcache.ko*",
  "*/kernel/lib/*.ko*",
  "*/kernel/net/core/*.ko*",
  "*/kernel/net/packet/*.ko*",
];

/** The modules that are also unpacked for guests with disks of other file systems. */
const fileSystemFiles = [
  "btrfs",
  "erofs",
  "exfat",
  "f2fs",
  "fat",
  "isofs",
  "nls",
  "ntfs3",
  "squashfs",
  "xfs",
].map((name) => `*/kernel/fs/${name}/*.ko*`);

function wantedNames(wanted: string | undefined): { names: readonly string[]; version: string | undefined } {
  if (wanted === undefined) return { names: metaPackages, version: undefined };
  const equals = wanted.indexOf("=");
  const word = equals < 0 ? wanted : wanted.slice(0, equals);
  const version = equals < 0 ? undefined : wanted.slice(equals + 1);
  // `NAME:ARCHITECTURE` is how apt writes packages of another architecture than the machine's.
  const [base = "", architecture] = word.split(/:(.*)/s);
  const name = /^[0-9]/.test(base) ? kernelPrefix + base : base;
  if (architecture !== undefined && isPackageName(name) && isPackageName(architecture)) {
    if (architecture !== guestArchitecture) throw not64Bit(name, architecture);
    return { names: [name], version };
  }
  if (word !== base || !isPackageName(name) || (version !== undefined && !isPackageVersion(version))) {
    throw new VmtapeError("usage", `${JSON.stringify(wanted.slice(0, 80))} is not the name of a package`, {
      expected: `${kernelPrefix}RELEASE, with =VERSION for one version of it`,
      got: wanted,
    });
  }
  return { names: [name], version };
}

const guestArchitecture = "amd64";
/** The names of Debian's packages with 32-bit kernels for PCs. */
const name32Pattern = /^linux-(?:image|headers)-.*[3-6]86(?:-pae)?(?:-unsigned)?$/;
/** Debian's 32-bit architectures that have or had kernels. */
const architectures32 = ["i386", "armel", "armhf", "mips", "mipsel", "powerpc", "hppa", "m68k", "sh4"];

function checkArchitecture(record: PackageRecord): PackageRecord {
  if (record.architecture === guestArchitecture || record.architecture === "all") return record;
  throw not64Bit(record.name, record.architecture);
}

/** The error for a kernel of another architecture, which is found before its 100 MB are downloaded. */
function not64Bit(name: string, architecture: string): VmtapeError {
  const is32 = architectures32.includes(architecture);
  return new VmtapeError(
    "bad-guest",
    is32
      ? `the package ${name} holds a 32-bit kernel (${architecture}); guests are 64-bit, ${guestArchitecture}`
      : `the package ${name} is for ${architecture}; guests are ${guestArchitecture}`,
    {
      package: name,
      expected: guestArchitecture,
      got: architecture,
      mend: "apt-cache search '^linux-image-.*amd64$'",
    },
  );
}

/**
 * Follows the dependencies of meta packages to the package with an image, and collects the packages of its modules.
 */
async function followMeta(
  first: PackageRecord,
  archive: PackageArchive,
  signal?: AbortSignal,
): Promise<KernelPackages> {
  let record = first;
  for (let depth = 0; depth < maxMetaDepth; depth++) {
    const next = record.depends.find(({ name }) => name.startsWith(kernelPrefix) && name !== record.name);
    if (!next) break;
    const found = await archive.find(next.name, next.version, signal);
    if (!found) {
      throw new VmtapeError(
        "bad-guest",
        `${record.name} depends on ${next.name}, which the package archive lacks`,
        {
          package: next.name,
          mend: updateCommand(),
        },
      );
    }
    record = checkArchitecture(found);
  }
  // Ubuntu, and Debian from 6.19 on, ship the modules (and Debian image and lists) in packages of their own.
  const parts: PackageRecord[] = [];
  for (const { name, version } of record.depends) {
    if (!/^linux-(base|binary|modules)-[0-9]/.test(name)) continue;
    const part = await archive.find(name, version, signal);
    if (part) parts.push(part);
  }
  return [record, ...parts];
}

/** Moves image and modules to fixed places. */
async function tidyKernel(directory: string, record: PackageRecord): Promise<void> {
  const inBoot = (await namesIn(join(directory, "boot"))).filter((name) => name.startsWith("vmlinuz-"));
  const root = (await exists(join(directory, "usr/lib/modules"))) ? "usr/lib/modules" : "lib/modules";
  const release = inBoot[0]?.slice("vmlinuz-".length) ?? (await namesIn(join(directory, root)))[0];
  const image = inBoot[0] ? join("boot", inBoot[0]) : join(root, release ?? "", "vmlinuz");
  if (release === undefined || !(await exists(join(directory, image)))) {
    throw new VmtapeError("bad-guest", `the package ${record.name} holds no kernel image`, {
      package: record.name,
      mend: "apt-cache search '^linux-image-'",
    });
  }
  await rename(join(directory, image), join(directory, `vmlinuz-${release}`));
  await mkdir(join(directory, root, release), { recursive: true });
  await rename(join(directory, root, release), join(directory, "modules"));
}

async function openKernel(directory: string, record: PackageRecord): Promise<Kernel | undefined> {
  const image = (await namesIn(directory)).find((name) => name.startsWith("vmlinuz-"));
  if (!image) return undefined;
  return {
    package: record.name,
    packageVersion: record.version,
    release: image.slice("vmlinuz-".length),
    image: join(directory, image),
    modules: join(directory, "modules"),
  };
}

async function unpackFiles(
  file: string,
  directory: string,
  patterns: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const tar = ["-x", "-f", "-", "-C", directory, "--no-same-owner", "--wildcards", "--", ...patterns];
  const [deb, unpacked] = await runPipeline(
    [
      ["dpkg-deb", ["--fsys-tarfile", file]],
      ["tar", tar],
    ],
    { signal },
  );
  // tar also fails when a pattern matches nothing. Whether all needed files are there is checked afterwards.
  const complaints = unpacked!.stderr.split("\n").filter((line) => line !== "");
  const harmless = complaints.every((line) => /Not found in archive$|Exiting with failure status/.test(line));
  if (complaints.some((line) => line.includes("No space left"))) {
    throw new VmtapeError("disk-full", `no space left while unpacking ${file}`, { file: directory });
  }
  if (deb!.code !== 0 || (unpacked!.code !== 0 && !harmless)) {
    const why = lastLine(deb!.code !== 0 ? deb! : unpacked!);
    throw new VmtapeError("bad-file", `${file} could not be unpacked: ${why}`, { file });
  }
}

async function checkHash(file: string, record: PackageRecord): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  const got = hash.digest("hex");
  if (got === record.sha256) return;
  throw new VmtapeError("bad-file", `the download of ${record.name} is damaged`, {
    file,
    expected: record.sha256,
    got,
  });
}

const watchPeriodMs = 250;

function watchDownload(
  directory: string,
  record: PackageRecord,
  progress: ProgressSink | undefined,
): NodeJS.Timeout | undefined {
  if (!progress) return undefined;
  const look = async () => {
    const sizes = (await namesIn(directory)).map((name) =>
      stat(join(directory, name)).then((facts) => facts.size),
    );
    const done = (await Promise.all(sizes.map((size) => size.catch(() => 0)))).reduce(
      (sum, size) => sum + size,
      0,
    );
    progress({ doing: `downloading ${record.name}`, done, total: record.size, unit: "bytes" });
  };
  const timer = setInterval(() => void look(), watchPeriodMs);
  timer.unref();
  return timer;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return [];
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
