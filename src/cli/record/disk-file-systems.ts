import { dirname, resolve } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import { openSyncFile, type SyncFile } from "../../base/sync-source.js";
import type { DiskBytes } from "../../formats/disk-bytes.js";
import { type FileSystem, fileSystemsOn } from "../../formats/file-systems.js";
import { decodeQcow2Head, isQcow2, qcow2HeadBytes } from "../../formats/qcow2.js";
import { openQcow2 } from "../../formats/qcow2-image.js";
import type { DiskChoice } from "../../tape/record-options.js";

/** The most backing files that are followed, each to the next. */
const mostLayers = 16;

/**
 * The file systems on the disks that the user named, so that the guest gets the modules to mount them. An image that
 * cannot be read has none here; the recording reports what is wrong with it.
 */
export function diskFileSystems(disks: readonly DiskChoice[]): FileSystem[] {
  const found = new Set<FileSystem>();
  for (const disk of disks) {
    const open: SyncFile[] = [];
    try {
      for (const one of fileSystemsOn(openImage(disk.path, disk.format, open))) found.add(one);
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
    } finally {
      for (const file of open) file.close();
    }
  }
  return [...found].sort();
}

function openImage(path: string, format: DiskChoice["format"], open: SyncFile[]): DiskBytes {
  const file = openSyncFile(path);
  open.push(file);
  const head = file.read(0, Math.min(file.size, 112));
  if (format === "raw" || !isQcow2(head) || open.length > mostLayers) return file;
  if (!decodeQcow2Head(head.subarray(0, qcow2HeadBytes), path).hasBackingFile) return openQcow2(file);
  // Source: QEMU, docs/interop/qcow2.txt: the name's offset at 8, its length at 16.
  const fields = new DataView(head.buffer, head.byteOffset, head.length);
  const name = Buffer.from(file.read(Number(fields.getBigUint64(8)), fields.getUint32(16))).toString();
  return openQcow2(file, openImage(resolve(dirname(path), name), undefined, open));
}
