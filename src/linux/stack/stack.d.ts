import type { GuestMemory } from "../../base/guest-memory.js";
import { type AddressKey } from "../../symbols/tables/address.js";
import { RegisterSet } from "../../symbols/unwind/cfi-registers.js";
import { type FileAt } from "../names/stack-files.js";
import type { FrameKind, Stack } from "./frame.js";
import { StackMemory } from "./memory.js";
import { type KernelUnwinding } from "./unwind-kernel.js";
export interface StackWalkerOptions {
  /** The kernel's tables. Without them its frames are guessed. */
  readonly kernel?: KernelUnwinding | undefined;
  /** The mappings of the task whose stack is walked. Without them frames of programs are guessed. */
  readonly files?: FileAt | undefined;
  /** Names kernel functions: tells system calls, interrupts and exceptions apart where the registers do not. */
  readonly nameOf?: ((address: bigint) => string | undefined) | undefined;
  /** Frames at most; default 256. */
  readonly limit?: number | undefined;
}
/**
 * Walks stacks: from the registers of a stopped machine through the kernel, out to the program that called it or was
 * interrupted, and to where that began. One walker serves one task at one instant after the other; mappings are asked
 * again for each walk.
 */
export declare class StackWalker {
  private readonly kernel;
  private readonly files;
  private readonly nameOf;
  private readonly limit;
  private readonly kinds;
  /** @throws `usage` when the limit is none */
  constructor(options: StackWalkerOptions);
  /**
   * The frames from these registers on. Never throws for what it finds in the guest: a damaged stack has fewer frames,
   * and `end` says why.
   *
   * Cost: 2 µs a frame where the pages and tables are known, and a read of 4 kB for each new page.
   *
   * @param registers a `g` packet, or a set
   * @param memory as the machine sees it now
   */
  walk(registers: Uint8Array | RegisterSet, memory: GuestMemory): Promise<Stack>;
  /** A walk that its caller drives: `advance` until it is true, `supply` in between. */
  begin(registers: RegisterSet, memory: GuestMemory | StackMemory): StackWalk;
  private readonly kindOf;
}
/** One walk, which stops wherever something has to be fetched. */
export declare class StackWalk {
  private readonly kernel;
  private readonly files;
  private readonly kindOf;
  private readonly limit;
  private readonly memory;
  private readonly frames;
  private readonly saved;
  private readonly step;
  private readonly known;
  /** Address of a mapping that has to be asked for. */
  private wantedFile;
  private readonly asked;
  private by;
  private reliable;
  private end;
  private endAddress;
  private fetches;
  private readonly isUserCode;
  private readonly isKernelCode;
  constructor(
    kernel: KernelUnwinding | undefined,
    files: FileAt | undefined,
    kindOf: (key: AddressKey) => FrameKind | undefined,
    limit: number,
    registers: RegisterSet,
    memory: StackMemory,
  );
  /** Goes on as far as it can; true when it is done. */
  advance(): boolean;
  /** Fetches what `advance` stopped for. */
  supply(): Promise<void>;
  /** What was found; whole once `advance` has said so. */
  get stack(): Stack;
  private get isWaiting();
  private stepOnce;
  private stepKernel;
  /** Where the tables say that a stack begins, a program may be behind it: at a system call's first instructions too. */
  private stepFromStart;
  private stepUser;
  /** When guessing has failed too, what went wrong first is told. */
  private keepEnd;
  private guess;
  /** A caller that is no caller: the end of the chain, or the same frame again. */
  private check;
  /** The file at an address, or undefined: when it is not known yet, `wantedFile` says so. */
  private fileOf;
  private frameOf;
}
