import { isVmtapeError } from "../../base/errors.js";
import { type GuestMemory, MemoryReader } from "../../base/guest-memory.js";
import { syncBytes } from "../../base/sync-source.js";
import { ElfFile, isElf } from "../../symbols/elf/elf.js";
import { programType } from "../../symbols/elf/layout.js";
import { type AddressKey, keyOf } from "../../symbols/tables/address.js";
import { CfiTable, frameAddress, frameHeaderSegment } from "../../symbols/unwind/cfi-table.js";

/** A stretch of a task's addresses, and the file that lies there. */
export interface MappedFile {
  /** The mapping that holds the address; `end` is the first address after it. */
  readonly start: bigint;
  readonly end: bigint;
  /** A path, or a name in brackets. */
  readonly name: string;
  /** Where the file's first byte is mapped; undefined when it is not. */
  readonly header?: bigint | undefined;
  /** The file, when it is at hand. The same object for the same file: what is read of it is kept. */
  readonly elf: ElfFile | undefined;
  /** Add to an address of `elf` to get one in memory. */
  readonly loadBias: bigint;
}

/** The mappings of the task whose stack is walked. */
export interface FileAt {
  /** The file at an address; undefined where there is none. */
  fileAt(address: bigint): Promise<MappedFile | undefined>;
}

/**
 * What was added to a file's addresses, from one of its mappings. Two segments may share a page of the file, each with an
 * address of its own for it, as lld lays them out: then the one that is code is meant where code is mapped, and that which
 * starts with the mapping.
 *
 * @param fileOffset where in the file the mapping starts
 * @param isCode whether its memory can be executed; undefined when that is not known
 * @returns undefined when no segment of the file lies there
 */
export function loadBiasOf(
  elf: ElfFile,
  mapping: { readonly start: bigint; readonly fileOffset: bigint; readonly isCode?: boolean },
): bigint | undefined {
  const { start, fileOffset, isCode } = mapping;
  let best: { readonly fits: number; readonly bias: bigint } | undefined;
  for (const { type, flags, offset, address, fileSize } of elf.segments) {
    if (type !== programType.load) continue;
    const first = BigInt(offset) & ~0xfffn;
    if (fileOffset < first || fileOffset >= BigInt(offset + fileSize)) continue;
    const isExecutable = (flags & executable) !== 0;
    const isStart = (fileOffset === BigInt(offset) ? 2 : 0) + (fileOffset === first ? 1 : 0);
    const fits = (isExecutable === isCode ? 4 : 0) + isStart;
    if (!best || fits > best.fits) best = { fits, bias: start - fileOffset - (address - BigInt(offset)) };
  }
  return best?.bias;
}

/** `PF_X` of a program header. */
const executable = 1;

/** A mapped file as an unwinder uses it: keys in place of bigints, and its frame information. */
export interface UnwindFile {
  readonly start: AddressKey;
  readonly end: AddressKey;
  readonly bias: AddressKey;
  readonly cfi: CfiTable | undefined;
}

const tables = new WeakMap<ElfFile, CfiTable | "none">();

/** The frame information of a file, read once. What cannot be read is none. */
export function cfiOf(elf: ElfFile): CfiTable | undefined {
  let table = tables.get(elf);
  if (table === undefined) {
    table = orUndefined(() => CfiTable.fromElf(elf)) ?? "none";
    tables.set(elf, table);
  }
  return table === "none" ? undefined : table;
}

/** Makes an unwinder's file of a mapped one; without the file, of what the guest has in memory of it. */
export async function unwindFile(file: MappedFile, memory: GuestMemory): Promise<UnwindFile> {
  const range = { start: keyOf(file.start), end: keyOf(file.end) };
  if (file.elf) return { ...range, bias: keyOf(file.loadBias), cfi: cfiOf(file.elf) };
  const found = file.header === undefined ? undefined : await cfiFromMemory(memory, file.header);
  return { ...range, bias: found ? keyOf(found.loadBias) : 0, cfi: found?.cfi };
}

const headerBytes = 4096;
/** What is read of a program's frame information in memory. */
const mostFrameBytes = 4 << 20;

/**
 * The frame information of a program from its own pages, as far as the guest has them in memory: of a file that is not at
 * hand, or the vDSO.
 *
 * @param header where its ELF header is
 */
export async function cfiFromMemory(
  memory: GuestMemory,
  header: bigint,
): Promise<{ readonly cfi: CfiTable; readonly loadBias: bigint } | undefined> {
  const start = await memory.read(header, headerBytes);
  if (!start || !isElf(start)) return undefined;
  const elf = orUndefined(() => ElfFile.open(syncBytes(start, "memory")));
  const segment = elf?.segments.find(({ type }) => type === frameHeaderSegment);
  const loadBias = elf && loadBiasOf(elf, { start: header, fileOffset: 0n });
  if (!elf || !segment || loadBias === undefined || segment.memorySize > mostFrameBytes) return undefined;
  const bytes = await memory.read(loadBias + segment.address, segment.memorySize);
  const address = keyOf(segment.address);
  const frames = bytes && frameAddress(bytes, address);
  if (!bytes || frames === undefined) return undefined;
  const home = elf.segments.find(
    (part) =>
      part.type === programType.load &&
      frames >= keyOf(part.address) &&
      frames < keyOf(part.address) + part.fileSize,
  );
  if (!home) return undefined;
  const length = Math.min(keyOf(home.address) + home.fileSize - frames, mostFrameBytes);
  const contents = await new MemoryReader(memory).some(loadBias + BigInt(frames), length);
  if (contents.length === 0) return undefined;
  const section = {
    bytes: contents,
    address: frames,
    flavor: "eh" as const,
    bases: { section: frames, data: address },
  };
  return { cfi: new CfiTable([{ section, header: { bytes, address } }]), loadBias };
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isVmtapeError(error, "bad-file") || isVmtapeError(error, "unsupported")) return undefined;
    throw error;
  }
}
