import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { Scope } from "../../base/scope.js";
import { throwIfAborted, whenAborted } from "../../base/stopping.js";
import { withSyncFile } from "../../base/sync-source.js";
import { findProgram } from "../../base/tool.js";
import { gdbScript, type ScriptFile } from "../../gdb/gdb-script.js";
import type { MonitorDesk } from "../../gdb/monitor-desk.js";
import { encodeOrcFrames } from "../../gdb/orc-frames.js";
import { GdbServer } from "../../gdb/server.js";
import { encodeSymbolFile } from "../../gdb/symbol-file.js";
import type { OpenTape } from "../../moment/open-tape.js";
import type { ElfFile } from "../../symbols/elf/elf.js";
import { programType } from "../../symbols/elf/layout.js";
import { imageBytes, openKernelImage } from "../../symbols/kernel/image.js";
import { readOrcImage } from "../../symbols/kernel/orc-image.js";
import type { SymbolSource } from "../../symbols/names/symbols.js";
import { makeRuntimeDirectory, type Places } from "../../tape/home.js";
import type { Tape } from "../../tape/tape.js";
import { note } from "../shell/output.js";
import { type CommandContext, leaveInterrupts } from "../shell/run.js";

export interface GdbRun {
  readonly open: OpenTape;
  readonly places: Places;
  readonly desk: MonitorDesk;
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * Runs gdb on a tape until it ends; vmtape's exit code is then gdb's. It leaves nothing but a file of symbols in the
 * cache.
 */
export async function runGdb({ signal }: CommandContext, run: GdbRun): Promise<void> {
  const program = await findProgram(run.program);
  if (program === undefined) {
    throw new VmtapeError("missing-tool", `${run.program} is not installed`, { mend: "apt-get install gdb" });
  }
  await using scope = new Scope();
  const directory = await mkdtemp(join(await makeRuntimeDirectory(run.places), "gdb-"));
  scope.defer(() => rm(directory, { recursive: true, force: true }));
  const { open, desk } = run;
  const server = scope.own(
    await GdbServer.listen(
      { kind: "unix", path: join(directory, "socket") },
      { target: open.timeline, desk, onRefusedWrite: note },
    ),
  );
  const script = join(directory, "commands");
  const files = await symbolFiles(open);
  await writeFile(script, gdbScript({ attachTo: server.attachTo, files }));
  throwIfAborted(signal);
  using _interrupts = leaveInterrupts();
  const child = spawn(program, ["-x", script, ...run.args], { stdio: "inherit" });
  using _stopped = whenAborted(signal, () => child.kill("SIGTERM"));
  const { code, signal: killer } = await new Promise<{
    code: number | null;
    signal: NodeJS.Signals | null;
  }>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  process.exitCode = killer ? 128 + constants.signals[killer] : (code ?? 0);
}

/**
 * The files that gdb loads: those that the user named, then one with the names of the kernel and its modules and the
 * kernel's unwind tables.
 */
async function symbolFiles({ tape, symbols, cache }: OpenTape): Promise<ScriptFile[]> {
  const { sources } = symbols.symbols;
  const kernel = sources.find(({ name }) => name === "kernel");
  const slide = kernel?.bias ?? 0n;
  const named = tape.manifest.symbols.map((_, i) => {
    const path = tape.layout.symbolFile(i);
    return { path, bias: sources[i] && isKernel(sources[i]) ? slide : 0n };
  });
  const generated = sources.filter(({ name }) => name === "kernel" || name.startsWith("module "));
  if (generated.length === 0) return named;
  const tables = generated.map(({ table, bias = 0n }) => ({ table, bias }));
  const bytes = withKernel(tape, (image) =>
    encodeSymbolFile(tables, {
      frames: image && kernelFrames(image, slide),
      code: image && ((address, length) => imageCode(image, BigInt.asUintN(64, address - slide), length)),
    }),
  );
  const path = join(cache, "gdb-symbols.elf");
  await mkdir(cache, { recursive: true });
  // Renamed into place, since another gdb may have the old file open.
  await writeFile(`${path}.${process.pid}`, bytes);
  await rename(`${path}.${process.pid}`, path);
  return [...named, { path, bias: 0n }];
}

/** Is it a kernel's file? Its addresses are in the upper half, which are negative keys. */
function isKernel({ table }: SymbolSource): boolean {
  return table.starts.length > 0 && table.starts[table.starts.length >> 1]! < 0;
}

/** Calls `use` with the kernel's image; with undefined when it cannot be read. */
function withKernel<T>(tape: Tape, use: (image: ElfFile | undefined) => T): T {
  return withSyncFile(tape.layout.kernel, (source) => {
    let image: ElfFile | undefined;
    try {
      image = openKernelImage(source, { whole: true }).elf;
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
    }
    return use(image);
  });
}

/** The kernel's ORC tables as call frame information; undefined when it has none that can be read. */
function kernelFrames(image: ElfFile, slide: bigint): Uint8Array | undefined {
  try {
    const orc = readOrcImage(image);
    return orc && encodeOrcFrames(orc, slide);
  } catch (error) {
    if (isVmtapeError(error)) return undefined;
    throw error;
  }
}

/** Up to `length` bytes of the image at an address. */
function imageCode(image: ElfFile, address: bigint, length: number): Uint8Array | undefined {
  const segment = image.segments.find(
    (one) =>
      one.type === programType.load && address >= one.address && address - one.address < BigInt(one.fileSize),
  );
  if (!segment) return undefined;
  const left = segment.fileSize - Number(address - segment.address);
  return imageBytes(image, address, Math.min(left, length));
}
