import { crc32 } from "../base/compression/checksum.js";
import { VmtapeError } from "../base/errors.js";
import { type BranchKind, branchKinds } from "./branch.js";
import { leastChunkBits, mostChunkBits, worstRecordBytes } from "./branch-chunk-model.js";

/**
 * The layout of a branch log, version 2; docs/FORMATS.md, "Branch log", has the byte diagrams. All integers are
 * little-endian, every part ends in a CRC-32 of its bytes before that.
 *
 *     | file header | chunk | chunk | … | index entry | index entry | … | trailer |
 *
 * A log whose writer was killed lacks index and trailer and may end in half a chunk: it is read by walking the
 * chunk headers.
 *
 * Format changelog: 2 – a new payload; 1 – first.
 */
export const branchLogVersion = 2;
export const branchLogMagic = "vmtBRLOG";

export const fileHeaderLayout = {
  magic: 0,
  version: 8,
  headerSize: 12,
  tape: 16,
  arch: 32,
  archSize: 16,
  qemu: 48,
  qemuSize: 64,
  startBrctr: 112,
  startIcount: 120,
  chunkBits: 128,
  selection: 129,
  flags: 130,
  crc: 188,
  size: 192,
} as const;

/** Flag: the source told no instruction counts; all are written as 0. */
export const flagNoIcounts = 1;

export const chunkHeaderLayout = {
  magic: 0,
  records: 4,
  firstBrctr: 8,
  lastBrctr: 16,
  firstIcount: 24,
  lastIcount: 32,
  eventsBytes: 40,
  blocksBytes: 44,
  symbols: 48,
  kinds: 52,
  kindsSize: 16,
  payloadCrc: 120,
  crc: 124,
  size: 128,
} as const;
/** "BCHK" */
export const chunkMagic = 0x4b484342;

export const indexEntryLayout = {
  firstBrctr: 0,
  firstIcount: 8,
  offset: 16,
  records: 24,
  crc: 28,
  size: 32,
} as const;

export const trailerLayout = {
  magic: 0,
  version: 4,
  indexOffset: 8,
  chunks: 16,
  records: 24,
  endBrctr: 32,
  endIcount: 40,
  kinds: 48,
  kindsSize: 16,
  crc: 188,
  size: 192,
} as const;
/** "BEND" */
export const trailerMagic = 0x444e4542;

/** Which records a log holds: all, those that touch one side of the address space, or those of some tasks. */
export const branchSelections = ["all", "user", "kernel", "task"] as const;
export type BranchSelection = (typeof branchSelections)[number];

/** What a log says of itself at its beginning. */
export interface BranchLogHeader {
  /** The tape's UUID; undefined in a log made from something else. */
  readonly tape: string | undefined;
  /** "x86_64". */
  readonly arch: string;
  /** QEMU's version, "7.2.22"; empty when not known. */
  readonly qemu: string;
  /** Where logging began: records from this brctr on, transfers from this instant on. Below 2^53, as all counts. */
  readonly startBrctr: number;
  readonly startIcount: number;
  /** log2 of the brctr span of a chunk. */
  readonly chunkBits: number;
  readonly selection: BranchSelection;
  /** False for a log made from a file that tells no instruction counts (BTS). */
  readonly icounts: boolean;
}

/** Must the brctr of its records run on without a gap? */
export function isDense(header: BranchLogHeader): boolean {
  return header.selection === "all" && header.icounts;
}

/** What a chunk says of itself. */
export interface ChunkHeader {
  readonly records: number;
  readonly firstBrctr: number;
  readonly lastBrctr: number;
  readonly firstIcount: number;
  readonly lastIcount: number;
  /** Bytes of the events, and of the blocks of answers that follow them. */
  readonly eventsBytes: number;
  readonly blocksBytes: number;
  readonly symbols: number;
  /** Records of each kind, by code. */
  readonly kinds: readonly number[];
  readonly payloadCrc: number;
}

/** Where a chunk lies and begins. */
export interface IndexEntry {
  readonly firstBrctr: number;
  readonly firstIcount: number;
  readonly offset: number;
  readonly records: number;
}

