import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { MemoryReader } from "../../base/guest-memory.js";
import { readMemoryBtf } from "../../symbols/kernel/btf-find.js";
import {
  type KernelPlacement,
  kernelAddress,
  placementFromPhysicalMemory,
} from "../../symbols/kernel/kaslr.js";
import { Types } from "../../symbols/types/set.js";
import { type KernelMemory, kernelMemory } from "./kernel-place.js";
import type { LinuxKernel } from "./linux-kernel.js";
import { type WalkedMemory, walkedMemory } from "./page-tables.js";
import type { StoppedGuest } from "./stopped-guest.js";
import { StructReader, type StructView } from "./struct-view.js";

/**
 * The Linux of a stopped machine: its memory as the kernel maps it, whatever runs; its symbols where they are, and
 * its types. Everything else this room tells is read through it. Valid until the machine moves.
 *
 * Guest memory is not trusted: whatever follows pointers counts its steps.
 */
export class LinuxGuest {
  readonly stopped: StoppedGuest;
  readonly kernel: LinuxKernel;
  readonly place: KernelPlacement;
  /** Virtual memory through the kernel's own page table. */
  readonly memory: KernelMemory;
  readonly words: MemoryReader;
  private readonly readers = new Map<string, StructReader>();

  private constructor(
    stopped: StoppedGuest,
    kernel: LinuxKernel,
    place: KernelPlacement,
    memory: KernelMemory,
  ) {
    this.stopped = stopped;
    this.kernel = kernel;
    this.place = place;
    this.memory = memory;
    this.words = new MemoryReader(memory);
  }

  /**
   * Finds the kernel in a stopped machine: by its banner in physical memory, and by its page table, so KASLR does not
   * matter. Types that were not loaded are read from its memory. Cost: some 30 ms, most of it the types.
   *
   * @param known where the kernel lies, from an earlier instant of the same tape
   * @throws VmtapeError `not-found` when this kernel does not run (yet) at this instant
   */
  static async at(stopped: StoppedGuest, kernel: LinuxKernel, known?: KernelPlacement): Promise<LinuxGuest> {
    const { physical } = stopped;
    const place = known ?? (await placementFromPhysicalMemory(physical, kernel.symbols));
    const memory = place && (await kernelMemory(physical, kernel.symbols, place));
    if (!known && kernel.symbols.banner === undefined) {
      throw new VmtapeError("not-found", "the tape's kernel is not Linux: it has no 'Linux version …' in it");
    }
    if (!place || !memory) {
      throw new VmtapeError(
        "not-found",
        "the tape's Linux kernel does not run (yet) at this instant: it is not in its place in memory",
      );
    }
    const guest = new LinuxGuest(stopped, kernel, place, memory);
    if (kernel.types) return guest;
    const types = await guest.readTypes();
    return types ? new LinuxGuest(stopped, { ...kernel, types }, place, memory) : guest;
  }

  /** The BTF that a kernel keeps in memory; undefined without, or when it is damaged. */
  private async readTypes(): Promise<Types | undefined> {
    const start = this.findAddress("__start_BTF");
    const end = this.findAddress("__stop_BTF");
    if (start === undefined || end === undefined || end <= start) return undefined;
    try {
      return new Types(await readMemoryBtf(this.memory, start, Number(end - start)));
    } catch (error) {
      if (isVmtapeError(error, "bad-file") || isVmtapeError(error, "not-mapped")) return undefined;
      throw error;
    }
  }

  /** The same over memory that was got otherwise: nothing is looked for. */
  static over(
    stopped: StoppedGuest,
    kernel: LinuxKernel,
    place: KernelPlacement,
    memory: KernelMemory,
  ): LinuxGuest {
    return new LinuxGuest(stopped, kernel, place, memory);
  }

  /** The kernel's types. @throws VmtapeError `not-found` for a kernel without BTF */
  get types(): Types {
    const { types, symbols } = this.kernel;
    if (types) return types;
    const release = symbols.release === undefined ? "this kernel" : `Linux ${symbols.release}`;
    throw new VmtapeError(
      "not-found",
      `${release} carries no BTF that can be read, so the layout of its structures is not known (CONFIG_DEBUG_INFO_BTF)`,
      { got: symbols.release },
    );
  }

  /** Where a variable or function of the kernel is; undefined when it has none of this name. */
  findAddress(symbol: string): bigint | undefined {
    return kernelAddress(this.kernel.symbols.table, symbol, this.place.slide);
  }

  /** @throws VmtapeError `not-found` when the kernel has no such symbol */
  address(symbol: string): bigint {
    const found = this.findAddress(symbol);
    if (found !== undefined) return found;
    throw new VmtapeError("not-found", `the kernel has no symbol '${symbol}'`, { got: symbol });
  }

  /**
   * The reader of some members of a structure; made once for the same arguments.
   *
   * @throws VmtapeError `not-found` without BTF, or when it has no such structure or member
   */
  struct(name: string, members: readonly string[]): StructReader {
    const key = `${name}:${members.join()}`;
    let reader = this.readers.get(key);
    if (!reader) {
      reader = new StructReader(this.memory, this.types.struct(name), members);
      this.readers.set(key, reader);
    }
    return reader;
  }

  /** One structure at an address. @throws as `struct`, and `not-mapped` */
  read(name: string, address: bigint, members: readonly string[]): Promise<StructView> {
    return this.struct(name, members).at(address);
  }

  /** A word of kernel memory. @throws VmtapeError `not-mapped` */
  async word(address: bigint): Promise<bigint> {
    const value = await this.words.u64(address);
    if (value === undefined) throw unmapped(address);
    return value;
  }

  async u32(address: bigint): Promise<number> {
    const value = await this.words.u32(address);
    if (value === undefined) throw unmapped(address);
    return value;
  }

  /** A string of kernel memory up to its NUL, at most `longest` bytes of it. @throws VmtapeError `not-mapped` */
  async text(address: bigint, longest = 256): Promise<string> {
    const bytes = await this.words.some(address, longest);
    if (bytes.length === 0) throw unmapped(address);
    const end = bytes.indexOf(0);
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("utf8");
  }

  /** A process's memory as its own page table maps it: user space, and the kernel. */
  async userMemory(pgd: bigint): Promise<WalkedMemory> {
    const root = await this.memory.translate(pgd);
    if (root.physical === undefined) throw unmapped(pgd);
    return walkedMemory(this.stopped.physical, root.physical, this.memory.levels);
  }
}

function unmapped(address: bigint): VmtapeError {
  return new VmtapeError("not-mapped", `nothing is mapped at 0x${address.toString(16)}`, { address });
}
