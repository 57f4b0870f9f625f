import type { GuestMemory } from "../../base/guest-memory.js";
import { type Located, Symbols } from "../../symbols/names/symbols.js";
import type { Tape } from "../../tape/tape.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { Frame, Stack } from "./frame.js";
/** A stack with names for its frames. */
export interface NamedStack extends Stack {
  /** What a frame's code is called, with the copies inlined there and the line. */
  locate(frame: Frame): Located | undefined;
  /** The program or library of a user frame. */
  fileOf(frame: Frame): string | undefined;
  /** What could not be used of the programs' debug information so far, in words for people. */
  notes(): readonly string[];
}
/**
 * The stacks of a tape's guest at any of its instants: one object for all of them, as the tables of the kernel and the
 * programs are read once.
 */
export declare class TapeStacks {
  private readonly tape;
  private readonly symbols;
  private readonly programs;
  private kernel;
  private readonly modules;
  /** @param symbols of the tape (`TapeSymbols.symbols`) */
  constructor(tape: Tape, symbols: Symbols);
  /**
   * The stack of what runs where the machine stands.
   *
   * Cost: the first time 0.1 s to read the kernel's tables from the guest, then the mappings of the task and the pages of
   * the stack. What cannot be read there, mappings without BTF for one, costs frames, which are guessed or missing.
   *
   * @param registers a `g` packet
   * @param memory as the machine sees it now
   * @param guest its Linux; undefined while none runs
   */
  walk(
    registers: Uint8Array,
    memory: GuestMemory,
    guest: LinuxGuest | undefined,
    options?: {
      readonly limit?: number | undefined;
    },
  ): Promise<NamedStack>;
  private kernelAt;
  /** From memory, where they lie unpacked; else from the image. */
  private readKernel;
  private programsAt;
}
