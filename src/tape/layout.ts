import { join } from "node:path";

/**
 * The paths of a tape's parts in its directory. They are fixed, so a manifest need not and cannot name files.
 *
 *     manifest.json      what the machine was, hashes, how it ended
 *     lock               a kernel lock is held on it while a process writes the tape
 *     replay.log         QEMU's replay log: the recording
 *     console.raw        what the guest printed on its serial console
 *     console.cast       the same with times (asciicast v2)
 *     kernel, initrd     copies
 *     disks/N.base       the disk before the recording; disks/N.overlay.qcow2: what the guest wrote
 *     firmware/NAME      the firmware images the guest ran
 *     symbols/N          symbol files the user named
 *     original/          what `repair` replaced
 */
export class TapeLayout {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  get manifest(): string {
    return this.path("manifest.json");
  }
  get lock(): string {
    return this.path("lock");
  }
  get log(): string {
    return this.path("replay.log");
  }
  get console(): string {
    return this.path("console.raw");
  }
  get consoleCast(): string {
    return this.path("console.cast");
  }
  get kernel(): string {
    return this.path("kernel");
  }
  get initrd(): string {
    return this.path("initrd");
  }
  get disks(): string {
    return this.path("disks");
  }
  get firmware(): string {
    return this.path("firmware");
  }
  get symbols(): string {
    return this.path("symbols");
  }
  get original(): string {
    return this.path("original");
  }

  diskBase(index: number): string {
    return join(this.disks, `${index}.base`);
  }
  diskOverlay(index: number): string {
    return join(this.disks, `${index}.overlay.qcow2`);
  }
  firmwareFile(name: string): string {
    return join(this.firmware, name);
  }
  symbolFile(index: number): string {
    return join(this.symbols, String(index));
  }

  /** The files directly in the tape's directory, the manifest first and the lock last. */
  files(): string[] {
    const { manifest, log, console, consoleCast, kernel, initrd, lock } = this;
    return [manifest, log, console, consoleCast, kernel, initrd, lock];
  }

  /** Files that a killed writer may have left. They are never read, and the next writer removes them first. */
  drafts(): string[] {
    return [this.manifest, this.log, this.console].map((path) => `${path}.new`);
  }

  /** The tape's folders. */
  folders(): string[] {
    return [this.disks, this.firmware, this.symbols, this.original];
  }

  /** All paths of a tape except its lock, the manifest first. */
  everything(): string[] {
    const files = this.files().filter((path) => path !== this.lock);
    return [...files, ...this.drafts(), ...this.folders()];
  }

  private path(name: string): string {
    return join(this.directory, name);
  }
}
