import { VmtapeError } from "../../base/errors.js";
import { noLinks } from "../../base/regular-file.js";
import { openSyncFile } from "../../base/sync-source.js";
import type { DiskBytes } from "../../formats/disk-bytes.js";
import { Ext4, type Ext4Inode, isExt4 } from "../../formats/ext4.js";
import { partitionsOf } from "../../formats/partitions.js";
import { openQcow2 } from "../../formats/qcow2-image.js";
import type { Tape } from "../../tape/tape.js";

/** A file on one of a tape's disks. */
export interface DiskFile {
  readonly bytes: DiskBytes;
  /** Its inode number has the guest's name for it. */
  readonly inode: number;
}

/**
 * The files on a tape's disks: as the guest left them, then as they were before the recording, so that what it installed and
 * what it removed are both found. Of ext2, ext3 and ext4, on whole disks and in partitions; others are not read. Nothing is
 * checked beyond what reading needs: whoever uses a file compares it with what the guest has in memory.
 *
 * The disks stay open as long as the tape is looked at.
 */
export class DiskFiles {
  private readonly tape: Tape;
  private opened: readonly Ext4[] | undefined;

  constructor(tape: Tape) {
    this.tape = tape;
  }

  /**
   * Regular files that may be meant by a path of the guest, the likeliest first. A path is taken from the root of each file
   * system, since where they are mounted is not known.
   *
   * @param inode the guest's number of it, where that is known: others do not count
   */
  *find(path: string, inode?: number): Generator<DiskFile> {
    this.opened ??= [...this.open()];
    for (const system of this.opened) {
      const found = orUndefined(() => this.lookUp(system, path, inode));
      const bytes = found?.kind === "file" ? orUndefined(() => system.open(found, path)) : undefined;
      if (found && bytes) yield { bytes, inode: found.number };
    }
  }

  private lookUp(system: Ext4, path: string, inode: number | undefined): Ext4Inode | undefined {
    const found = system.find(path);
    if (inode === undefined || found?.number === inode) return found;
    return undefined;
  }

  private *open(): Generator<Ext4> {
    for (const [i, { format }] of this.tape.manifest.machine.disks.entries()) {
      const { layout } = this.tape;
      const base = orUndefined(() => openDisk(layout.diskBase(i), format));
      if (!base) continue;
      const written = orUndefined(() => openQcow2(openSyncFile(layout.diskOverlay(i), noLinks), base));
      for (const disk of [written, base]) {
        if (!disk) continue;
        const parts = isExt4(disk) ? [disk] : (orUndefined(() => partitionsOf(disk)) ?? []);
        for (const part of parts) {
          const system = orUndefined(() => (isExt4(part) ? Ext4.open(part) : undefined));
          if (system) yield system;
        }
      }
    }
  }
}

function openDisk(path: string, format: "raw" | "qcow2"): DiskBytes {
  const file = openSyncFile(path, noLinks);
  return format === "raw" ? file : openQcow2(file);
}

/** What cannot be read is not there. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof VmtapeError) return undefined;
    throw error;
  }
}
