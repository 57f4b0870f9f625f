import { VmtapeError } from "../../base/errors.js";
import { guestAddress } from "../../base/units.js";
import type { ProbeChannel, ProbeItem } from "../../qemu/probe-channel.js";
import type { HitBatch, HitPiece } from "../../qemu/probe-hits.js";
import { type KernelPlacement, kernelAddress } from "../../symbols/kernel/kaslr.js";
import type { Types } from "../../symbols/types/set.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import type { FileMapping, HistoryTask, SpaceEvent } from "../history/task-history.js";
import { type Code, constant, register } from "./collect-code.js";
import { ProbeSet } from "./probe-set.js";
import { numberOf, readTask, taskItems } from "./probe-task.js";

/** The five places that tell everything; each is met where the kernel calls the function, arguments in registers. */
export const taskProbes = {
  /** `__switch_to(prev, next)` */
  switch: "__switch_to",
  /** `__set_task_comm(task, name, exec)`: prctl, and exec, which also changes the address space. */
  rename: "__set_task_comm",
  /** `perf_event_mmap(vma)`: after each mmap, and mprotect to code. */
  map: "perf_event_mmap",
  /** `uprobe_dup_mmap(old, new)`: fork. */
  copy: "uprobe_dup_mmap",
  /** `__mmdrop(mm)`: the last user is gone. */
  free: "__mmdrop",
} as const;

const commBytes = 16;
/** A file's name and those of so many directories above it are collected. */
const pathParts = 9;
const longestPart = 255;
/** `VM_EXEC`. */
const executable = 4n;
const pageShift = 12n;

/** What a hit tells: a task that runs from now on, a task's new name, or a change to an address space. */
export type TaskEvent =
  | { readonly kind: "switch" | "rename"; readonly task: HistoryTask }
  | { readonly kind: "space"; readonly event: SpaceEvent };

/** Sets the probes, and reads their hits. */
export class TaskProbes {
  private readonly kernel: LinuxKernel;
  private readonly types: Types;
  private readonly place: KernelPlacement;
  private readonly probes = new ProbeSet<keyof typeof taskProbes>();

  /** @throws VmtapeError `not-found` without BTF */
  constructor(kernel: LinuxKernel, place: KernelPlacement) {
    this.kernel = kernel;
    this.place = place;
    if (!kernel.types) {
      throw new VmtapeError(
        "not-found",
        `Linux ${kernel.symbols.release ?? ""} carries no BTF, so its tasks cannot be told apart (CONFIG_DEBUG_INFO_BTF)`,
      );
    }
    this.types = kernel.types;
  }

  /** Where a symbol of the kernel is in the guest; undefined when there is none. */
  address(symbol: string): bigint | undefined {
    return kernelAddress(this.kernel.symbols.table, symbol, this.place.slide);
  }

  /**
   * Sets them all.
   *
   * @throws VmtapeError `not-found` when this kernel cannot be followed: it has no `__switch_to`, or a structure lacks a
   *   member
   */
  async setAll(channel: ProbeChannel): Promise<void> {
    const collect = this.items();
    for (const name of Object.keys(taskProbes) as (keyof typeof taskProbes)[]) {
      const symbol = taskProbes[name];
      const address = this.address(symbol);
      if (address === undefined && name === "switch") {
        throw new VmtapeError("not-found", `the kernel has no symbol '${symbol}'`, { got: symbol });
      }
      // Without one of the others names are less exact, that is all.
      if (address === undefined) continue;
      const { items, when } = collect[name];
      await this.probes.place(
        channel,
        name,
        { at: "execute", address: guestAddress(address) },
        { collect: items, ...(when && { when }) },
      );
    }
  }

  /** Is a hit of this id one of these? */
  owns(id: number): boolean {
    return this.probes.meaningOf(id) !== undefined;
  }

