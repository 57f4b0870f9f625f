import { totalmem } from "node:os";
import { VmtapeError } from "../base/errors.js";
import { hex } from "../base/units.js";
import { isKernel32, type KernelKind, kernelHeadBytes, kernelKind } from "../formats/kernel-file.js";
import { decodeQcow2Head, isQcow2, qcow2HeadBytes } from "../formats/qcow2.js";
import { inspectQemu, type QemuBuild } from "../qemu/build.js";
import type { NetworkChoice } from "../qemu/network.js";
import { readHead } from "./store.js";

/** A disk image that the user names. It is copied into the tape, and never written. */
export interface DiskChoice {
  readonly path: string;
  /** Default: detected by the image's first bytes. */
  readonly format?: "raw" | "qcow2";
}

/** A file with symbols that the user names. It is copied into the tape. */
export interface SymbolChoice {
  readonly path: string;
  readonly prefix?: string;
  /** The first and last address for which the file has symbols. */
  readonly range?: { readonly low: bigint; readonly high: bigint };
}

/** Everything that determines a recording. */
export interface RecordOptions {
  readonly name: string;
  /** The tape's directory; default: its name in the home. */
  readonly directory?: string;
  /** Replace a tape of this name, ending its recording if one runs. */
  readonly force?: boolean;
  readonly qemu: QemuBuild;
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  readonly memoryMB: number;
  readonly cpu: string;
  readonly disks: readonly DiskChoice[];
  readonly network: NetworkChoice;
  readonly symbols: readonly SymbolChoice[];
  /** Stop the recording after so many seconds. */
  readonly timeoutSeconds?: number;
  /**
   * The built guard (`guardOf`): with it, states are hashed while recording (witnesses), with which replays are
   * compared.
   */
  readonly guard?: string;
}

/**
 * Memory and processor of a recording for which the user names none. 256 MB are enough to boot a stock Debian kernel
 * with a small initramfs. Without RDRAND such a kernel gathers randomness from timing jitter, which takes up to a
 * billion instructions, a different number in each run.
 */
export const recordDefaults = { memoryMB: 256, cpu: "qemu64,+rdrand" } as const;

/** From QEMU 8.0 on, target/i386/tcg/translate.c computes the flags before `cmpxchg16b`. */
const firstWithWholeFlags = 8;

/**
 * The processor of a recording for which the user names none. Before QEMU 8.0 it has no `cmpxchg16b`:
 * `helper_cmpxchg16b_unlocked` takes the flags from what the previous block left there, so that a `pushf` after a
 * `cmp` of two pointers and a `cmpxchg16b` gives a part of a pointer (0x2345678b in place of 0x93). An interrupt
 * right after it saves these flags and restores them: now and then a stock kernel dies of a double fault. And since
 * blocks end elsewhere in a replay, other flags are saved there. Linux can do without the instruction.
 */
export function defaultCpu(qemuVersion: string): string {
  const major = Number(qemuVersion.split(".")[0]);
  return major < firstWithWholeFlags ? `${recordDefaults.cpu},-cx16` : recordDefaults.cpu;
}

/**
 * Options in which everything has its default: this host's QEMU, 256 MB, no disks, no network. Add at least a
 * `kernel`.
 *
 * @throws `missing-tool`, `wrong-qemu`
 */
export async function defaultRecordOptions(name: string): Promise<Omit<RecordOptions, "kernel">> {
  const network: NetworkChoice = { network: "none", hostForwards: [] };
  const qemu = await inspectQemu();
  const { memoryMB } = recordDefaults;
  return { name, qemu, append: "", memoryMB, cpu: defaultCpu(qemu.version), disks: [], network, symbols: [] };
}

/**
 * Reads a memory size in megabytes.
 *
 * @throws `usage` unless it is a whole number, at least 1 and no more than this host has
 */
export function parseMemoryMB(text: string): number {
  const memoryMB = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(memoryMB >= 1)) {
    throw new VmtapeError("usage", `memory '${text}' is not a whole number of megabytes, 1 or more`, {
      got: text,
    });
  }
  const hostMB = Math.floor(totalmem() / 2 ** 20);
  if (memoryMB > hostMB) {
    throw new VmtapeError("usage", `memory of ${memoryMB} MB is more than this host has (${hostMB} MB)`, {
      expected: `at most ${hostMB}`,
      got: text,
    });
  }
  return memoryMB;
}

