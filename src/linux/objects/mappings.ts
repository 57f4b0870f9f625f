import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { mapleEntries } from "../guest/maple-tree.js";
import type { StructView } from "../guest/struct-view.js";
import { type GuestFile, readFileAt } from "./file.js";
import { type GuestPath, PathReader, systemRoot } from "./paths.js";
import type { Task } from "./task.js";

/** A mapping of a process: a line of /proc/PID/maps. */
export interface Mapping {
  readonly start: bigint;
  /** First address after it. */
  readonly end: bigint;
  /** `rwxp`, as there. */
  readonly permissions: string;
  /** Of its first byte, in the file. */
  readonly fileOffset: bigint;
  readonly file: GuestFile | undefined;
  /** The file's path, or `[heap]`, `[stack]`, `[vdso]`, `[anon:…]`; undefined for nameless memory. */
  readonly name: string | undefined;
}

/** Source of the bits: include/linux/mm.h. */
const vmFlags = { read: 1, write: 2, execute: 4, mayShare: 0x80 } as const;
const pageShift = 12n;
/** More than vm.max_map_count lets any process have. */
const mostMappings = 1 << 18;
const longestName = 256;

const areaMembers = ["vm_start", "vm_end", "vm_flags", "vm_pgoff", "vm_file", "vm_ops", "vm_mm"] as const;

/**
 * The mappings of a task, ascending; none for a kernel thread or a task that has ended.
 *
 * Cost: 2 reads of memory a mapping and 10 to 20 a file.
 *
 * @throws VmtapeError `not-found` without BTF; `bad-memory`, `not-mapped` when they are not as the kernel keeps them
 */
export async function readMappings(guest: LinuxGuest, task: Task): Promise<Mapping[]> {
  if (task.mm === undefined) return [];
  const names = await AreaNames.of(guest, task);
  const mappings: Mapping[] = [];
  for await (const area of areas(guest, task.mm)) mappings.push(await names.describe(area));
  const gate = await gateArea(guest);
  return gate ? [...mappings, gate] : mappings;
}

/** The mapping that holds an address; undefined when none does. Ascending mappings, halved. */
export function mappingAt(mappings: readonly Mapping[], address: bigint): Mapping | undefined {
  let low = 0;
  let high = mappings.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (mappings[middle]!.end <= address) low = middle + 1;
    else high = middle;
  }
  const found = mappings[low];
  return found && found.start <= address ? found : undefined;
}

/** A process's `vm_area_struct`s, ascending. */
async function* areas(guest: LinuxGuest, mm: bigint): AsyncGenerator<StructView> {
  const type = guest.types.struct("mm_struct");
  const tree = type.findMember("mm_mt.ma_root");
  if (tree) {
    const root = await guest.word(mm + BigInt(tree.byteOffset));
    for await (const { entry } of mapleEntries(guest, root, mostMappings)) {
      yield await guest.read("vm_area_struct", entry, areaMembers);
    }
    return;
  }
  yield* listedAreas(guest, await guest.word(mm + BigInt(type.member("mmap").byteOffset)));
}

/** Before 6.1 mappings were in a list, too, in the order of their addresses. */
async function* listedAreas(guest: LinuxGuest, first: bigint): AsyncGenerator<StructView> {
  let reached = -1n;
  let count = 0;
  for (let at = first; at !== 0n; ) {
    const area = await guest.read("vm_area_struct", at, [...areaMembers, "vm_next"]);
    const start = area.word("vm_start");
    if (start <= reached || ++count > mostMappings) {
      throw new VmtapeError("bad-memory", `the list of mappings does not ascend at ${hex(at)}`, {
        address: at,
      });
    }
    yield area;
    reached = start;
    at = area.word("vm_next");
  }
}

/** Where a process keeps what its nameless mappings are called by. */
interface Landmarks {
  readonly startBrk: bigint;
  readonly brk: bigint;
  readonly startStack: bigint;
}

/** Names mappings as fs/proc/task_mmu.c does. */
class AreaNames {
  private readonly paths: PathReader;

  private constructor(
    private readonly guest: LinuxGuest,
    private readonly landmarks: Landmarks,
    private readonly root: GuestPath | undefined,
  ) {
    this.paths = new PathReader(guest);
  }

  static async of(guest: LinuxGuest, { mm }: Task): Promise<AreaNames> {
    const view = await guest.read("mm_struct", mm!, ["start_brk", "brk", "start_stack"]);
    const landmarks = {
      startBrk: view.word("start_brk"),
      brk: view.word("brk"),
      startStack: view.word("start_stack"),
    };
    return new AreaNames(guest, landmarks, await systemRoot(guest));
  }

