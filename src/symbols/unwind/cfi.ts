import { VmtapeError } from "../../base/errors.js";
import type { AddressKey } from "../tables/address.js";
import { cfiEntry, pointerEncoding } from "./cfi-layout.js";
import { CfiReader, type PointerBases } from "./cfi-reader.js";

/** A section of call frame information. */
export interface CfiSection {
  readonly bytes: Uint8Array;
  /** Address key of its first byte, as linked. */
  readonly address: AddressKey;
  /** `eh`: .eh_frame. `debug`: .debug_frame. */
  readonly flavor: "eh" | "debug";
  readonly bases: PointerBases;
}

/** What the frame descriptions of one compilation have in common (CIE). */
export interface CommonInformation {
  readonly codeAlignment: number;
  readonly dataAlignment: number;
  /** The column of the return address: 16 on x86-64. */
  readonly returnColumn: number;
  /** Its functions are called by the kernel for a signal: their caller was interrupted. */
  readonly isSignal: boolean;
  /** FDEs have augmentation data with a length in front. */
  readonly hasAugmentation: boolean;
  readonly pointerEncoding: number;
  readonly instructions: CfiReader;
}

/** How to unwind a stretch of addresses (FDE). */
export interface FrameDescription {
  readonly common: CommonInformation;
  /** First address key, and the first one after it. */
  readonly start: AddressKey;
  readonly end: AddressKey;
  readonly instructions: CfiReader;
}

/** An entry's place in its section. */
export interface CfiEntry {
  /** Offset after the length. */
  readonly body: number;
  /** Offset after the last byte. */
  readonly end: number;
  readonly is64: boolean;
  /** Offset of its CIE; undefined when it is one itself. */
  readonly common: number | undefined;
  /** Offset of what follows the id. */
  readonly contents: number;
}

/**
 * The entry at an offset.
 *
 * @returns undefined at the end mark
 * @throws VmtapeError `bad-file` when it leaves the section
 */
export function entryAt({ bytes, flavor }: CfiSection, offset: number): CfiEntry | undefined {
  const reader = new CfiReader(bytes, offset);
  let length = reader.u32();
  if (length === cfiEntry.endLength && flavor === "eh") return undefined;
  const is64 = length === cfiEntry.longLength;
  if (is64) length = reader.u64();
  const body = reader.at;
  const end = body + length;
  if (!(end <= bytes.length)) {
    throw new VmtapeError("bad-file", `an entry of frame information at ${offset} leaves its section`, {
      offset,
      length,
    });
  }
  if (length < 4) return { body, end, is64, common: undefined, contents: end };
  const idAt = reader.at;
  let common: number | undefined;
  if (flavor === "eh") {
    const back = reader.u32();
    common = back === 0 ? undefined : idAt - back;
  } else if (is64) {
    const [low, high] = [reader.u32(), reader.u32()];
    const isCommon = low === cfiEntry.cieIdDebug && high === cfiEntry.cieIdDebug;
    common = isCommon ? undefined : high * 2 ** 32 + low;
  } else {
    const id = reader.u32();
    common = id === cfiEntry.cieIdDebug ? undefined : id;
  }
  return { body, end, is64, common, contents: reader.at };
}

/**
 * The common information at an offset.
 *
 * @throws VmtapeError `bad-file` when it is none, `unsupported` for a version or augmentation that is not known
 */
export function commonAt(section: CfiSection, offset: number): CommonInformation {
  const entry = offset >= 0 && offset < section.bytes.length ? entryAt(section, offset) : undefined;
  if (!entry || entry.common !== undefined) {
    throw new VmtapeError("bad-file", `there is no common frame information at ${offset}`, { offset });
  }
  const reader = new CfiReader(section.bytes, entry.contents, entry.end);
  const version = reader.u8();
  if (version !== 1 && version !== 3 && version !== 4) {
    throw new VmtapeError("unsupported", `frame information of version ${version} is not known`, { version });
  }
  const augmentation = reader.text();
  if (version === 4) {
    const [addressSize, segmentSize] = [reader.u8(), reader.u8()];
    if (addressSize !== 8 || segmentSize !== 0) {
      throw new VmtapeError("unsupported", `frame information for addresses of ${addressSize} bytes`, {
        addressSize,
      });
    }
  }
  if (augmentation === "eh") reader.skip(8); // GCC 2: a pointer to exception data
  const codeAlignment = reader.uleb();
  const dataAlignment = reader.sleb();
  const returnColumn = version === 1 ? reader.u8() : reader.uleb();
  const extra = readAugmentation(augmentation, reader, section.bases);
  return {
    codeAlignment,
    dataAlignment,
    returnColumn,
    ...extra,
    instructions: new CfiReader(section.bytes, reader.at, entry.end),
  };
}

/** Letters after "z" may be passed over when they are not known: the length of their data is. */
function readAugmentation(text: string, reader: CfiReader, bases: PointerBases) {
  const result = {
    isSignal: false,
    hasAugmentation: false,
    pointerEncoding: pointerEncoding.absolute as number,
  };
  if (text === "" || text === "eh") return result;
  if (!text.startsWith("z")) {
    throw new VmtapeError("unsupported", `frame information is augmented by '${text}', which is not known`, {
      augmentation: text,
    });
  }
  result.hasAugmentation = true;
  const length = reader.uleb();
  const end = reader.at + length;
  for (const letter of text.slice(1)) {
    if (letter === "R") result.pointerEncoding = reader.u8();
    else if (letter === "S") result.isSignal = true;
    else if (letter === "L") reader.u8();
    else if (letter === "P") reader.pointer(reader.u8(), bases);
    else if (letter !== "B" && letter !== "G") break;
  }
  if (end < reader.at || end > reader.end) {
    throw new VmtapeError("bad-file", "augmentation data of frame information leaves its entry", { length });
  }
  reader.at = end;
  return result;
}

/**
 * A frame description.
 *
 * @param common the reader of common information, which may remember it
 * @throws VmtapeError as `commonAt`
 */
export function descriptionOf(
  section: CfiSection,
  entry: CfiEntry,
  common: (offset: number) => CommonInformation,
): FrameDescription {
  if (entry.common === undefined) {
    throw new VmtapeError("bad-file", `there is no frame description at ${entry.body}`, {
      offset: entry.body,
    });
  }
  const shared = common(entry.common);
  const reader = new CfiReader(section.bytes, entry.contents, entry.end);
  const start = reader.pointer(shared.pointerEncoding, section.bases);
  const length = reader.pointer(shared.pointerEncoding & pointerEncoding.formatMask, section.bases);
  if (shared.hasAugmentation) reader.skip(reader.uleb());
  return {
    common: shared,
    start,
    end: start + Math.max(0, length),
    instructions: new CfiReader(section.bytes, reader.at, entry.end),
  };
}
