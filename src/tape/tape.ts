import { randomUUID } from "node:crypto";
import { lstat, open, rename, rm, rmdir } from "node:fs/promises";
import { basename } from "node:path";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { noLinks, readRegular, requireRegular } from "../base/regular-file.js";
import { type Icount, icount } from "../base/units.js";
import {
  decodeManifest,
  encodeManifest,
  longestManifest,
  type Manifest,
  type ManifestEnd,
} from "../formats/manifest.js";
import type { Machine } from "../qemu/machine.js";
import { removeDeadSocket } from "./control.js";
import { type Places, tapeDirectory } from "./home.js";
import { TapeLayout } from "./layout.js";
import { FileLock } from "./lock.js";
import { checkShape } from "./shape.js";

/** `recording`: a process is writing it. `interrupted`: its writer died before the end; `repair` completes it. */
export type TapeState = "recording" | "complete" | "interrupted";

/** One recording: a directory with a manifest. The object has the manifest as it was when the tape was opened. */
export class Tape {
  readonly layout: TapeLayout;
  readonly manifest: Manifest;
  readonly state: TapeState;

  /** The tape's name. Default: the name of its directory. */
  readonly name: string;

  constructor(directory: string, manifest: Manifest, state: TapeState, name = basename(directory)) {
    this.name = name;
    this.layout = new TapeLayout(directory);
    this.manifest = manifest;
    this.state = state;
  }

  /**
   * Opens tape `name` of the home, or the one in `directory`.
   *
   * @throws `no-such-tape`, `bad-name`, `bad-manifest`, `tape-unfinished` (a recording that never began), `bad-file` when
   *   something else lies in the place of one of its files
   */
  static open(places: Places, name: string, directory?: string): Promise<Tape> {
    return Tape.openDirectory(tapeDirectory(places, name, directory), name);
  }

  /** Opens the tape in `directory`; `name` is used in errors. */
  static async openDirectory(directory: string, name = basename(directory)): Promise<Tape> {
    const layout = new TapeLayout(directory);
    const manifest = await readTapeManifest(directory, name);
    await checkShape(layout, manifest);
    if (manifest.end) return new Tape(directory, manifest, "complete", name);
    if (await FileLock.isHeld(layout.lock)) return new Tape(directory, manifest, "recording", name);
    // A recorder writes the end and then releases the lock. Both may have happened since the manifest was read.
    const now = await readTapeManifest(directory, name);
    return new Tape(directory, now, now.end ? "complete" : "interrupted", name);
  }

  get directory(): string {
    return this.layout.directory;
  }

  /** The last instant of a complete tape. */
  get end(): ManifestEnd & { readonly at: Icount } {
    const { end } = this.manifest;
    if (!end) throw this.unfinished();
    return { ...end, at: icount(end.icount) };
  }

  /** The machine, with the tape's own copies of its files and the disks as they were before the recording. */
  get machine(): Machine {
    const { machine } = this.manifest;
    return {
      memoryMB: machine.memoryMB,
      cpu: machine.cpu,
      append: machine.append,
      kernel: this.layout.kernel,
      ...(machine.initrd && { initrd: this.layout.initrd }),
      disks: machine.disks.map((disk, i) => ({ file: this.layout.diskBase(i), format: disk.format })),
      network: machine.network,
      ...(machine.networkSends && { networkSends: machine.networkSends }),
      firmware: this.layout.firmware,
    };
  }

  /** Throws unless the tape is complete. */
  requireComplete(): void {
    if (this.state === "recording") {
      throw new VmtapeError("tape-busy", `tape '${this.name}' is being recorded`, { file: this.directory });
    }
    if (this.state === "interrupted") throw this.unfinished();
  }

  private unfinished(): VmtapeError {
    return new VmtapeError(
      "tape-unfinished",
      `tape '${this.name}' was interrupted before its recording was complete`,
      {
        file: this.directory,
        mend: `vmtape repair ${this.name}`,
      },
    );
  }
}

/**
 * Reads the manifest of the tape in `directory`; its other files are not looked at.
 *
 * @throws `no-such-tape`, `bad-manifest`, `tape-unfinished` (a recording that never began)
 */
