import type { GuestMemory } from "../../base/guest-memory.js";
import type { LoadedModule } from "../../symbols/kernel/modules.js";
import type { AddressKey } from "../../symbols/tables/address.js";
import type { CfiTable } from "../../symbols/unwind/cfi-table.js";
import type { OrcTable } from "../../symbols/unwind/orc.js";
import type { FrameKind } from "./frame.js";
import type { StackMemory } from "./memory.js";
import { type UnwindStep } from "./unwind-step.js";

/** Unwind tables of a stretch of kernel text; `slide` is what was added to the addresses in them. */
interface KernelPart {
  readonly start: AddressKey;
  readonly end: AddressKey;
  readonly slide: AddressKey;
  readonly orc: OrcTable;
  readonly cfi?: CfiTable | undefined;
}
/**
 * The unwind tables of a kernel and its modules. Source of the algorithm: Linux, arch/x86/kernel/unwind_orc.c,
 * `unwind_next_frame`.
 */
export declare class KernelUnwinding {
  /** Where the processor's variables are, when it is known: entry code keeps registers there for a moment. */
  perCpu: AddressKey | undefined;
  private readonly kernel;
  private modules;
  private readonly seen;
  /**
   * @param orc from `readOrcImage` (with the slide of KASLR) or `readOrcMemory` (with none)
   * @param cfi of a kernel with DWARF: registers besides rsp and rbp are then known in callers too
   */
  constructor(orc: OrcTable, slide: bigint, cfi?: CfiTable);
  /**
   * Takes the modules that are loaded at an instant, in place of those of another; their tables are read from memory,
   * once for each module at its place. Cost: 3 reads for each new one.
   */
  setModules(
    memory: GuestMemory,
    modules: readonly Pick<LoadedModule, "name" | "address" | "regions">[],
  ): Promise<void>;
  /** The tables that are to know an address; undefined when no kernel text with tables lies there. */
  partAt(key: AddressKey): KernelPart | undefined;
}
/** What a kernel unwinder says of an address it has no entry for. */
export type OrcAnswer = "stepped" | "failed" | "unknown" | "undefined";
/**
 * One step through kernel code by ORC.
 *
 * @param kindOf names entry code by its address
 * @returns `unknown`: no table has the address. `undefined`: a table says that it cannot tell. `failed`: `step.end` says
 *   why, or a page is missing
 */
export declare function stepByOrc(
  unwinding: KernelUnwinding,
  step: UnwindStep,
  memory: StackMemory,
  kindOf: (key: AddressKey) => FrameKind | undefined,
): OrcAnswer;
