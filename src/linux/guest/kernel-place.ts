import { join } from "node:path";
import type { PhysicalMemory } from "../../base/guest-memory.js";
import { noLinks, readRegular } from "../../base/regular-file.js";
import { replaceFile } from "../../base/replace-file.js";
import { contextOf, type RunContext } from "../../base/run-context.js";
import { hex, type Icount, icount } from "../../base/units.js";
import { GuestRam } from "../../qemu/ram.js";
import { isLostCheckpoint, listCheckpoints } from "../../replay/session/checkpoint.js";
import { Session, type SessionOptions } from "../../replay/session/session.js";
import { guardFor } from "../../replay/session/tape-cache.js";
import { type KernelPlacement, placementFromPhysicalMemory } from "../../symbols/kernel/kaslr.js";
import type { KernelSymbols } from "../../symbols/kernel/symbols.js";
import { addressOfKey } from "../../symbols/tables/address.js";
import type { Tape } from "../../tape/tape.js";
import { type WalkedMemory, walkedMemory } from "./page-tables.js";
import { physicalMemory } from "./physical-memory.js";

/** Where KASLR put a tape's kernel, as `symbols/kernel/kaslr.ts` finds it in memory. */
const fileName = "kernel-place.json";
/** Link address of the kernel's mapping: Linux, Documentation/arch/x86/x86_64/mm.rst. */
const kernelMap = 0xffffffff80000000n;
/** The kernel is in its place after this share of a boot, or this, or … */
const shares = [16, 8, 5, 3, 2, 1.25, 1] as const;

export interface KernelPlaceOptions extends RunContext {
  /** The tape's cache (`tapeCache`). */
  readonly cache: string;
}

/**
 * Finds where a tape's kernel lies: from the cache, or else by replaying until the kernel is in memory, once for a
 * tape.
 *
 * @returns undefined when it never gets there: not a Linux that unpacked itself
 */
export async function kernelPlace(
  tape: Tape,
  kernel: KernelSymbols,
  options: KernelPlaceOptions,
): Promise<KernelPlacement | undefined> {
  const known = await readPlace(options.cache);
  if (known) return known;
  const place = await findPlace(tape, kernel, options);
  if (place) await writePlace(options.cache, place);
  return place;
}

/** Looks in a paused session, and remembers what it finds. */
export async function learnPlace(
  session: Session,
  kernel: KernelSymbols,
  cache: string,
): Promise<KernelPlacement | undefined> {
  const known = await readPlace(cache);
  if (known) return known;
  const place = await look(session, kernel);
  if (place) await writePlace(cache, place);
  return place;
}

/** Was it found before? */
export async function isPlaceKnown(cache: string): Promise<boolean> {
  return (await readPlace(cache)) !== undefined;
}

/** Where it was found before; undefined when nobody has looked yet. */
export function knownPlace(cache: string): Promise<KernelPlacement | undefined> {
  return readPlace(cache);
}

async function findPlace(tape: Tape, kernel: KernelSymbols, options: KernelPlaceOptions) {
  const { cache, signal } = options;
  await using session = await startLate(tape, cache, {
    ...contextOf(options),
    ...(await guardFor(tape, cache)),
  });
  const started = await session.position();
  for (const at of [started, ...instants(tape, started)]) {
    await session.runTo(at, signal);
    const place = await look(session, kernel);
    if (place) return place;
  }
  return undefined;
}

/** A session from the last checkpoint there is, or from the beginning. */
async function startLate(tape: Tape, cache: string, options: SessionOptions): Promise<Session> {
  const { signal } = options;
  const plain = await Session.create(tape, options);
  for (const from of (await listCheckpoints(cache, plain.build)).reverse()) {
    const session = await Session.create(tape, { ...options, from, trusted: true });
    try {
      await session.start(undefined, signal);
      return session;
    } catch (error) {
      await session.destroy();
      if (!isLostCheckpoint(error)) throw error;
    }
  }
  await plain.start(undefined, signal);
  return plain;
}

function instants(tape: Tape, after: Icount): Icount[] {
  const end = Number(tape.end.at);
  return shares.map((share) => icount(Math.floor(end / share))).filter((at) => at > after);
}

async function look(session: Session, kernel: KernelSymbols): Promise<KernelPlacement | undefined> {
  await using ram = await GuestRam.open(session.pid!);
  const physical = physicalMemory(ram);
  const place = await placementFromPhysicalMemory(physical, kernel);
  return place && (await kernelMemory(physical, kernel, place)) ? place : undefined;
}

/** A running kernel's own view of memory. */
export interface KernelMemory extends WalkedMemory {
  /** Levels of page tables in use: 5 with CR4.LA57. */
  readonly levels: 4 | 5;
}

/**
 * Virtual memory through the kernel's own page table, which maps all of its memory at any instant.
 *
 * @returns undefined when the kernel is not there: while it unpacks itself its bytes are in memory already, but not
 *   yet moved; its page table tells
 */
export async function kernelMemory(
  physical: PhysicalMemory,
  kernel: KernelSymbols,
  place: KernelPlacement,
): Promise<KernelMemory | undefined> {
  const index = kernel.table.names.findLinked("init_top_pgt");
  const banner = kernel.evidence[0];
  if (index === undefined || !banner) return undefined;
  const root = addressOfKey(kernel.table.starts[index]!) - kernelMap + place.physicalOffset;
  for (const levels of [4, 5] as const) {
    const memory = walkedMemory(physical, root, levels);
    const bytes = await memory.read(banner.address + place.slide, banner.bytes.length);
    if (bytes && Buffer.compare(bytes, banner.bytes) === 0) return { ...memory, levels };
  }
  return undefined;
}

async function readPlace(cache: string): Promise<KernelPlacement | undefined> {
  try {
    const { slide, physicalOffset } = JSON.parse(
      (await readRegular(join(cache, fileName), noLinks)).toString("utf8"),
    );
    return { slide: BigInt(slide), physicalOffset: BigInt(physicalOffset) };
  } catch {
    return undefined; // not there, or not ours: it is found again
  }
}

async function writePlace(cache: string, { slide, physicalOffset }: KernelPlacement): Promise<void> {
  const text = JSON.stringify({ slide: hex(slide), physicalOffset: hex(physicalOffset) });
  await replaceFile(join(cache, fileName), `${text}\n`).catch(() => {}); // a full disk costs only time
}
