import { basename } from "node:path";
import { firstKernelAddress } from "../../base/units.js";
import { type Located, Symbols } from "../../symbols/names/symbols.js";
import { AddressSpaces } from "../history/address-spaces.js";
import type { FileMapping, TaskHistory } from "../history/task-history.js";
import { loadBiasOf } from "./stack-files.js";
import type { GuestPrograms } from "./stack-programs.js";

/** The function an address lies in. */
export interface NamedAddress {
  readonly name: string;
  readonly offset: number;
  readonly start: bigint;
}

/** A program's names where one of its mappings is; "none" when it is not at hand or has no symbols. */
type Mapped = Symbols | "none";

/**
 * Names of addresses as time goes on: the kernel's are always the same, a user program's are those of the files that the
 * task that runs has mapped there. Move it forward with {@link enter}.
 */
export class TaskNames {
  private readonly history: TaskHistory;
  private readonly others: Symbols;
  private readonly programs: GuestPrograms;
  private readonly spaces: AddressSpaces;
  private readonly mapped = new Map<FileMapping, Mapped>();
  private mm = 0n;

  /** @param others the kernel's symbols, its modules', and what the user named */
  constructor(history: TaskHistory, others: Symbols, programs: GuestPrograms) {
    this.history = history;
    this.others = others;
    this.programs = programs;
    this.spaces = new AddressSpaces(history.columns.spaces);
  }

  /**
   * Goes to a stretch of the history, by its index; they must ascend. What is mapped while it lasts counts from its
   * beginning: a program does not run code before it is mapped.
   */
  async enter(index: number): Promise<void> {
    this.spaces.moveTo(this.history.slice(index).to.icount);
    this.mm = this.history.taskOf(index).mm;
    for (const mapping of this.spaces.of(this.mm)) {
      if (!this.mapped.has(mapping)) this.mapped.set(mapping, await this.open(mapping));
    }
  }

  /** The address space, for who keeps texts: user addresses mean the same within one. */
  get space(): bigint {
    return this.mm;
  }

  nameOf(address: bigint): NamedAddress | undefined {
    const located = this.lookup(address);
    return located && { ...located, name: located.prefix + located.name };
  }

  /** The symbol that answers for an address, with inlined copies and line where they are known. */
  lookup(address: bigint): Located | undefined {
    if (address >= firstKernelAddress) return this.others.lookup(address);
    const mapping = this.spaces.at(this.mm, address);
    const mapped = mapping && this.mapped.get(mapping);
    // Where nothing of the file is known, what the user named may know more.
    return mapped && mapped !== "none" ? mapped.lookup(address) : this.named(address, mapping);
  }

  /** The file an address is of, and the offset in it; undefined where no file's code is mapped. */
  fileOf(address: bigint): string | undefined {
    const mapping = address >= firstKernelAddress ? undefined : this.spaces.at(this.mm, address);
    return mapping && `${mapping.path}+0x${(address - mapping.start + mapping.fileOffset).toString(16)}`;
  }

  /** `name+offset`; where no function is known, the file and the offset in it; undefined where nothing is. */
  describe(address: bigint): string | undefined {
    const named = this.nameOf(address);
    if (named) return named.offset === 0 ? named.name : `${named.name}+${named.offset}`;
    return this.fileOf(address);
  }

  /** A program of the initramfs at the same fixed address as the one that runs says nothing. */
  private named(address: bigint, mapping: FileMapping | undefined): Located | undefined {
    const found = this.others.lookup(address);
    const isOther = mapping && found?.prefix === "" && basename(found.source) !== basename(mapping.path);
    return isOther ? undefined : found;
  }

  private async open(mapping: FileMapping): Promise<Mapped> {
    const elf = await this.programs.findByPath(mapping.path, mapping.inode);
    const bias = elf && loadBiasOf(elf, { ...mapping, isCode: true });
    const source = elf && this.programs.symbolsOf(elf, mapping.path);
    if (!source || bias === undefined) return "none";
    const symbols = new Symbols();
    symbols.add({ ...source, bias });
    return symbols;
  }
}
