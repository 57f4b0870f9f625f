import { lstat, mkdir, readdir, rm, rmdir, stat, statfs } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { Scope } from "../base/scope.js";
import { runTool } from "../base/tool.js";
import { hex } from "../base/units.js";
import { type Manifest, manifestVersion, type StoredFile } from "../formats/manifest.js";
import { installQemu } from "../qemu/build.js";
import { findFirmware } from "../qemu/firmware.js";
import { type Places, tapeDirectory } from "./home.js";
import { TapeLayout } from "./layout.js";
import { FileLock } from "./lock.js";
import {
  checkKernel,
  type DiskChoice,
  inspectDisk,
  type RecordOptions,
  type SymbolChoice,
} from "./record-options.js";
import { describeFile, storeFile } from "./store.js";
import { destroyTape, newTapeId, writeManifest } from "./tape.js";

/** The free disk space in bytes that a recording needs to begin. It ends when less than a quarter of that is left. */
export const neededSpace = 16 << 20;

/** A tape that is ready to be recorded into: locked, its inputs copied, its manifest written. */
export interface PreparedTape {
  readonly layout: TapeLayout;
  readonly manifest: Manifest;
  readonly lock: FileLock;
  /** Its disposal ends the lock. */
  readonly scope: Scope;
  /** Removes the whole tape while the lock is held, for a recording that never began. */
  discard(): Promise<void>;
}

/**
 * Makes the directory of a new tape and fills it. On any error nothing of it is left.
 *
 * @param options.force destroy a tape of that name first, if there is one
 * @throws `tape-exists`, `tape-busy`, `bad-file`, `bad-guest`, `disk-full`, `not-writable`, `cancelled`
 */
