import type { Symbols } from "../symbols/symbols.js";
import { AddressSpaces } from "./address-spaces.js";
import type { GuestFiles } from "./guest-files.js";
import type { TaskHistory } from "./task-history.js";

const firstKernelAddress = 1n << 63n;

/** The function an address lies in. */
export interface NamedAddress {
  readonly name: string;
  readonly offset: number;
  readonly start: bigint;
}

/**
 * Names of addresses as time goes on: the kernel's are always the same, a user program's are those of the files that the
 * task that runs has mapped there. Move it forward with {@link enter}.
 */
export class TaskNames {
  private readonly history: TaskHistory;
  private readonly kernel: Symbols;
  private readonly files: GuestFiles;
  private readonly spaces: AddressSpaces;
  private mm = 0n;

  constructor(history: TaskHistory, kernel: Symbols, files: GuestFiles) {
    this.history = history;
    this.kernel = kernel;
    this.files = files;
    this.spaces = new AddressSpaces(history.columns.spaces);
  }

  /**
   * Goes to a stretch of the history, by its index; they must ascend. What is mapped while it lasts counts from its
   * beginning: a program does not run code before it is mapped.
   */
  enter(index: number): void {
    this.spaces.moveTo(this.history.slice(index).to.icount);
    this.mm = this.history.taskOf(index).mm;
  }

  /** The address space, for who keeps texts: user addresses mean the same within one. */
  get space(): bigint {
    return this.mm;
  }

  nameOf(address: bigint): NamedAddress | undefined {
    if (address >= firstKernelAddress) return this.kernel.nameOf(address);
    const mapping = this.spaces.at(this.mm, address);
    const program = mapping && this.files.program(mapping.path);
    const bias = mapping && program?.biasOf(mapping);
    const located = bias === undefined ? undefined : program?.lookup(address - bias);
    if (located) return { name: located.name, offset: located.offset, start: located.start + bias! };
    const fallback = this.kernel.lookup(address);
    // A program of the initramfs at the same fixed address as the one that runs says nothing.
    const isOther =
      mapping &&
      fallback &&
      this.files.program(`/${fallback.source}`) &&
      `/${fallback.source}` !== mapping.path;
    return isOther ? undefined : fallback;
  }

  /** `name+offset`; where no function is known, the file and the offset in it; undefined where nothing is. */
  describe(address: bigint): string | undefined {
    const named = this.nameOf(address);
    if (named) return named.offset === 0 ? named.name : `${named.name}+${named.offset}`;
    const mapping = address >= firstKernelAddress ? undefined : this.spaces.at(this.mm, address);
    return mapping && `${mapping.path}+0x${(address - mapping.start + mapping.fileOffset).toString(16)}`;
  }
}