export async function readTapeManifest(directory: string, name = basename(directory)): Promise<Manifest> {
  const layout = new TapeLayout(directory);
  return decodeManifest(await readManifest(layout, name), layout.manifest);
}

async function readManifest(layout: TapeLayout, name: string): Promise<Uint8Array> {
  const missing = () =>
    new VmtapeError("no-such-tape", `there is no tape '${name}' (looked in ${layout.directory})`, {
      file: layout.directory,
    });
  try {
    const facts = await lstat(layout.manifest);
    requireRegular(facts, layout.manifest);
    if (facts.size > longestManifest) {
      throw new VmtapeError(
        "bad-manifest",
        `${layout.manifest} is longer than ${longestManifest} bytes: it is no manifest`,
        {
          file: layout.manifest,
        },
      );
    }
    return await readRegular(layout.manifest, noLinks);
  } catch (error) {
    if (errnoOf(error) === "ENOTDIR") throw missing();
    if (errnoOf(error) !== "ENOENT") throw fileError(error, layout.manifest, "reading");
    const begun = await lstat(layout.lock).catch(() => undefined);
    if (!begun) throw missing();
    throw new VmtapeError(
      "tape-unfinished",
      `the recording of tape '${name}' never began: it holds nothing`,
      {
        file: layout.directory,
        mend: `vmtape destroy ${name}`,
      },
    );
  }
}

/** Writes the manifest so that a reader sees the old one or the new one, never a part. */
export async function writeManifest(layout: TapeLayout, manifest: Manifest): Promise<void> {
  const temporary = `${layout.manifest}.new`;
  try {
    await rm(temporary, { force: true }); // a killed writer may have left it, or it is a stranger's link
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(encodeManifest(manifest));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, layout.manifest);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(error, layout.manifest, "writing");
  }
}

/** A new tape's id. */
export function newTapeId(): string {
  return randomUUID();
}

/**
 * Removes a tape: exactly the files of which a tape consists, then its directory. FIFOs, devices, sockets and links
 * at the paths of its files are removed, too, without being opened. When there is a directory at such a path, nothing
 * is removed.
 *
 * @param places for the socket that a killed recorder may have left
 * @throws `tape-busy` when it is being written; `no-such-tape`; `bad-file` when foreign files are left over
 */
export async function destroyTape(
  directory: string,
  name = basename(directory),
  places?: Places,
): Promise<void> {
  const layout = new TapeLayout(directory);
  const [manifest, lockFile] = await Promise.all(
    [layout.manifest, layout.lock].map((path) => lstat(path).catch(() => undefined)),
  );
  if (!manifest && !lockFile) {
    throw new VmtapeError("no-such-tape", `there is no tape '${name}' (looked in ${directory})`, {
      file: directory,
    });
  }
  await refuseDirectories(layout);
  // Only a regular file can be locked. Where there is something else, no process is using the tape.
  await using _lock = lockFile && !lockFile.isFile() ? undefined : await takeLock(layout, name);
  if (places) await removeDeadSocket(places, directory);
  try {
    // The manifest goes first: from then on there is no tape, even if removing the rest fails.
    for (const path of layout.everything()) await rm(path, { recursive: true, force: true });
    await rm(layout.lock, { force: true });
    await rmdir(directory);
  } catch (error) {
    if (errnoOf(error) === "ENOTEMPTY") {
      throw new VmtapeError(
        "bad-file",
        `${directory} holds files that belong to no tape: they were left there`,
        {
          file: directory,
        },
      );
    }
    throw fileError(error, directory, "removing");
  }
}

function takeLock(layout: TapeLayout, name: string): Promise<FileLock> {
  return FileLock.take(layout.lock, `tape '${name}' is in use: stop its recording first`);
}

/** Throws when there is a directory at the path of a file: its contents are not part of the tape. */
async function refuseDirectories(layout: TapeLayout): Promise<void> {
  for (const path of layout.files()) {
    const facts = await lstat(path).catch(() => undefined);
    if (facts?.isDirectory()) requireRegular(facts, path);
  }
}