/** What a whole log says at its end. */
export interface BranchLogTrailer {
  readonly indexOffset: number;
  readonly chunks: number;
  readonly records: number;
  /** Where logging ended: the brctr and icount of that instant. */
  readonly endBrctr: number;
  readonly endIcount: number;
  /** Records of each kind, by code. */
  readonly kinds: readonly number[];
}

/** The most bytes an honest payload of so many records has. */
export function mostPayloadBytes(records: number): number {
  return records * worstRecordBytes + 64;
}

/** Payload bytes of a chunk. */
export function payloadBytes(header: ChunkHeader): number {
  return header.eventsBytes + header.blocksBytes;
}

export function encodeFileHeader(header: BranchLogHeader): Uint8Array {
  const at = fileHeaderLayout;
  const bytes = new Uint8Array(at.size);
  const view = new DataView(bytes.buffer);
  putText(bytes, at.magic, 8, branchLogMagic);
  view.setUint32(at.version, branchLogVersion, true);
  view.setUint32(at.headerSize, at.size, true);
  bytes.set(uuidBytes(header.tape), at.tape);
  putText(bytes, at.arch, at.archSize, header.arch);
  putText(bytes, at.qemu, at.qemuSize, header.qemu);
  putCount(view, at.startBrctr, header.startBrctr);
  putCount(view, at.startIcount, header.startIcount);
  bytes[at.chunkBits] = header.chunkBits;
  bytes[at.selection] = branchSelections.indexOf(header.selection);
  bytes[at.flags] = header.icounts ? 0 : flagNoIcounts;
  return sealed(bytes, at.crc);
}

/**
 * Reads the first `fileHeaderLayout.size` bytes of a log.
 *
 * @param file named in errors
 * @throws `bad-file`: not a branch log, cut, damaged; `unsupported`: of another version
 */
