import { sealLines, unsealLines } from "./sealed-lines.js";

/**
 * `checkpoint.json`: what a checkpoint's directory holds (docs/FORMATS.md, "Checkpoint"). One line of JSON and its
 * seal. Another version is not read: a cache is made again.
 */
export interface CheckpointFacts {
  /** Instructions executed. */
  readonly icount: number;
  /** Branch records, those of `delivered` too; absent when they were not counted. */
  readonly brctr?: number;
  /** Interrupts and faults delivered at this very icount, counted in `brctr`. */
  readonly delivered: number;
  /** Iterations done of the `rep` instruction that is next. */
  readonly rep: number;
  /** SHA-256 of the QEMU program that made it, and alone can load it. */
  readonly build: string;
  /** When it was made: milliseconds since 1970. */
  readonly made: number;
  /** Bytes the files take on disk. */
  readonly stored: number;
  readonly files: Readonly<Record<string, StoredContent>>;
  /** When the files were last known to be whole. */
  readonly seen: SeenFiles;
}

export interface StoredContent {
  readonly bytes: number;
  /** See `hashSparse`: SHA-256 of what is not zero, and of where it is. */
  readonly sha256: string;
}

/**
 * Files that were whole: as long as the host has not been started again (a crash may lose what was written) and the
 * kernel's stamps have not moved, they still are.
 */
export interface SeenFiles {
  /** The kernel's boot id. */
  readonly boot: string;
  /** A file's `inode mtime ctime`, in nanoseconds. */
  readonly stamps: Readonly<Record<string, string>>;
}

const format = "vmtape-checkpoint";
const version = 1;
/** A longer file is none of ours. */
export const longestCheckpointFacts = 64 << 10;

export function encodeCheckpointFacts(facts: CheckpointFacts): string {
  return sealLines(`${JSON.stringify({ format, version, ...facts })}\n`);
}

/** Undefined for anything that {@link encodeCheckpointFacts} did not write. */
export function decodeCheckpointFacts(text: string): CheckpointFacts | undefined {
  const line = unsealLines(text);
  if (line === undefined) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isRecord(read) || read.format !== format || read.version !== version) return undefined;
  const { format: _, version: __, ...facts } = read;
  return isFacts(facts) ? facts : undefined;
}

function isFacts(read: Record<string, unknown>): read is Record<string, unknown> & CheckpointFacts {
  const { icount, brctr, delivered, rep, build, made, stored, files, seen } = read;
  return (
    [icount, delivered, rep, made, stored].every(isCount) &&
    (brctr === undefined || isCount(brctr)) &&
    typeof build === "string" &&
    isRecord(files) &&
    Object.values(files).every(
      (file) => isRecord(file) && isCount(file.bytes) && typeof file.sha256 === "string",
    ) &&
    isRecord(seen) &&
    typeof seen.boot === "string" &&
    isRecord(seen.stamps) &&
    Object.values(seen.stamps).every((stamp) => typeof stamp === "string")
  );
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