  async describe(area: StructView): Promise<Mapping> {
    const start = area.word("vm_start");
    const end = area.word("vm_end");
    const pointer = area.word("vm_file");
    const file = pointer === 0n ? undefined : await readFileAt(this.guest, this.paths, pointer, this.root);
    const given = await this.givenName(area, file);
    return {
      start,
      end,
      permissions: permissions(area.word("vm_flags")),
      fileOffset: file ? area.word("vm_pgoff") << pageShift : 0n,
      file,
      name: given ?? file?.path ?? (await this.specialName(area)) ?? this.landmark(area, start, end),
    };
  }

  /** What a program called it with `prctl(PR_SET_VMA_ANON_NAME)`. */
  private async givenName(area: StructView, file: GuestFile | undefined): Promise<string | undefined> {
    const { guest } = this;
    const place = area.type.findMember("anon_name");
    const text = guest.types.findStruct("anon_vma_name")?.findMember("name");
    if (!place || !text) return undefined;
    // Up to 6.1 it shares its place with what a file's mapping needs.
    if (file && place.byteOffset === area.type.findMember("shared")?.byteOffset) return undefined;
    const pointer = (await guest.read("vm_area_struct", area.address, ["anon_name"])).word("anon_name");
    if (pointer === 0n) return undefined;
    const name = await guest.text(pointer + BigInt(text.byteOffset), longestName);
    return file ? `[anon_shmem:${name}]` : `[anon:${name}]`;
  }

  /** The kernel's own pages: `[vdso]`, `[vvar]`, `[uprobes]`. */
  private async specialName(area: StructView): Promise<string | undefined> {
    const { guest } = this;
    const operations = area.word("vm_ops");
    if (operations === 0n || operations !== guest.findAddress("special_mapping_vmops")) return undefined;
    const data = await guest.read("vm_area_struct", area.address, ["vm_private_data"]);
    const mapping = await guest.read("vm_special_mapping", data.word("vm_private_data"), ["name"]);
    return guest.text(mapping.word("name"), longestName);
  }

  private landmark(area: StructView, start: bigint, end: bigint): string | undefined {
    const { startBrk, brk, startStack } = this.landmarks;
    if (area.word("vm_mm") === 0n) return "[vdso]";
    // From 6.6 on a neighbour that only touches the heap is not called so.
    const touching = !isFrom(this.guest.kernel.symbols.release, 6, 6);
    const isHeap = touching ? start <= brk && end >= startBrk : start < brk && end > startBrk;
    if (isHeap) return "[heap]";
    return start <= startStack && end >= startStack ? "[stack]" : undefined;
  }
}

/** The page of the old system-call entries, which belongs to no process; each shows it. */
async function gateArea(guest: LinuxGuest): Promise<Mapping | undefined> {
  const address = guest.findAddress("gate_vma");
  const mode = guest.findAddress("vsyscall_mode");
  if (address === undefined || mode === undefined) return undefined;
  if ((await guest.u32(mode)) === vsyscallOff) return undefined;
  const area = await guest.read("vm_area_struct", address, areaMembers);
  if (area.word("vm_start") === 0n) return undefined;
  return {
    start: area.word("vm_start"),
    end: area.word("vm_end"),
    permissions: permissions(area.word("vm_flags")),
    fileOffset: 0n,
    file: undefined,
    name: "[vsyscall]",
  };
}

/** Source: arch/x86/entry/vsyscall/vsyscall_64.c: EMULATE, XONLY, NONE. */
const vsyscallOff = 2;

function permissions(flags: bigint): string {
  const low = Number(flags & 0xffn);
  const letter = (bit: number, yes: string, no = "-") => (low & bit ? yes : no);
  return (
    letter(vmFlags.read, "r") +
    letter(vmFlags.write, "w") +
    letter(vmFlags.execute, "x") +
    letter(vmFlags.mayShare, "s", "p")
  );
}

/** Is a release (`uname -r`) at least this one? */
export function isFrom(release: string | undefined, major: number, minor: number): boolean {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(release ?? "") ?? [];
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

/** A line of /proc/PID/maps, without the blank after nameless ones. */
export function formatMapping({ start, end, permissions, fileOffset, file, name }: Mapping): string {
  const at = (address: bigint) => address.toString(16).padStart(8, "0");
  const two = (part: number | undefined) => (part ?? 0).toString(16).padStart(2, "0");
  const device = `${two(file?.device.major)}:${two(file?.device.minor)}`;
  const facts = `${at(start)}-${at(end)} ${permissions} ${at(fileOffset)} ${device} ${file?.inode ?? 0}`;
  // As `seq_path` has it: a line stays one line.
  return name === undefined ? facts : `${facts} `.padEnd(nameColumn) + name.replaceAll("\n", "\\012");
}

/** Source: fs/proc/task_mmu.c, `seq_setwidth(m, 25 + sizeof(void *) * 6 - 1)`, and a blank. */
const nameColumn = 73;
