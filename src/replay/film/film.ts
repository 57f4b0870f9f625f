import { lastAtMost } from "../../base/search.js";
import {
  brctr,
  type GuestAddress,
  guestAddress,
  type Icount,
  icount,
  physicalAddress,
} from "../../base/units.js";
import { filmAccessFlags, filmPointerWord } from "../../formats/film-stream.js";
import { type X86Register, x86Register, x86Registers } from "../../qemu/x86-registers.js";
import type { Position } from "../session/position.js";
import type { Instant } from "../session/timeline-types.js";
import {
  type FilmAccess,
  type FilmCode,
  type FilmColumns,
  type FilmDoubt,
  filmFlags,
  type RegisterStep,
  type WalkedRegisters,
} from "./model.js";

/**
 * A sequence of consecutive instants, kept in memory: the position and all registers of each, and what the step from
 * each to the next accessed. An instant is named by its index, 0 to {@link length} - 1. Its registers are those that
 * a stop there would show; where that is not certain, {@link isSure} is false.
 *
 * Cost: some 40 bytes an instant.
 */
export class Film {
  /** The position of instant 0. */
  readonly from: Position;
  readonly length: number;
  /** Instants from which on memory may have been changed by something other than instructions; rising. */
  readonly doubts: readonly FilmDoubt[];
  private readonly columns: FilmColumns;

  constructor(from: Position, columns: FilmColumns, doubts: readonly FilmDoubt[]) {
    this.from = from;
    this.columns = columns;
    this.doubts = doubts;
    this.length = columns.pcs.length;
  }

  /** The memory that it takes, in bytes. */
  get bytes(): number {
    const { words, reps, code, ...plain } = this.columns;
    let sum = 0;
    for (const column of Object.values(plain)) sum += column.bytes;
    for (const { at, values } of words) sum += at.bytes + values.bytes;
    return sum + 64 * reps.size + 128 * code.length;
  }

  get to(): Position {
    return this.position(this.length - 1);
  }

  position(index: number): Position {
    const { icounts, brctrs, pcs, reps } = this.columns;
    return {
      icount: icount(this.from.icount + BigInt(icounts.at(index))),
      brctr: brctr(this.from.brctr + BigInt(brctrs.at(index))),
      pc: guestAddress(pcs.at(index)),
      rep: reps.get(index) ?? 0n,
    };
  }

  pc(index: number): GuestAddress {
    return this.columns.pcs.at(index) as GuestAddress;
  }

  /**
   * The instruction that runs at an instant; undefined when an interrupt is delivered in place of it, and at the last
   * instant.
   */
  code(index: number): FilmCode | undefined {
    return this.columns.code[this.columns.codes.at(index) - 1];
  }

  /** How many deliveries were made at the instant's icount before it. */
  delivered(index: number): bigint {
    return BigInt(this.columns.delivered.at(index));
  }

  /** Does a delivery lead from here to the next instant? */
  isDelivery(index: number): boolean {
    return (this.columns.flags.at(index) & filmFlags.delivery) !== 0;
  }

  /**
   * Was an interrupt delivered in place of the instruction here? The instant is then known only from the frame of the
   * interrupt.
   */
  isInferred(index: number): boolean {
    return (this.columns.flags.at(index) & filmFlags.inferred) !== 0;
  }

  /** Are the registers here known for certain? */
  isSure(index: number): boolean {
    return (this.columns.flags.at(index) & filmFlags.vague) === 0;
  }

  /** The index of an instant; undefined when it is not in this film. Without an address, the first of its icount. */
  indexOf(instant: Instant): number | undefined {
    const ahead = Number(instant.icount - this.from.icount);
    if (ahead < 0) return undefined;
    const { icounts, pcs } = this.columns;
    let index = lastAtMost(icounts.all, ahead);
    if (index < 0 || icounts.at(index) !== ahead) return undefined;
    if (instant.pc === undefined) {
      while (index > 0 && icounts.at(index - 1) === ahead) index--;
      // The film may begin after a delivery, so that it lacks the first instant of its first icount.
      return index === 0 && this.delivered(0) > 0n ? undefined : index;
    }
    for (; index >= 0 && icounts.at(index) === ahead; index--) if (pcs.at(index) === instant.pc) return index;
    return undefined;
  }

