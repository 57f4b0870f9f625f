import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { crc32 } from "../../base/compression/checksum.js";
import { VmtapeError } from "../../base/errors.js";
import { openSyncFile, type SyncFile, type SyncSource } from "../../base/sync-source.js";
import { DwarfFile } from "../dwarf/file.js";
import { ElfFile, stringAt, viewOf } from "../elf/elf.js";

/**
 * Where the debug information of a program is: in the file itself, or in a separate file that the distribution ships
 * or `objcopy --only-keep-debug` made. Source: GDB manual, "Debugging Information in Separate Files"; for
 * `.gnu_debugaltlink` the documentation of dwz.
 */

/** Where distributions install separate debug files. */
export const systemDebugDirectories: readonly string[] = ["/usr/lib/debug"];

/** A file with debug information; `close` it. */
export interface DebugFile {
  readonly path: string;
  readonly elf: ElfFile;
  readonly dwarf: DwarfFile;
  close(): void;
}

const linkName = ".gnu_debuglink";
const altLinkName = ".gnu_debugaltlink";
/** No path or build id is longer. */
const longestLink = 64 << 10;
const pieceSize = 4 << 20;

/**
 * Opens the debug information of an ELF file: of the file itself, else of the file with its build id in
 * `DIRECTORY/.build-id/NN/NNN….debug`, else of the file that `.gnu_debuglink` names, beside it, in `.debug/` beside
 * it, or at its place below a debug directory, when its CRC-32 is the one stated.
 *
 * @param path where the ELF file is, if it is a file
 * @param notes gets what could not be used, in words for people
 * @returns undefined when there is none
 */
export function openDebugFile(
  elf: ElfFile,
  path: string | undefined,
  directories: readonly string[],
  notes: string[],
): DebugFile | undefined {
  const own = orNote(notes, () => DwarfFile.open(elf));
  if (own) {
    const close = openAlt(elf, own, path ?? elf.source.name, directories, notes);
    return { path: path ?? elf.source.name, elf, dwarf: own, close };
  }
  const { buildId } = elf;
  for (const candidate of buildIdPaths(buildId, directories)) {
    const found = openCandidate(candidate, directories, notes, (other) => other.buildId === buildId);
    if (found) return found;
  }
  const link = orNote(notes, () => readLink(elf));
  if (!link || path === undefined) return undefined;
  for (const candidate of linkPaths(path, link.name, directories)) {
    if (!existsSync(candidate) || isSameFile(candidate, path)) continue;
    const matches = (other: ElfFile) => {
      if (buildId !== undefined && other.buildId === buildId) return true;
      if (crcOf(other.source) === link.crc) return true;
      notes.push(`${candidate} is not the debug file of ${path}: its checksum is another`);
      return false;
    };
    const found = openCandidate(candidate, directories, notes, matches);
    if (found) return found;
  }
  return undefined;
}

/** The places of the debug file of a build id. */
export function buildIdPaths(buildId: string | undefined, directories: readonly string[]): string[] {
  if (!buildId || buildId.length < 4) return [];
  return directories.map((directory) =>
    join(directory, ".build-id", buildId.slice(0, 2), `${buildId.slice(2)}.debug`),
  );
}

function linkPaths(path: string, name: string, directories: readonly string[]): string[] {
  const beside = dirname(realpath(path));
  return [
    join(beside, name),
    join(beside, ".debug", name),
    ...directories.map((directory) => join(directory, beside, name)),
  ];
}

/** `.gnu_debuglink`: a file name, NUL, zeros up to a multiple of 4, and a CRC-32. */
function readLink(elf: ElfFile): { readonly name: string; readonly crc: number } | undefined {
  const section = elf.section(linkName);
  if (!section || section.size > longestLink) return undefined;
  const bytes = elf.contents(section);
  const name = stringAt(bytes, 0);
  const at = Math.ceil((Buffer.byteLength(name) + 1) / 4) * 4;
  if (name === "" || at + 4 > bytes.length) return undefined;
  // A name, not a path: nothing outside the places looked in is opened.
  return { name: basename(name), crc: viewOf(bytes).getUint32(at, true) };
}

function openCandidate(
  path: string,
  directories: readonly string[],
  notes: string[],
  matches: (elf: ElfFile) => boolean,
): DebugFile | undefined {
  if (!existsSync(path)) return undefined;
  return orNote(notes, () => {
    const source = openSyncFile(path);
    try {
      const elf = ElfFile.open(source);
      const dwarf = matches(elf) ? DwarfFile.open(elf) : undefined;
      if (dwarf) {
        const closeAlt = openAlt(elf, dwarf, path, directories, notes);
        return {
          path,
          elf,
          dwarf,
          close: () => {
            closeAlt();
            source.close();
          },
        };
      }
    } catch (error) {
      source.close();
      throw error;
    }
    source.close();
    return undefined;
  });
}

/** Opens the file that dwz moved shared parts to, if there is one. Gives back what closes it. */
function openAlt(
  elf: ElfFile,
  dwarf: DwarfFile,
  path: string,
  directories: readonly string[],
  notes: string[],
): () => void {
  const section = elf.section(altLinkName);
  if (!section || section.size > longestLink) return () => {};
  const close = orNote(notes, () => {
    const bytes = elf.contents(section);
    const name = stringAt(bytes, 0);
    const buildId = Buffer.from(bytes.subarray(Buffer.byteLength(name) + 1)).toString("hex");
    const candidates = [resolve(dirname(realpath(path)), name), ...buildIdPaths(buildId, directories)];
    for (const candidate of candidates) {
      const file = existsSync(candidate) ? openSyncFile(candidate) : undefined;
      const alt = file && openAltFile(file, buildId);
      if (!file || !alt) continue;
      alt.isShared = true;
      dwarf.alt = alt;
      return () => file.close();
    }
    notes.push(
      `${path} shares names and types with ${candidates[0]}, which is not there or is another file: they are left out`,
    );
    return undefined;
  });
  return close ?? (() => {});
}

function openAltFile(file: SyncFile, buildId: string): DwarfFile | undefined {
  try {
    const elf = ElfFile.open(file);
    const alt = elf.buildId === buildId ? DwarfFile.open(elf) : undefined;
    if (alt) return alt;
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return undefined;
}

/** CRC-32 of a whole file, about 1 GB/s. */
function crcOf(source: SyncSource): number {
  let crc = 0;
  for (let at = 0; at < source.size; at += pieceSize) {
    crc = crc32(source.read(at, Math.min(pieceSize, source.size - at)), crc);
  }
  return crc;
}

function isSameFile(a: string, b: string): boolean {
  return realpath(a) === realpath(b);
}

function realpath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/** What cannot be read is noted. */
function orNote<T>(notes: string[], open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof VmtapeError)) throw error;
    notes.push(error.message);
    return undefined;
  }
}