export function decodeFileHeader(bytes: Uint8Array, file: string): BranchLogHeader {
  const at = fileHeaderLayout;
  if (bytes.length === 0) throw bad(file, "is empty", 0);
  if (!isBranchLog(bytes)) throw bad(file, "is not a branch log", 0);
  if (bytes.length < at.size)
    throw bad(file, `is cut inside its header, at byte ${bytes.length}`, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(at.version, true);
  if (version !== branchLogVersion) {
    const advice = version < branchLogVersion ? " (vmtape trace writes it anew from its tape)" : "";
    throw new VmtapeError(
      "unsupported",
      `${file} is a branch log of version ${version}; this vmtape reads version ${branchLogVersion}${advice}`,
      { file, offset: at.version, expected: String(branchLogVersion), got: String(version) },
    );
  }
  requireSeal(bytes, at.crc, file, 0, "its header is damaged");
  const chunkBits = bytes[at.chunkBits]!;
  const selection = branchSelections[bytes[at.selection]!];
  const startBrctr = getCount(view, at.startBrctr);
  const startIcount = getCount(view, at.startIcount);
  if (
    chunkBits < leastChunkBits ||
    chunkBits > mostChunkBits ||
    selection === undefined ||
    startBrctr === undefined ||
    startIcount === undefined ||
    view.getUint32(at.headerSize, true) !== at.size
  ) {
    throw bad(file, "has a header that makes no sense", 0);
  }
  return {
    tape: uuidText(bytes.subarray(at.tape, at.tape + 16)),
    arch: getText(bytes, at.arch, at.archSize),
    qemu: getText(bytes, at.qemu, at.qemuSize),
    startBrctr,
    startIcount,
    chunkBits,
    selection,
    icounts: (bytes[at.flags]! & flagNoIcounts) === 0,
  };
}

/** Do the first bytes (8 at least) say it is a branch log? */
export function isBranchLog(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && getText(bytes, 0, 8) === branchLogMagic;
}

export function encodeChunkHeader(header: ChunkHeader): Uint8Array {
  const at = chunkHeaderLayout;
  const bytes = new Uint8Array(at.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(at.magic, chunkMagic, true);
  view.setUint32(at.records, header.records, true);
  putCount(view, at.firstBrctr, header.firstBrctr);
  putCount(view, at.lastBrctr, header.lastBrctr);
  putCount(view, at.firstIcount, header.firstIcount);
  putCount(view, at.lastIcount, header.lastIcount);
  view.setUint32(at.eventsBytes, header.eventsBytes, true);
  view.setUint32(at.blocksBytes, header.blocksBytes, true);
  view.setUint32(at.symbols, header.symbols, true);
  for (const [code, count] of header.kinds.entries()) view.setUint32(at.kinds + 4 * code, count, true);
  view.setUint32(at.payloadCrc, header.payloadCrc, true);
  return sealed(bytes, at.crc);
}

/**
 * Reads a chunk's header and checks that it agrees with itself.
 *
 * @param offset where it lies in the file, for errors
 * @throws `bad-file`
 */
export function decodeChunkHeader(bytes: Uint8Array, file: string, offset: number): ChunkHeader {
  const at = chunkHeaderLayout;
  if (bytes.length < at.size) throw bad(file, `is cut inside a chunk header at byte ${offset}`, offset);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at.magic, true) !== chunkMagic) {
    throw bad(file, `has no chunk at byte ${offset} where one is expected`, offset);
  }
  requireSeal(bytes, at.crc, file, offset, `the chunk header at byte ${offset} is damaged`);
  const header = {
    records: view.getUint32(at.records, true),
    firstBrctr: getCount(view, at.firstBrctr) ?? -1,
    lastBrctr: getCount(view, at.lastBrctr) ?? -1,
    firstIcount: getCount(view, at.firstIcount) ?? -1,
    lastIcount: getCount(view, at.lastIcount) ?? -1,
    eventsBytes: view.getUint32(at.eventsBytes, true),
    blocksBytes: view.getUint32(at.blocksBytes, true),
    symbols: view.getUint32(at.symbols, true),
    kinds: branchKinds.map((_, code) => view.getUint32(at.kinds + 4 * code, true)),
    payloadCrc: view.getUint32(at.payloadCrc, true),
  };
  const kinds = header.kinds.reduce((sum, count) => sum + count, 0);
  if (
    header.records === 0 ||
    header.records > 2 ** mostChunkBits ||
    header.firstBrctr < 0 ||
    header.lastBrctr - header.firstBrctr + 1 < header.records ||
    header.lastBrctr - header.firstBrctr >= 2 ** mostChunkBits ||
    header.firstIcount < 0 ||
    header.lastIcount < header.firstIcount ||
    header.symbols > header.records ||
    kinds !== header.records ||
    payloadBytes(header) > mostPayloadBytes(header.records)
  ) {
    throw bad(file, `has a chunk header that makes no sense at byte ${offset}`, offset);
  }
  return header;
}

export function encodeIndexEntry(entry: IndexEntry): Uint8Array {
  const at = indexEntryLayout;
  const bytes = new Uint8Array(at.size);
  const view = new DataView(bytes.buffer);
  putCount(view, at.firstBrctr, entry.firstBrctr);
  putCount(view, at.firstIcount, entry.firstIcount);
  putCount(view, at.offset, entry.offset);
  view.setUint32(at.records, entry.records, true);
  return sealed(bytes, at.crc);
}

/** Reads an index entry; undefined when it is damaged. */
export function decodeIndexEntry(bytes: Uint8Array): IndexEntry | undefined {
  const at = indexEntryLayout;
  if (bytes.length < at.size) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const firstBrctr = getCount(view, at.firstBrctr);
  const firstIcount = getCount(view, at.firstIcount);
  const offset = getCount(view, at.offset);
  if (!isSealed(bytes, at.crc)) return undefined;
  if (firstBrctr === undefined || firstIcount === undefined || offset === undefined) return undefined;
  return { firstBrctr, firstIcount, offset, records: view.getUint32(at.records, true) };
}

