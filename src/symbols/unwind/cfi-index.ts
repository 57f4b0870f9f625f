import { VmtapeError } from "../../base/errors.js";
import type { AddressKey } from "../tables/address.js";
import {
  type CfiSection,
  type CommonInformation,
  commonAt,
  descriptionOf,
  entryAt,
  type FrameDescription,
} from "./cfi.js";
import { frameHeader, pointerEncoding } from "./cfi-layout.js";
import { CfiReader } from "./cfi-reader.js";

/** More common information than this in one section is forgotten again: a hostile file could have millions. */
const mostRemembered = 4096;

/** Finds the frame description of an address in one section. */
export class CfiIndex {
  private readonly section: CfiSection;
  private readonly header: HeaderTable | undefined;
  private readonly commons = new Map<number, CommonInformation>();
  private scanned: Scan | undefined;

  /** @param header the `.eh_frame_hdr` of the section, which has a table to search; it is believed only as it fits */
  constructor(section: CfiSection, header?: { readonly bytes: Uint8Array; readonly address: AddressKey }) {
    this.section = section;
    this.header = header && readHeader(header.bytes, header.address, section);
  }

  /**
   * The description of an address; undefined when there is none. Cost: a binary search; without a header the first call
   * walks the section (0.1 s for 10 MB).
   *
   * @throws VmtapeError when the one found is damaged
   */
  find(address: AddressKey): FrameDescription | undefined {
    const offset = this.header ? this.header.offsetOf(address) : this.scan().offsetOf(address);
    if (offset === undefined) return undefined;
    const found = this.describe(offset);
    return found && address >= found.start && address < found.end ? found : undefined;
  }

  /** All descriptions that can be read, in the order of the section. */
  *descriptions(): Generator<FrameDescription> {
    for (const offset of entryOffsets(this.section)) {
      const found = orUndefined(() => this.describe(offset));
      if (found) yield found;
    }
  }

  private describe(offset: number): FrameDescription | undefined {
    const entry = entryAt(this.section, offset);
    if (!entry || entry.common === undefined) return undefined;
    return descriptionOf(this.section, entry, (at) => this.common(at));
  }

  private common(offset: number): CommonInformation {
    let common = this.commons.get(offset);
    if (!common) {
      common = commonAt(this.section, offset);
      if (this.commons.size >= mostRemembered) this.commons.clear();
      this.commons.set(offset, common);
    }
    return common;
  }

  private scan(): Scan {
    this.scanned ??= scanSection(this.section, (offset) => orUndefined(() => this.describe(offset)));
    return this.scanned;
  }
}

/** Offsets of all entries up to the end mark or the first damaged one. */
function* entryOffsets(section: CfiSection): Generator<number> {
  for (let offset = 0; offset + 4 <= section.bytes.length; ) {
    const entry = orUndefined(() => entryAt(section, offset));
    if (!entry) return;
    yield offset;
    offset = entry.end;
  }
}

interface Scan {
  offsetOf(address: AddressKey): number | undefined;
}

function scanSection(section: CfiSection, describe: (offset: number) => FrameDescription | undefined): Scan {
  const starts: number[] = [];
  const offsets: number[] = [];
  for (const offset of entryOffsets(section)) {
    const found = describe(offset);
    // A function that the linker dropped keeps its description, at address 0.
    if (!found || found.end <= found.start || found.start === 0) continue;
    starts.push(found.start);
    offsets.push(offset);
  }
  const order = Uint32Array.from(starts, (_, i) => i).sort((a, b) => starts[a]! - starts[b]! || a - b);
  const keys = Float64Array.from(order, (i) => starts[i]!);
  return {
    offsetOf(address) {
      const at = lastAtOrBefore(keys.length, (i) => keys[i]!, address);
      return at < 0 ? undefined : offsets[order[at]!];
    },
  };
}

interface HeaderTable extends Scan {
  readonly count: number;
}

/** Only the sorted tables of 4-byte, header-relative pairs are searched, which is what every linker writes. */
function readHeader(bytes: Uint8Array, address: AddressKey, section: CfiSection): HeaderTable | undefined {
  return orUndefined(() => {
    const reader = new CfiReader(bytes);
    const bases = { section: address, data: address };
    const [version, frameEncoding, countEncoding, tableEncoding] = [
      reader.u8(),
      reader.u8(),
      reader.u8(),
      reader.u8(),
    ];
    if (version !== frameHeader.version || tableEncoding !== frameHeader.tableSorted) return undefined;
    if (frameEncoding === pointerEncoding.omit || countEncoding === pointerEncoding.omit) return undefined;
    if (reader.pointer(frameEncoding, bases) !== section.address) return undefined;
    const count = reader.pointer(countEncoding, bases);
    const table = reader.at;
    if (!(count > 0 && table + count * 8 <= bytes.length)) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + table, count * 8);
    return {
      count,
      offsetOf(key) {
        const at = lastAtOrBefore(count, (i) => address + view.getInt32(i * 8, true), key);
        if (at < 0) return undefined;
        const offset = address + view.getInt32(at * 8 + 4, true) - section.address;
        return offset >= 0 && offset < section.bytes.length ? offset : undefined;
      },
    };
  });
}

function lastAtOrBefore(count: number, keyAt: (index: number) => number, key: number): number {
  let low = -1;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (keyAt(middle) <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}
