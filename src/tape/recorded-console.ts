import { constants, openSync, readSync } from "node:fs";
import { type FileHandle, open, rm, symlink } from "node:fs/promises";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileError } from "../base/errors.js";
import { runTool } from "../base/tool.js";
import { quote } from "../qemu/machine.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";

/** Between two looks at what the guest printed: less than a typist notices. */
const lookMs = 10;
const blockBytes = 64 << 10;

/**
 * The serial console of a machine that is being recorded: QEMU writes it straight to `console.raw`, and reads what
 * is typed from a FIFO.
 *
 * Why not a socket? A guest may print faster than we read. QEMU then gets EAGAIN, and tries again when there is
 * room again: at an instant that the log does not tell, so the replay dies of a missing event there. A file
 * always takes everything. (QEMU's `pipe` device opens PATH.in and PATH.out, whatever they are.)
 */
export class RecordedConsole implements AsyncDisposable {
  /** The character device for QEMU's command line. */
  readonly device: string;
  private readonly stem: string;
  private readonly path: string;
  private readonly output: FileHandle;
  private input: Socket | undefined;
  private position = 0;
  private readonly block = Buffer.alloc(blockBytes);
  private readonly ended = new AbortController();

  private constructor(stem: string, path: string, output: FileHandle) {
    this.stem = stem;
    this.path = path;
    this.output = output;
    this.device = `pipe,path=${quote(stem)}`;
  }

  /**
   * Makes the console of the tape in `directory`, whose lock the caller holds.
   *
   * @param path of `console.raw`, which must not exist
   */
  static async make(places: Places, directory: string, path: string): Promise<RecordedConsole> {
    await makeRuntimeDirectory(places);
    const stem = `${socketStem(places, directory)}.console`;
    let output: FileHandle;
    try {
      output = await open(path, "wx+", 0o600);
    } catch (error) {
      throw fileError(error, path, "making");
    }
    const console = new RecordedConsole(stem, path, output);
    try {
      await console.unlink(); // of a recorder that was killed
      await symlink(path, `${stem}.out`);
      await runTool("mkfifo", ["-m", "600", `${stem}.in`]);
      return console;
    } catch (error) {
      await console[Symbol.asyncDispose]();
      throw fileError(error, stem, "making");
    }
  }

  /** To be called once QEMU has opened its ends: nothing remains in the file system. */
  async connect(): Promise<void> {
    const path = `${this.stem}.in`;
    try {
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK); // at once: QEMU reads
      this.input = new Socket({ fd, readable: false, writable: true });
      this.input.on("error", () => {}); // QEMU has ended: its end is seen elsewhere
    } catch (error) {
      throw fileError(error, path, "opening");
    }
    await this.unlink();
  }

  /** Types bytes. Resolves when QEMU can have them, or has ended. */
  type(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.input?.writable) this.input.write(bytes, () => resolve());
      else resolve();
    });
  }

  /**
   * Gives `sink` what the guest prints, until {@link end} and then the rest.
   *
   * @throws what `sink` throws, `bad-file` when the console cannot be read
   */
  async follow(sink: (bytes: Buffer) => void): Promise<void> {
    const { signal } = this.ended;
    while (!signal.aborted) {
      await this.readNew(sink);
      await delay(lookMs, undefined, { signal }).catch(() => {});
    }
    await this.readNew(sink);
  }

  /** What {@link follow} has given out so far, at most the last 64 KiB. */
  past(): Buffer {
    const length = Math.min(this.position, blockBytes);
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(this.output.fd, bytes, 0, length, this.position - length));
  }

  /** QEMU has ended: nothing more will be printed. */
  end(): void {
    this.ended.abort();
    this.input?.destroy();
  }

  private async readNew(sink: (bytes: Buffer) => void): Promise<void> {
    for (;;) {
      const { block, position } = this;
      const { bytesRead } = await this.output.read(block, 0, blockBytes, position).catch((error) => {
        throw fileError(error, this.path, "reading");
      });
      if (bytesRead === 0) return;
      this.position += bytesRead;
      sink(Buffer.from(block.subarray(0, bytesRead)));
    }
  }

  private async unlink(): Promise<void> {
    for (const end of ["in", "out"]) await rm(`${this.stem}.${end}`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
    await this.unlink();
    await this.output.close();
  }
}
