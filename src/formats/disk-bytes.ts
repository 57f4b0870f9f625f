import { VmtapeError } from "../base/errors.js";

/** The bytes of a disk, a partition or a file on one. Answers at once: readers follow one small structure to the next. */
export interface DiskBytes {
  /** The name used in errors. */
  readonly name: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * The bytes `[offset, offset + length)`; a view or a copy, not to be written to.
   *
   * @throws VmtapeError `bad-file` when the range leaves the disk
   */
  read(offset: number, length: number): Uint8Array;
}

/** A part of a disk as one of its own. */
export function diskPart(disk: DiskBytes, name: string, start: number, size: number): DiskBytes {
  requireRange(disk, start, size);
  const part: DiskBytes = {
    name,
    size,
    read(offset, length) {
      requireRange(part, offset, length);
      return disk.read(start + offset, length);
    },
  };
  return part;
}

/** @throws VmtapeError `bad-file` when the range leaves the disk */
export function requireRange({ name, size }: DiskBytes, offset: number, length: number): void {
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (fits && offset + length <= size) return;
  throw new VmtapeError(
    "bad-file",
    `${name} ends at byte ${size}, but ${length} bytes were expected at ${offset}`,
    { file: name, offset, length: size },
  );
}

/** A view for reading fields. */
export function fieldsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