  /** The `g` block at an instant. */
  registers(index: number): Uint8Array {
    const { words, pcs } = this.columns;
    const last = x86Registers.at(-1)!;
    const block = new Uint8Array(last.offset + last.bytes);
    const longs = new BigUint64Array(block.buffer, 0, words.length);
    for (const [i, { at, values }] of words.entries()) {
      const place = lastAtMost(at.all, index);
      if (place >= 0) longs[i] = values.at(place);
    }
    const pointer = words[filmPointerWord]!;
    const told = lastAtMost(pointer.at.all, index);
    longs[filmPointerWord] =
      told >= 0 && pointer.at.at(told) === index ? pointer.values.at(told) : pcs.at(index);
    return block;
  }

  /** Yields the registers of all instants in order, which costs less than asking for each. */
  *walk(): Generator<WalkedRegisters, undefined> {
    const { words, pcs } = this.columns;
    const places = words.map(() => 0);
    let block = new Uint8Array(this.registers(0).length);
    for (let index = 0; index < this.length; index++) {
      block = block.slice();
      const longs = new BigUint64Array(block.buffer, 0, words.length);
      longs[filmPointerWord] = pcs.at(index);
      const changed: number[] = [];
      for (let word = 0; word < words.length; word++) {
        const { at, values } = words[word]!;
        const place = places[word]!;
        if (place >= at.length || at.at(place) !== index) continue;
        longs[word] = values.at(place);
        places[word] = place + 1;
        changed.push(word);
      }
      yield { block, changed };
    }
  }

  /** A register at an instant, as bytes; undefined when the `g` block has none of this name. */
  register(index: number, name: string): Uint8Array | undefined {
    const register = x86Register(name);
    if (!register) return undefined;
    return this.registers(index).subarray(register.offset, register.offset + register.bytes);
  }

  /**
   * The nearest instant in a direction from `index` at which a register has another value than at the instant before it: it
   * changed on the step from `index - 1` to there. Undefined when it does not change within the film.
   */
  changeOf(name: string, index: number, direction: "back" | "forward"): number | undefined {
    const register = x86Register(name);
    if (!register) return undefined;
    const step = direction === "back" ? -1 : 1;
    if (register.name === "rip")
      return index + step > 0 && index + step < this.length ? index + step : undefined;
    for (
      let at = this.nextTold(register, index, step);
      at !== undefined;
      at = this.nextTold(register, at, step)
    ) {
      if (at === 0) return undefined;
      if (this.differs(register, at)) return at;
    }
    return undefined;
  }

  /** The last step before an instant that changed a register; undefined when none of the film did. */
  lastChange(name: string, index: number): RegisterStep | undefined {
    const register = x86Register(name);
    // When not all registers are known before or after the change, the step that made it is not certain.
    const at = this.changeOf(name, index + 1, "back");
    if (!register || at === undefined || !this.isSure(at) || !this.isSure(at - 1)) return undefined;
    const { offset, bytes } = register;
    return {
      position: this.position(at - 1),
      kind: this.isDelivery(at - 1) ? "delivery" : "instruction",
      before: this.registers(at - 1).subarray(offset, offset + bytes),
      after: this.registers(at).subarray(offset, offset + bytes),
    };
  }

  /** All instants at which a register has another value than at the one before, in order. */
  changesOf(name: string): number[] {
    const found: number[] = [];
    for (
      let at = this.changeOf(name, 0, "forward");
      at !== undefined;
      at = this.changeOf(name, at, "forward")
    ) {
      found.push(at);
    }
    return found;
  }

