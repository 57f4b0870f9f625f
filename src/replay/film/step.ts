import { type GuestAddress, guestAddress } from "../../base/units.js";
import { x86Registers } from "../../qemu/x86-registers.js";
import type { Position } from "../session/position.js";
import type { Film } from "./film.js";
import type { FilmMemory } from "./memory.js";
import { UnsureError } from "./memory.js";
import type { FilmAccess, FilmCode, WalkedRegisters } from "./model.js";

/** A register that a step changed. */
export interface RegisterChange {
  readonly name: string;
  /** As they lie in the `g` block: little-endian. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** An access of a step to memory, within one page. */
export interface MemoryTouch extends Omit<FilmAccess, "index" | "bytes"> {
  /** The bytes before it; undefined for a device, and when they are not known. */
  readonly before: Uint8Array | undefined;
  /** Of a write: the bytes after it. */
  readonly after: Uint8Array | undefined;
}

/** One step from an instant to the next: an instruction, or the delivery of an interrupt or exception. */
export interface Step {
  /** The instant before it. */
  readonly position: Position;
  /** The address that is next after it. */
  readonly next: GuestAddress;
  /**
   * `delivery`: an interrupt or exception was delivered. When it was delivered in place of the instruction, there is
   * no `code`.
   */
  readonly kind: "instruction" | "delivery";
  /** Did it make a branch record, because it did not go on to the next instruction? */
  readonly branches: boolean;
  /** The instruction, as it was executed. */
  readonly code: FilmCode | undefined;
  /** The registers that it changed, without the instruction pointer, in the order of the `g` block. */
  readonly registers: readonly RegisterChange[];
  readonly writes: readonly MemoryTouch[];
  /** Only when reads were asked for. */
  readonly reads: readonly MemoryTouch[];
}

/**
 * The steps of a film, in order.
 *
 * @param memory gives the bytes before accesses; without it these are undefined
 */
export async function* stepsOf(film: Film, memory?: FilmMemory): AsyncGenerator<Step> {
  const walk = film.walk();
  let before = walk.next().value;
  for (let index = 0; index + 1 < film.length; index++) {
    const after = walk.next().value;
    if (!before || !after) return;
    const touches: MemoryTouch[] = [];
    for (const access of film.accesses(index)) touches.push(await touchOf(access, memory));
    const position = film.position(index);
    yield {
      position,
      next: guestAddress(film.pc(index + 1)),
      kind: film.isDelivery(index) ? "delivery" : "instruction",
      branches: film.position(index + 1).brctr !== position.brctr,
      code: film.code(index),
      registers: changesBetween(before, after),
      writes: touches.filter(({ write }) => write),
      reads: touches.filter(({ write }) => !write),
    };
    before = after;
  }
}

function changesBetween(before: WalkedRegisters, { block, changed }: WalkedRegisters): RegisterChange[] {
  const found: RegisterChange[] = [];
  if (changed.length === 0) return found;
  for (const { name, offset, bytes } of x86Registers) {
    const first = offset >> 3;
    const last = (offset + bytes - 1) >> 3;
    if (name === "rip" || !changed.some((word) => word >= first && word <= last)) continue;
    const was = before.block.subarray(offset, offset + bytes);
    const is = block.subarray(offset, offset + bytes);
    if (Buffer.compare(was, is) !== 0) found.push({ name, before: was, after: is });
  }
  return found;
}

async function touchOf({ index, bytes, ...access }: FilmAccess, memory?: FilmMemory): Promise<MemoryTouch> {
  return { ...access, before: await bytesBefore(access, index, memory), after: bytes?.slice() };
}

async function bytesBefore(
  { physical, length, device }: Omit<FilmAccess, "index" | "bytes">,
  index: number,
  memory?: FilmMemory,
): Promise<Uint8Array | undefined> {
  if (device || physical === undefined || !memory?.isSure(index)) return undefined;
  try {
    return await memory.at(index).readPhysical(physical, length);
  } catch (error) {
    if (error instanceof UnsureError) return undefined;
    throw error;
  }
}
