import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "../../base/compression/checksum.js";
import { noLinks, readRegularSync } from "../../base/regular-file.js";

/**
 * A file of typed arrays: what was derived from a program once, kept for the next time. It is a cache: a file that is
 * damaged, of another version or of another key is as good as none.
 *
 * ```
 * 0   8  magic "VMTCOLS\n"
 * 8   4  version, in the machine's own byte order, as are all columns
 * 12  4  length of the header
 * 16  4  CRC-32 of the header
 * 20  4  zero
 * 24  n  header, JSON: kind, key, facts, and of each column name, type, offset (a multiple of 8), count, CRC-32
 * …      the columns
 * ```
 */
const layout = { magic: "VMTCOLS\n", version: 8, headerLength: 12, headerCrc: 16, header: 24 } as const;
/** Raised whenever the columns' meaning changes. */
const version = 3;
const longestHeader = 1 << 20;

const types = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f64: Float64Array,
} as const;
type TypeName = keyof typeof types;
export type Column = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

interface ColumnEntry {
  readonly name: string;
  readonly type: TypeName;
  readonly offset: number;
  readonly count: number;
  readonly crc: number;
}

interface Header {
  readonly kind: string;
  readonly key: string;
  readonly facts: unknown;
  readonly columns: readonly ColumnEntry[];
}

/** What a column file holds. */
export interface Columns {
  /** Anything small that JSON can hold. */
  readonly facts: unknown;
  readonly columns: ReadonlyMap<string, Column>;
}

/** All files of a cache directory together; the ones not used for longest go first. */
const largestCache = 2 ** 30;
const suffix = ".columns";

/** The path of a column file in a cache directory. */
export function columnPath(directory: string, name: string): string {
  return join(directory, `${name}${suffix}`);
}

/**
 * Reads a column file of this kind and key. The arrays are views of one buffer.
 *
 * Cost: reading, and a checksum at about 1 GB/s.
 *
 * @returns undefined when there is none that can be used
 */
export function readColumns(file: string, kind: string, key: string): Columns | undefined {
  let bytes: Buffer;
  try {
    bytes = readRegularSync(file, noLinks);
  } catch {
    return undefined;
  }
  const result = decodeColumns(bytes, kind, key);
  if (result) touch(file);
  return result;
}

/** As `readColumns`, of bytes in memory. */
export function decodeColumns(bytes: Uint8Array, kind: string, key: string): Columns | undefined {
  if (bytes.length < layout.header) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (Buffer.from(bytes.subarray(0, layout.version)).toString("latin1") !== layout.magic) return undefined;
  if (
    new Uint32Array(Uint8Array.from(bytes.subarray(layout.version, layout.version + 4)).buffer)[0] !== version
  )
    return undefined;
  const length = view.getUint32(layout.headerLength, true);
  if (length > longestHeader || layout.header + length > bytes.length) return undefined;
  const text = bytes.subarray(layout.header, layout.header + length);
  if (crc32(text) !== view.getUint32(layout.headerCrc, true)) return undefined;
  const header = JSON.parse(Buffer.from(text).toString("utf8")) as Header;
  if (header.kind !== kind || header.key !== key) return undefined;
  const columns = new Map<string, Column>();
  for (const { name, type, offset, count, crc } of header.columns) {
    const make = types[type];
    const end = offset + count * make.BYTES_PER_ELEMENT;
    if (end > bytes.length) return undefined;
    const part = bytes.subarray(offset, end);
    if (crc32(part) !== crc) return undefined;
    const isAligned = part.byteOffset % make.BYTES_PER_ELEMENT === 0;
    columns.set(
      name,
      isAligned
        ? new make(part.buffer as ArrayBuffer, part.byteOffset, count)
        : new make(new Uint8Array(part).buffer, 0, count),
    );
  }
  return { facts: header.facts, columns };
}

/**
 * Writes a column file under another name, and gives it its own when it is whole. Makes room in its directory when
 * that has grown too large. What cannot be written (a full disk, a directory of somebody else) is not kept.
 *
 * @returns whether it was kept
 */
export function writeColumns(
  file: string,
  kind: string,
  key: string,
  facts: unknown,
  columns: Readonly<Record<string, Column>>,
): boolean {
  const temporary = `${file}.${process.pid}-${Math.random().toString(36).slice(2)}.tmp`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeAll(temporary, encodeColumns(kind, key, facts, columns));
    renameSync(temporary, file);
  } catch {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // A part of the path is no directory: then there is no file either.
    }
    return false;
  }
  prune(dirname(file), file);
  return true;
}

/** The pieces of a column file, in their order. */
export function encodeColumns(
  kind: string,
  key: string,
  facts: unknown,
  columns: Readonly<Record<string, Column>>,
): Uint8Array[] {
  const parts = Object.entries(columns).map(([name, column]) => {
    const bytes = new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
    return { name, type: typeOf(column), count: column.length, bytes, crc: crc32(bytes) };
  });
  // Offsets depend on the header's length and stand in the header: count from its end, then shift by a fixed room.
  const room = pad(JSON.stringify({ kind, key, facts }).length * 3 + parts.length * 160 + 256);
  let offset = layout.header + room;
  const entries: ColumnEntry[] = parts.map(({ name, type, count, bytes, crc }) => {
    const at = offset;
    offset += pad(bytes.length);
    return { name, type, offset: at, count, crc };
  });
  const text = Buffer.from(JSON.stringify({ kind, key, facts, columns: entries } satisfies Header));
  const head = Buffer.alloc(layout.header + room);
  head.write(layout.magic, 0, "latin1");
  head.set(new Uint8Array(Uint32Array.of(version).buffer), layout.version);
  head.writeUInt32LE(text.length, layout.headerLength);
  head.writeUInt32LE(crc32(text), layout.headerCrc);
  head.set(text, layout.header);
  return [head, ...parts.flatMap(({ bytes }) => [bytes, new Uint8Array(pad(bytes.length) - bytes.length)])];
}

function pad(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function typeOf(column: Column): TypeName {
  const [name] = Object.entries(types).find(([, type]) => column instanceof type)!;
  return name as TypeName;
}

function writeAll(file: string, parts: readonly Uint8Array[]): void {
  const descriptor = openSync(file, "wx", 0o600);
  try {
    for (const part of parts) {
      for (let done = 0; done < part.length; ) done += writeSync(descriptor, part, done);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Remembers that a file was used: the cache keeps what was used last. */
function touch(file: string): void {
  try {
    const now = new Date();
    utimesSync(file, now, now);
  } catch {
    // Of somebody else: then others decide what is kept.
  }
}

function prune(directory: string, newest: string): void {
  try {
    const files = readdirSync(directory)
      .filter((name) => name.endsWith(suffix))
      .map((name) => {
        const path = join(directory, name);
        const { size, mtimeMs } = statSync(path);
        return { path, size, mtimeMs };
      })
      .sort((a, b) => b.mtimeMs - a.mtimeMs);
    let total = 0;
    for (const { path, size } of files) {
      total += size;
      if (total > largestCache && path !== newest) rmSync(path, { force: true });
    }
  } catch {
    // Somebody else is cleaning up too.
  }
}
