import { createHash } from "node:crypto";
import { throwIfAborted } from "../base/stopping.js";
import type { Icount } from "../base/units.js";
import type { Qmp } from "./qmp.js";
import { GuestRam } from "./ram.js";

/**
 * Hashes of the machine's state at an instant. Two runs whose hashes are equal at an instant are in the same state
 * there.
 */
export interface StateHash {
  readonly icount: Icount;
  /** SHA-256 of {@link registersText}. */
  readonly registers: string;
  /** SHA-256 of all bytes of guest RAM, in address order. */
  readonly memory: string;
}

/**
 * Hashes registers and memory of a stopped machine. Cost: about 0.6 s a GB of guest RAM.
 *
 * @throws `qemu-failed` when QEMU goes away meanwhile
 */
export async function hashState(qmp: Qmp, pid: number): Promise<StateHash> {
  const { icount } = await qmp.replayStatus();
  const registers = registersHash(await registersText(qmp));
  return { icount: icount as Icount, registers, memory: await hashRam(pid) };
}

/** SHA-256 of what `info registers` prints. */
export function registersHash(text: string): string {
  return createHash("sha256").update(plain(text)).digest("hex");
}

/** QEMU's `info registers`: general, segment, control, debug, FPU and SSE registers. */
export async function registersText(qmp: Qmp): Promise<string> {
  return plain(await qmp.human("info registers"));
}

const plain = (text: string) => text.replaceAll("\r", "").trim();

/**
 * SHA-256 of all bytes of a QEMU's guest RAM, in address order. The machine must be stopped, or held by the guard.
 * Cost: about 0.6 s a GB.
 *
 * @throws `qemu-failed` when QEMU goes away meanwhile; `cancelled`, checked every 4 MiB
 */
export async function hashRam(pid: number, signal?: AbortSignal): Promise<string> {
  await using ram = await GuestRam.open(pid);
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(4 << 20);
  for (let position = 0; ; ) {
    const length = await ram.read(block, position);
    throwIfAborted(signal);
    if (length === 0) return hash.digest("hex");
    hash.update(block.subarray(0, length));
    position += length;
  }
}
