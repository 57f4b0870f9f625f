/** A distribution as a guest: a Debian with systemd on a disk image, its own kernel and initrd, ready to be recorded. */
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileError, VmtapeError } from "../base/errors.js";
import type { ProgressSink } from "../base/progress.js";
import { readRegular } from "../base/regular-file.js";
import { findProgram } from "../base/tool.js";
import { type Addition, readAdditions } from "./addition.js";
import { type CommandResult, runCommand } from "./command.js";
import { additionsArchive } from "./image-additions.js";
import {
  type BootstrapTool,
  bootstrapTools,
  rootlessPackages,
  rootlessSteps,
  rootSteps,
  type Step,
} from "./image-bootstrap.js";
import { rootDisk, rootlessDisk } from "./image-disk.js";
import { imageAppend, imageLogin, imageMemoryMB } from "./image-setup.js";
import { imageSources } from "./image-sources.js";
import { type ImagePlace, type ImageSpec, imageDirectory, imageSpec } from "./image-spec.js";
import { withTemporary, writeWhole } from "./storage.js";

export interface ImageOptions {
  /** Where images without a directory of their own go; made when missing. */
  readonly cacheDir: string;
  readonly place: ImagePlace;
  readonly suite: string;
  /** The kernel's package; default `linux-image-amd64`. */
  readonly package?: string | undefined;
  /** More packages; each word may be several with commas between. */
  readonly include?: readonly string[] | undefined;
  readonly additions?: readonly Addition[] | undefined;
  /** The archive to take packages from. Default: the one that this machine's apt uses. */
  readonly mirror?: string | undefined;
  /** True: make it anew from the packages that the archive has now, even if one was made from the same options. */
  readonly update?: boolean | undefined;
  readonly progress?: ProgressSink | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A distribution image and how it is booted. Paths are absolute. */
export interface ImageGuest {
  readonly kernel: string;
  readonly initrd: string;
  /** A qcow2 image: `/dev/vda`. */
  readonly disk: string;
  readonly append: string;
  readonly memoryMB: number;
  readonly network: "user";
  readonly suite: string;
  /** The kernel's release. */
  readonly version: string;
  /** Who may log in on the console. */
  readonly login: string;
  readonly diskBytes: number;
  /** The program that made it. */
  readonly tool: BootstrapTool;
  /** Packages in it, and their versions. */
  readonly packages: Readonly<Record<string, string>>;
  readonly directory: string;
}

type ImageFile = Omit<ImageGuest, "kernel" | "initrd" | "disk" | "directory"> & {
  readonly key: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
  readonly sizes: Readonly<Record<"kernel" | "initrd" | "disk", number>>;
};

/** A part of an image's key. Raise it when a change of the code makes another system from the same inputs. */
const generation = 1;
const factsName = "image.json";
const diskName = "disk.qcow2";
const rawName = "disk.raw";
const archiveName = "root.tar";
/** Files that steps write, one after the other. */
const outputs = [archiveName, rawName, diskName] as const;
/**
 * Free space needed to make an image: for a stock system's files, its raw image, the packed one, and downloaded
 * packages.
 */
const neededBytes = 3 * 2 ** 30;

/**
 * Makes an image, or finds one that was made from the same options; it stays the same until `update`. Making takes
 * one to three minutes, some 300 MB from the mirror, and 3 GB of temporary space beside the image. Nothing is mounted
 * on the host, and no loop device is used. Users who are not root need mmdebstrap, uidmap and fakeroot.
 *
 * @throws VmtapeError `usage`, `missing-tool` with what to install, `bad-guest` when the suite or a package cannot be
 *   had, `disk-full`, `not-writable`, `cancelled`. Nothing half-made is left behind.
 */
export async function makeImage(options: ImageOptions): Promise<ImageGuest> {
  const { signal, place } = options;
  const spec = imageSpec({ ...options, diskBytes: place.diskBytes });
  const additions = await readAdditions(options.additions ?? [], signal);
  const digest = (data: Uint8Array | string) => createHash("sha256").update(data).digest("hex");
  const key = digest(
    JSON.stringify({
      generation,
      spec,
      mirror: options.mirror ?? null,
      additions: additions.map((entry) =>
        entry.type === "file" ? { ...entry, data: digest(entry.data) } : entry,
      ),
    }),
  );
  const directory = imageDirectory(place, options.cacheDir, key, spec.suite);
  const known = await openImage(directory);
  if (known?.facts.key === key && !options.update) return known.image;

  const sources = await imageSources(spec.suite, options.mirror, signal);
  const tools = await findTools();
  await makeRoom(directory);
  return withTemporary(directory, async (work) => {
    const root = join(work, "root");
    const places = {
      root,
      archive: join(work, archiveName),
      raw: join(work, rawName),
      qcow2: join(work, diskName),
    };
    await mkdir(root);
    const archive = await additionsArchive(additions, work, signal);
    const all = { ...places, additions: archive };
    const steps = tools.asRoot
      ? [...rootSteps(tools.tool, spec, sources, all, tools.canIsolate), ...rootDisk(spec, all, tools.mke2fs)]
      : [...rootlessSteps(spec, sources, all), ...rootlessDisk(spec, all.archive, all, tools.mke2fs)];
    for (const step of steps) await runStep(step, work, options);
    const kernel = await kernelOf(root, spec);
    const boot = join(root, "boot");
    for (const name of [kernel.image, kernel.initrd]) await copyFile(join(boot, name), join(work, name));
    await chmod(join(work, kernel.image), 0o644);
    const size = async (name: string) => (await stat(join(work, name))).size;
    const facts: ImageFile = {
      key,
      kernel: kernel.image,
      initrd: kernel.initrd,
      disk: diskName,
      append: imageAppend,
      memoryMB: imageMemoryMB,
      network: "user",
      suite: spec.suite,
      version: kernel.release,
      login: imageLogin,
      diskBytes: spec.diskBytes,
      tool: tools.tool,
      packages: await packagesOf(root),
      sizes: {
        kernel: await size(kernel.image),
        initrd: await size(kernel.initrd),
        disk: await size(diskName),
      },
    };
    await writeWhole(join(work, factsName), `${JSON.stringify(facts, undefined, 2)}\n`);
    const made = [facts.kernel, facts.initrd, facts.disk, factsName];
    if (known) {
      for (const name of [known.facts.kernel, known.facts.initrd]) {
        if (!made.includes(name)) await rm(join(directory, name), { force: true });
      }
    }
    for (const name of made) await rename(join(work, name), join(directory, name));
    return imageAt(directory, facts);
  });
}

/** The words of the `vmtape record` command that records an image. */
export function recordWords(image: ImageGuest, name = "NAME"): string[] {
  return [
    ...["vmtape", "record", name, "--kernel", image.kernel, "-R", image.initrd, "-L", image.disk],
    ...["--append", image.append, "-M", String(image.memoryMB), "--net", image.network, "-c"],
  ];
}

async function openImage(directory: string): Promise<{ image: ImageGuest; facts: ImageFile } | undefined> {
  try {
    const facts = JSON.parse(String(await readRegular(join(directory, factsName)))) as ImageFile;
    const image = imageAt(directory, facts);
    for (const part of ["kernel", "initrd", "disk"] as const) {
      if ((await stat(image[part])).size !== facts.sizes[part]) return undefined;
    }
    return { image, facts };
  } catch {
    return undefined; // not there, or damaged: it is made anew
  }
}

function imageAt(directory: string, facts: ImageFile): ImageGuest {
  const { key: _key, sizes: _sizes, kernel, initrd, disk, ...rest } = facts;
  const at = (name: string) => join(directory, name);
  return { kernel: at(kernel), initrd: at(initrd), disk: at(disk), ...rest, directory };
}

/** The programs on this host that make images. */
interface ImageTools {
  readonly tool: BootstrapTool;
  readonly mke2fs: string;
  readonly asRoot: boolean;
  /** Can a mount namespace be made? */
  readonly canIsolate: boolean;
}

/** The search path with the directories of system programs added, which Debian has only in root's path. */
export function systemPath(from = process.env.PATH ?? ""): string {
  return `${from}:/usr/sbin:/usr/bin:/sbin:/bin`;
}

async function findTools(): Promise<ImageTools> {
  const path = systemPath();
  const asRoot = process.getuid?.() === 0;
  const found: BootstrapTool[] = [];
  for (const tool of bootstrapTools) if (await findProgram(tool, path)) found.push(tool);
  const tool = asRoot ? found[0] : found.find((one) => one === "mmdebstrap");
  if (!tool) {
    const missing = asRoot
      ? "neither mmdebstrap nor debootstrap is installed"
      : "mmdebstrap is not installed";
    throw missingTools(
      `a distribution image cannot be made: ${missing}`,
      asRoot ? ["mmdebstrap"] : rootlessPackages,
    );
  }
  const mke2fs = await findProgram("mke2fs", path);
  if (!mke2fs) throw missingTools("mke2fs is not installed, which writes the disk", ["e2fsprogs"]);
  if (asRoot) {
    const isolated = await runCommand("unshare", ["--mount", "--", "true"]).catch(() => undefined);
    return { tool, mke2fs, asRoot, canIsolate: isolated?.code === 0 };
  }
  for (const program of ["newuidmap", "fakeroot"]) {
    if (await findProgram(program, path)) continue;
    throw missingTools(
      `${program} is not installed: without it only root can make an image`,
      rootlessPackages,
    );
  }
  return { tool, mke2fs, asRoot, canIsolate: false };
}

function missingTools(message: string, packages: readonly string[]): VmtapeError {
  const sudo = process.getuid?.() === 0 ? "" : "sudo ";
  return new VmtapeError("missing-tool", message, { mend: `${sudo}apt-get install ${packages.join(" ")}` });
}

async function makeRoom(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true });
    const { bavail, bsize } = await statfs(directory);
    if (bavail * bsize < neededBytes) {
      throw new VmtapeError("disk-full", `less than 3 GB are free in ${directory}`, { file: directory });
    }
  } catch (error) {
    throw fileError(error, directory, "writing");
  }
}