  /** The first instant of this icount or a later one; `length` when there is none. */
  indexFrom(at: Icount): number {
    const ahead = Number(at - this.from.icount);
    return ahead <= 0 ? 0 : lastAtMost(this.columns.icounts.all, ahead - 1) + 1;
  }

  /** Names of the registers, without `rip`, whose value at `index` differs from that at the instant before. */
  changed(index: number): string[] {
    if (index === 0) return [];
    return x86Registers
      .filter(({ name }) => name !== "rip")
      .filter((register) => wordsOf(register).some((word) => this.isToldAt(word, index)))
      .filter((register) => this.differs(register, index))
      .map(({ name }) => name);
  }

  /** Did the step from `index` to the next instant access memory? */
  hasAccess(index: number): boolean {
    return this.columns.firstAccess.at(index) < this.columns.firstAccess.at(index + 1);
  }

  /** The accesses of the step from `index` to the next instant, in order. */
  accesses(index: number): FilmAccess[] {
    const { firstAccess } = this.columns;
    const found: FilmAccess[] = [];
    const end = firstAccess.at(index + 1) ?? 0;
    for (let i = firstAccess.at(index); i < end; i++) found.push(this.access(i, index));
    return found;
  }

  /** All accesses, in order. */
  *allAccesses(): Generator<FilmAccess> {
    const { firstAccess } = this.columns;
    for (let index = 0; index < this.length; index++) {
      for (let i = firstAccess.at(index); i < firstAccess.at(index + 1); i++) yield this.access(i, index);
    }
  }

  /** The nearest instant in a direction from `index` with this address next; undefined when there is none. */
  visitOf(address: GuestAddress, index: number, direction: "back" | "forward"): number | undefined {
    const { all } = this.columns.pcs;
    const found =
      direction === "back"
        ? index > 0
          ? all.lastIndexOf(address, index - 1)
          : -1
        : all.indexOf(address, index + 1);
    return found < 0 ? undefined : found;
  }

  private access(i: number, index: number): FilmAccess {
    const { addresses, physical, lengths, accessFlags, firstByte, bytes } = this.columns;
    const flags = accessFlags.at(i) << 16;
    const write = (flags & filmAccessFlags.write) !== 0;
    const device = (flags & filmAccessFlags.device) !== 0;
    const start = firstByte.at(i);
    return {
      index,
      address: guestAddress(addresses.at(i)),
      physical: flags & filmAccessFlags.mapped ? physicalAddress(physical.at(i)) : undefined,
      length: lengths.at(i),
      write,
      device,
      bytes: write && !device ? bytes.all.subarray(start, start + lengths.at(i)) : undefined,
    };
  }

  private isToldAt(word: number, index: number): boolean {
    const { at } = this.columns.words[word]!;
    const place = lastAtMost(at.all, index);
    return place >= 0 && at.at(place) === index;
  }

  /** The nearest instant in a direction at which the film has a new value for any word of a register. */
  private nextTold(register: X86Register, index: number, step: 1 | -1): number | undefined {
    let nearest: number | undefined;
    for (const word of wordsOf(register)) {
      const { at } = this.columns.words[word]!;
      const place = lastAtMost(at.all, step > 0 ? index : index - 1) + (step > 0 ? 1 : 0);
      if (place < 0 || place >= at.length) continue;
      const found = at.at(place);
      if (nearest === undefined || (step > 0 ? found < nearest : found > nearest)) nearest = found;
    }
    return nearest;
  }

  private differs({ offset, bytes }: X86Register, index: number): boolean {
    const here = this.registers(index).subarray(offset, offset + bytes);
    const before = this.registers(index - 1).subarray(offset, offset + bytes);
    return Buffer.compare(here, before) !== 0;
  }
}

/** The words of the `g` block that hold a register. */
function wordsOf({ offset, bytes }: X86Register): number[] {
  const first = offset >> 3;
  const last = (offset + bytes - 1) >> 3;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