  /** The event of hit `i`; undefined when its memory could not be read. */
  read(batch: HitBatch, i: number): TaskEvent | undefined {
    const pieces = batch.pieces(i);
    const icount = Number(batch.icount(i));
    const probe = this.probes.meaningOf(batch.id(i));
    switch (probe) {
      case "switch":
      case "rename": {
        const [address] = words(pieces[0]);
        const task = address === undefined ? undefined : readTask(address, pieces.slice(1));
        return task && { kind: probe, task };
      }
      case "map": {
        const read = readMapping(pieces);
        return read && { kind: "space", event: { kind: "map", icount, ...read } };
      }
      case "copy": {
        const [from, mm] = [words(pieces[0])[0]!, words(pieces[1])[0]!];
        return { kind: "space", event: { kind: "copy", icount, mm, from } };
      }
      default:
        return { kind: "space", event: { kind: "free", icount, mm: words(pieces[0])[0]! } };
    }
  }

  private items(): Record<keyof typeof taskProbes, { items: ProbeItem[]; when?: Uint8Array }> {
    return {
      switch: {
        items: [registers("rsi"), ...taskItems(this.types, register("rsi"))],
      },
      rename: {
        items: [
          registers("rdi"),
          ...taskItems(this.types, register("rdi")).slice(0, -1),
          text(register("rsi"), commBytes),
        ],
      },
      map: this.mapItems(),
      copy: { items: [registers("rdi"), registers("rsi")] },
      free: { items: [registers("rdi")] },
    };
  }

  private mapItems(): { items: ProbeItem[]; when: Uint8Array } {
    const area = this.types.struct("vm_area_struct");
    const file = this.types.struct("file");
    const inode = this.types.struct("inode");
    const entry = this.types.struct("dentry");
    const vma = register("rdi");
    const member = (name: string) => vma.plus(area.member(name).byteOffset);
    const fileAt = member("vm_file").follow();
    const inodeAt = fileAt.plus(file.member("f_inode").byteOffset).follow();
    const device = this.types.struct("super_block").member("s_dev").byteOffset;
    const items: ProbeItem[] = [
      memory(member("vm_start"), 8),
      memory(member("vm_end"), 8),
      memory(member("vm_pgoff"), 8),
      memory(member("vm_mm"), 8),
      memory(inodeAt.plus(inode.member("i_ino").byteOffset), 8),
      memory(inodeAt.plus(inode.member("i_sb").byteOffset).follow().plus(device), 4),
    ];
    let at = fileAt.plus(file.member("f_path.dentry").byteOffset).follow();
    for (let i = 0; i < pathParts; i++) {
      items.push(text(at.plus(entry.member("d_name.name").byteOffset).follow(), longestPart));
      at = at.plus(entry.member("d_parent").byteOffset).follow();
    }
    return { items, when: member("vm_flags").follow().and(executable).bytes };
  }
}

function registers(...names: string[]): ProbeItem {
  return { collect: "some-registers", names };
}

function memory(at: Code, length: number): ProbeItem {
  return { collect: "memory", address: at.bytes, length: constant(length).bytes, most: length };
}

function text(at: Code, most: number): ProbeItem {
  return { collect: "text", address: at.bytes, most };
}

function readMapping(
  pieces: readonly HitPiece[],
): { readonly mm: bigint; readonly mapping: FileMapping } | undefined {
  const [start, end, page, mm, inode, device] = pieces.slice(0, 6).map(numberOf);
  if (start === undefined || end === undefined || page === undefined || mm === undefined) return undefined;
  if (inode === undefined || device === undefined) return undefined; // memory of no file
  const parts: string[] = [];
  for (const piece of pieces.slice(6)) {
    if (piece.state === "unreadable") break;
    const name = string(piece);
    if (name === "/") break; // a file system's root is its own parent
    parts.unshift(name);
  }
  const path = `/${parts.join("/")}`;
  return { mm, mapping: { start, end, fileOffset: page << pageShift, path, inode, device: Number(device) } };
}

function words(piece: HitPiece | undefined): bigint[] {
  if (!piece || piece.state === "unreadable") return [];
  const view = new DataView(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
  return Array.from({ length: piece.bytes.length >> 3 }, (_, i) => view.getBigUint64(i * 8, true));
}

function string({ bytes }: HitPiece): string {
  return Buffer.from(bytes).toString("utf8");
}