const watchPeriodMs = 3000;

/** Runs one step. Its progress is measured by the size of the files that it has written so far. */
async function runStep(step: Step, work: string, { progress, signal }: ImageOptions): Promise<void> {
  const look = async () => {
    const bytes = await Promise.all(
      outputs.map((name) =>
        stat(join(work, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    const written = Math.max(...bytes);
    if (written > 0) return progress?.({ doing: step.doing, done: written, unit: "bytes" });
    const files = await readdir(join(work, "root"), { recursive: true }).catch(() => []);
    progress?.({ doing: step.doing, done: files.length, unit: "files" });
  };
  const watch = progress && setInterval(() => void look(), watchPeriodMs);
  try {
    const [program, ...args] = step.command;
    const result = await runCommand(program, args, { signal, cwd: resolve(work), path: systemPath() });
    if (result.code !== 0) throw stepError(step, result, work);
  } finally {
    clearInterval(watch);
  }
}

function stepError({ doing, command }: Step, result: CommandResult, work: string): VmtapeError {
  const lines = `${result.stderr}\n${result.stdout}`.split("\n").filter((line) => line.trim() !== "");
  if (lines.some((line) => /No space left|not have enough free space|Could not allocate block/.test(line))) {
    return new VmtapeError("disk-full", `no space left while ${doing}`, { file: work });
  }
  // apt and other tools mark their errors by a prefix. The first error is the cause; the last only says that
  // something failed.
  const causes = lines.filter((line) => /^(E|dpkg|mke2fs|tar|unshare)[: ]/.test(line.trim()));
  const why = (causes[0] ?? lines.at(-1) ?? `exit code ${result.code}`).trim().replace(/^E: /, "");
  return new VmtapeError("bad-guest", `${doing} failed: ${why}`, {
    tool: command[0],
    output: lines.slice(-40),
    mend: "are --suite, --include and --mirror right?",
  });
}

interface RootKernel {
  readonly release: string;
  /** Names in `/boot`. */
  readonly image: string;
  readonly initrd: string;
}

/** The newest kernel in a root directory that has an initrd. */
async function kernelOf(root: string, spec: ImageSpec): Promise<RootKernel> {
  const names = await readdir(join(root, "boot"));
  const releases = names
    .filter((name) => name.startsWith("vmlinuz-"))
    .map((name) => name.slice("vmlinuz-".length))
    .filter((release) => names.includes(`initrd.img-${release}`))
    .sort(new Intl.Collator("en", { numeric: true }).compare);
  const release = releases.at(-1);
  if (release !== undefined) {
    return { release, image: `vmlinuz-${release}`, initrd: `initrd.img-${release}` };
  }
  throw new VmtapeError("bad-guest", `${spec.kernelPackage} put no kernel with an initrd into the image`, {
    package: spec.kernelPackage,
    mend: "name another one: --package linux-image-amd64",
  });
}

/** Names and versions from dpkg's own list. */
async function packagesOf(root: string): Promise<Record<string, string>> {
  const status = await readFile(join(root, "var/lib/dpkg/status"), "utf8").catch(() => "");
  const packages: [string, string][] = [];
  for (const stanza of status.split("\n\n")) {
    const name = /^Package: (.*)$/m.exec(stanza)?.[1];
    const version = /^Version: (.*)$/m.exec(stanza)?.[1];
    if (name && version && /^Status: \S+ \S+ installed$/m.test(stanza)) packages.push([name, version]);
  }
  return Object.fromEntries(packages.sort(([a], [b]) => (a < b ? -1 : 1)));
}