export function encodeTrailer(trailer: BranchLogTrailer): Uint8Array {
  const at = trailerLayout;
  const bytes = new Uint8Array(at.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(at.magic, trailerMagic, true);
  view.setUint32(at.version, branchLogVersion, true);
  putCount(view, at.indexOffset, trailer.indexOffset);
  putCount(view, at.chunks, trailer.chunks);
  putCount(view, at.records, trailer.records);
  putCount(view, at.endBrctr, trailer.endBrctr);
  putCount(view, at.endIcount, trailer.endIcount);
  for (const [code, count] of trailer.kinds.entries()) putCount(view, at.kinds + 8 * code, count);
  return sealed(bytes, at.crc);
}

/** Reads the last `trailerLayout.size` bytes of a log; undefined when they are no whole trailer of one so long. */
export function decodeTrailer(bytes: Uint8Array, fileSize: number): BranchLogTrailer | undefined {
  const at = trailerLayout;
  if (bytes.length < at.size) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at.magic, true) !== trailerMagic || !isSealed(bytes, at.crc)) return undefined;
  const indexOffset = getCount(view, at.indexOffset);
  const chunks = getCount(view, at.chunks);
  const records = getCount(view, at.records);
  const endBrctr = getCount(view, at.endBrctr);
  const endIcount = getCount(view, at.endIcount);
  const kinds = branchKinds.map((_, code) => getCount(view, at.kinds + 8 * code) ?? 0);
  if (indexOffset === undefined || chunks === undefined || records === undefined) return undefined;
  if (endBrctr === undefined || endIcount === undefined) return undefined;
  if (indexOffset + chunks * indexEntryLayout.size + at.size !== fileSize) return undefined;
  return { indexOffset, chunks, records, endBrctr, endIcount, kinds };
}

/** Counts by code as an object that leaves out what did not occur. */
export function kindCounts(kinds: readonly number[]): Partial<Record<BranchKind, number>> {
  const named: Partial<Record<BranchKind, number>> = {};
  for (const [code, count] of kinds.entries()) if (count > 0) named[branchKinds[code]!] = count;
  return named;
}

function bad(file: string, why: string, offset: number): VmtapeError {
  return new VmtapeError("bad-file", `${file} ${why}`, { file, offset });
}

function putCount(view: DataView, offset: number, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 0)) throw new RangeError(`not a count: ${value}`);
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

/** A u64 as a number; undefined at 2^53 and above. */
function getCount(view: DataView, offset: number): number | undefined {
  const high = view.getUint32(offset + 4, true);
  return high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(offset, true) : undefined;
}

function putText(bytes: Uint8Array, offset: number, size: number, text: string): void {
  for (let i = 0; i < Math.min(size, text.length); i++) bytes[offset + i] = text.charCodeAt(i) & 0x7f;
}

/** Printable ASCII up to the first NUL; anything else becomes a dot. */
function getText(bytes: Uint8Array, offset: number, size: number): string {
  let text = "";
  for (let i = offset; i < offset + size && bytes[i] !== 0; i++) {
    text += bytes[i]! >= 0x20 && bytes[i]! < 0x7f ? String.fromCharCode(bytes[i]!) : ".";
  }
  return text;
}

function uuidBytes(uuid: string | undefined): Uint8Array {
  return new Uint8Array(Buffer.from((uuid ?? "").replaceAll("-", "").padEnd(32, "0").slice(0, 32), "hex"));
}

function uuidText(bytes: Uint8Array): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  const digits = Buffer.from(bytes).toString("hex");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function sealed(bytes: Uint8Array, crcAt: number): Uint8Array {
  new DataView(bytes.buffer).setUint32(crcAt, crc32(bytes.subarray(0, crcAt)), true);
  return bytes;
}

function isSealed(bytes: Uint8Array, crcAt: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint32(crcAt, true) === crc32(bytes.subarray(0, crcAt));
}

function requireSeal(bytes: Uint8Array, crcAt: number, file: string, offset: number, what: string): void {
  if (!isSealed(bytes, crcAt)) throw new VmtapeError("bad-file", `${file}: ${what}`, { file, offset });
}