/** Reads `IMAGE[,format=raw|qcow2]`. */
export function parseDisk(text: string): DiskChoice {
  const match = /^(.*?)(?:,format=([^,]*))?$/s.exec(text)!;
  const [, path = "", format] = match;
  if (format !== undefined && format !== "raw" && format !== "qcow2") {
    throw new VmtapeError("usage", `disk format '${format}' is not known: use raw or qcow2`, { got: format });
  }
  if (path === "") throw new VmtapeError("usage", "a disk needs the path of an image", { got: text });
  return { path, ...(format && { format }) };
}

/** Reads `FILE[,prefix=TEXT][,range=LOW-HIGH]`; addresses in hexadecimal (0x…) or decimal, both inclusive. */
export function parseSymbols(text: string): SymbolChoice {
  const [path = "", ...options] = text.split(",");
  const bad = (why: string) => new VmtapeError("usage", `symbols '${text}': ${why}`, { got: text });
  if (path === "") throw bad("the file's path is missing");
  let choice: SymbolChoice = { path };
  for (const option of options) {
    const [key, value = ""] = option.split(/=(.*)/s);
    if (key === "prefix" && value.length <= 64) choice = { ...choice, prefix: value };
    else if (key === "range") choice = { ...choice, range: parseRange(value, bad) };
    else throw bad(`'${option}' is neither prefix=TEXT nor range=LOW-HIGH`);
  }
  return choice;
}

function parseRange(text: string, bad: (why: string) => VmtapeError) {
  const match = /^(0x[0-9a-f]{1,16}|\d{1,20})-(0x[0-9a-f]{1,16}|\d{1,20})$/i.exec(text);
  if (!match) throw bad(`'${text}' is no range: write LOW-HIGH, for example 0x400000-0x4fffff`);
  const [low, high] = [BigInt(match[1]!), BigInt(match[2]!)];
  if (low > high) throw bad(`the range ${hex(low)}-${hex(high)} is upside down`);
  if (high >= 1n << 64n) throw bad(`${hex(high)} is no 64-bit address`);
  return { low, high };
}

/**
 * Finds out what kind of kernel a file is.
 *
 * @throws `bad-guest` when QEMU could not start it, and for a 32-bit Linux; `bad-file` when it cannot be read
 */
export async function checkKernel(path: string): Promise<KernelKind> {
  const head = await readHead(path, kernelHeadBytes);
  if (head.length === 0) throw new VmtapeError("bad-guest", `kernel ${path} is empty`, { file: path });
  const kind = kernelKind(head);
  if (!kind) {
    throw new VmtapeError(
      "bad-guest",
      `${path} is not a kernel: no Linux boot header, Multiboot header or ELF`,
      {
        file: path,
      },
    );
  }
  if (isKernel32(head)) {
    throw new VmtapeError("bad-guest", `${path} is a 32-bit Linux kernel; guests are 64-bit`, {
      file: path,
      expected: "x86_64",
      got: "i386",
      mend: "name a 64-bit kernel; Debian's are those whose release ends with amd64",
    });
  }
  return kind;
}

/** Is a file a Linux kernel (a bzImage), whose command line can name its console? */
export async function isLinux(path: string): Promise<boolean> {
  return kernelKind(await readHead(path, kernelHeadBytes)) === "linux";
}

/**
 * The format of a disk image. @throws `bad-guest` when it is empty, or a qcow2 image whose data are in another file
 */
export async function inspectDisk(
  disk: DiskChoice,
): Promise<{ format: "raw" | "qcow2"; needsFlattening: boolean }> {
  const head = await readHead(disk.path, qcow2HeadBytes);
  if (head.length === 0)
    throw new VmtapeError("bad-guest", `disk image ${disk.path} is empty`, { file: disk.path });
  const format = disk.format ?? (isQcow2(head) ? "qcow2" : "raw");
  if (format === "raw") return { format, needsFlattening: false };
  const { hasBackingFile, hasExternalData } = decodeQcow2Head(head, disk.path);
  return { format, needsFlattening: hasBackingFile || hasExternalData };
}