export async function prepareTape(
  places: Places,
  options: RecordOptions,
  signal?: AbortSignal,
): Promise<PreparedTape> {
  const directory = tapeDirectory(places, options.name, options.directory);
  await checkInputs(options, directory);
  await makeDirectory(directory, options);
  await using scope = new Scope();
  const layout = new TapeLayout(directory);
  const lock = scope.own(await FileLock.take(layout.lock, `tape '${options.name}' is being recorded`));
  const discard = async () => {
    for (const path of layout.everything()) await rm(path, { recursive: true, force: true });
    await rm(layout.lock, { force: true });
    await rmdir(directory).catch(() => {}); // not empty: it has other files
  };
  try {
    const manifest = await fill(layout, options, signal);
    await writeManifest(layout, manifest);
    return { layout, manifest, lock, scope: scope.move(), discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** Checks all inputs that can be refused before anything is made. */
async function checkInputs(options: RecordOptions, directory: string): Promise<void> {
  const kind = await checkKernel(options.kernel);
  if (options.initrd !== undefined) await requireFile(options.initrd, "initrd");
  if (options.initrd !== undefined && kind === "multiboot" && /[ ,]/.test(directory)) {
    // QEMU reads a Multiboot kernel's -initrd as a list of modules with arguments.
    throw new VmtapeError(
      "unsupported",
      `a Multiboot kernel with an initrd cannot be recorded in ${directory}: its path has a space or a comma`,
      { file: directory },
    );
  }
  for (const disk of options.disks) await inspectDisk(disk);
  for (const symbols of options.symbols) await requireFile(symbols.path, "symbol file");
}

async function requireFile(path: string, what: string): Promise<void> {
  const facts = await stat(path).catch((error) => {
    throw fileError(error, path, "reading");
  });
  if (facts.isDirectory())
    throw new VmtapeError("bad-file", `${what} ${path} is a directory`, { file: path });
  if (!facts.isFile())
    throw new VmtapeError("bad-file", `${what} ${path} is not a regular file`, { file: path });
  if (facts.size === 0) throw new VmtapeError("bad-file", `${what} ${path} is empty`, { file: path });
}

async function makeDirectory(directory: string, options: RecordOptions): Promise<void> {
  if (options.force) await replaceExisting(directory, options.name);
  try {
    await mkdir(dirname(directory), { recursive: true });
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw fileError(error, directory, "making");
    if (options.directory !== undefined && (await isEmptyDirectory(directory))) return;
    throw await existing(directory, options.name);
  }
}

async function existing(directory: string, name: string): Promise<VmtapeError> {
  const layout = new TapeLayout(directory);
  if (await FileLock.isHeld(layout.lock)) {
    return new VmtapeError("tape-busy", `tape '${name}' is being recorded`, { file: directory });
  }
  const isTape = (await exists(layout.manifest)) || (await exists(layout.lock));
  return isTape
    ? new VmtapeError("tape-exists", `a tape '${name}' exists already`, { file: directory })
    : new VmtapeError("tape-exists", `${directory} exists and is no tape: it is left alone`, {
        file: directory,
      });
}

async function replaceExisting(directory: string, name: string): Promise<void> {
  if (!(await exists(directory)) || (await isEmptyDirectory(directory))) return;
  const layout = new TapeLayout(directory);
  if (!(await exists(layout.manifest)) && !(await exists(layout.lock))) throw await existing(directory, name);
  await destroyTape(directory, name);
}

async function fill(layout: TapeLayout, options: RecordOptions, signal?: AbortSignal): Promise<Manifest> {
  const { bavail, bsize } = await statfs(layout.directory);
  if (bavail * bsize < neededSpace) {
    throw new VmtapeError("disk-full", `no space left to record in ${layout.directory}`, {
      file: layout.directory,
    });
  }
  const kernel = await storeFile(options.kernel, layout.kernel, signal);
  const initrd =
    options.initrd === undefined ? undefined : await storeFile(options.initrd, layout.initrd, signal);
  const disks = await storeDisks(layout, options.disks, signal);
  const firmware = await storeFirmware(layout, options, signal);
  const symbols = await storeSymbols(layout, options.symbols, signal);
  const { version, fullVersion, path, sha256 } = options.qemu;
  return {
    format: "vmtape",
    version: manifestVersion,
    id: newTapeId(),
    created: new Date().toISOString(),
    machine: {
      arch: "x86_64",
      memoryMB: options.memoryMB,
      cpu: options.cpu,
      append: options.append,
      kernel,
      ...(initrd && { initrd }),
      disks,
      network: options.network.network,
      ...(options.network.network !== "none" && { networkSends: "at-once" as const }),
      firmware,
    },
    qemu: { version, fullVersion, path, sha256 },
    symbols,
    witnesses: [],
  };
}

async function storeDisks(layout: TapeLayout, choices: readonly DiskChoice[], signal?: AbortSignal) {
  const disks: { format: "raw" | "qcow2"; base: StoredFile }[] = [];
  if (choices.length > 0) await mkdir(layout.disks);
  for (const [i, choice] of choices.entries()) {
    const { format, needsFlattening } = await inspectDisk(choice);
    const base = needsFlattening
      ? await flatten(choice.path, layout.diskBase(i), signal)
      : await storeFile(choice.path, layout.diskBase(i), signal);
    disks.push({ format, base });
    // The name of the backing file is relative to the overlay, so that a tape can be moved.
    await qemuImg(
      [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        format,
        "-b",
        basename(layout.diskBase(i)),
        layout.diskOverlay(i),
      ],
      signal,
    );
  }
  return disks;
}

/** Copies a qcow2 image that needs other files into one that stands alone. */
async function flatten(source: string, target: string, signal?: AbortSignal): Promise<StoredFile> {
  await qemuImg(["convert", "-f", "qcow2", "-O", "qcow2", source, target], signal);
  return describeFile(target, signal);
}

async function qemuImg(args: readonly string[], signal?: AbortSignal): Promise<void> {
  await runTool("qemu-img", args, { mend: installQemu, signal });
}

async function storeFirmware(layout: TapeLayout, options: RecordOptions, signal?: AbortSignal) {
  await mkdir(layout.firmware);
  const stored = [];
  for (const { name, path } of await findFirmware(options.qemu)) {
    stored.push({ name, ...(await storeFile(path, layout.firmwareFile(name), signal)) });
  }
  return stored;
}

async function storeSymbols(layout: TapeLayout, choices: readonly SymbolChoice[], signal?: AbortSignal) {
  if (choices.length > 0) await mkdir(layout.symbols);
  const stored = [];
  for (const [i, { path, prefix, range }] of choices.entries()) {
    stored.push({
      ...(await storeFile(path, layout.symbolFile(i), signal)),
      label: basename(path)
        .replace(/[^ -~]/g, "?")
        .slice(0, 255),
      ...(prefix !== undefined && { prefix }),
      ...(range && { range: `${hex(range.low)}-${hex(range.high)}` }),
    });
  }
  return stored;
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function isEmptyDirectory(path: string): Promise<boolean> {
  return readdir(path).then(
    (entries) => entries.length === 0,
    () => false,
  );
}
