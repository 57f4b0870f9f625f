import { totalmem } from "node:os";
import { openFileSource } from "../../base/byte-source.js";
import { VmtapeError } from "../../base/errors.js";
import { noLinks } from "../../base/regular-file.js";
import { decodeQcow2Head, isQcow2, qcow2HeadBytes } from "../../formats/qcow2.js";
import { dialectFor } from "../../formats/replay-log-dialect.js";
import { summarizeLog } from "../../formats/replay-log-summary.js";
import { checkStored, readHead } from "../../tape/store.js";
import type { Tape } from "../../tape/tape.js";

/**
 * Checks everything a replay reads from the tape against the manifest's hashes, and the log's structure: QEMU
 * believes every length in it. Cost: one read of all files, about 1.5 GB/s, and of the log, about 50 MB/s.
 *
 * @throws `changed`, `bad-file` (missing), `tape-unfinished`, `tape-busy`, `unsupported` (this host's memory)
 */
export async function checkTape(tape: Tape, signal?: AbortSignal): Promise<void> {
  tape.requireComplete();
  await checkStored(tape.layout.log, tape.end.log, signal);
  await checkLog(tape, signal);
  await checkMachine(tape, signal);
}

/**
 * Is the log whole, and as long as its manifest says?
 *
 * @throws `bad-log` with the position of the fault
 */
export async function checkLog(tape: Tape, signal?: AbortSignal): Promise<void> {
  const { layout, manifest, end } = tape;
  await using source = await openFileSource(layout.log, noLinks);
  const { state, ending, shutdown } = await summarizeLog(source, dialectFor(manifest.qemu.version), {
    signal,
  });
  if (ending.fault) throw ending.fault;
  if (state === "whole" && shutdown?.icount === end.at) return;
  throw new VmtapeError("bad-log", `${layout.log} does not end at the icount its tape says`, {
    file: layout.log,
    expected: `a shutdown at icount ${end.at}`,
    got: shutdown ? `a shutdown at icount ${shutdown.icount}` : "no shutdown",
    icount: shutdown?.icount,
  });
}

/** The part of {@link checkTape} that concerns the machine, not the log. */
export async function checkMachine(tape: Tape, signal?: AbortSignal): Promise<void> {
  const { layout, manifest } = tape;
  const { machine } = manifest;
  const hostMB = Math.floor(totalmem() / 2 ** 20);
  if (machine.memoryMB > hostMB) {
    throw new VmtapeError(
      "unsupported",
      `the tape's machine has ${machine.memoryMB} MB, more than this host (${hostMB} MB)`,
    );
  }
  await checkStored(layout.kernel, machine.kernel, signal);
  if (machine.initrd) await checkStored(layout.initrd, machine.initrd, signal);
  for (const firmware of machine.firmware)
    await checkStored(layout.firmwareFile(firmware.name), firmware, signal);
  for (const [i, disk] of machine.disks.entries()) {
    await checkStored(layout.diskBase(i), disk.base, signal);
    if (disk.format === "qcow2") await requireStandAlone(layout.diskBase(i));
  }
}

/** A disk from a stranger must not make QEMU open other files. */
async function requireStandAlone(path: string): Promise<void> {
  const head = await readHead(path, qcow2HeadBytes, noLinks);
  if (!isQcow2(head)) throw new VmtapeError("bad-file", `${path} is no qcow2 image`, { file: path });
  const { hasBackingFile, hasExternalData } = decodeQcow2Head(head, path);
  if (hasBackingFile || hasExternalData) {
    throw new VmtapeError("bad-file", `${path} refers to files outside its tape`, { file: path });
  }
}
