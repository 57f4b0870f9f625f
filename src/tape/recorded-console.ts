import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { type FileHandle, open, rm, symlink } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { errnoOf, fileError } from "../base/errors.js";
import { runTool } from "../base/tool.js";
import { quote } from "../qemu/machine.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";

/** Between two looks at what the guest printed: less than a typist notices. */
const lookMs = 10;
const blockBytes = 64 << 10;
/** Between a byte that is typed and the look whether it is gone, and between further looks. */
const typeMs = 1;
const unreadMs = 10;

/**
 * The serial console of a machine that is being recorded: QEMU writes it straight to `console.raw`, and reads what
 * is typed from a FIFO.
 *
 * Why not a socket? A guest may print faster than we read. QEMU then gets EAGAIN, and tries again when there is
 * room again: at an instant that the log does not tell, so the replay dies of a missing event there. A file
 * always takes everything. (QEMU's `pipe` device opens PATH.in and PATH.out, whatever they are.)
 *
 * Why byte by byte? While recording, QEMU asks the serial port how much it can take, reads that much, and hands it
 * over when the processor wakes up (at an idle guest's next tick, some milliseconds later); asked again in between,
 * the port promises the same room twice, and what does not fit is lost. So the next byte is typed when the one
 * before is gone and the guest has executed something since.
 */
export class RecordedConsole implements AsyncDisposable {
  /** The character device for QEMU's command line. */
  readonly device: string;
  private readonly stem: string;
  private readonly path: string;
  private readonly output: FileHandle;
  private input: number | undefined;
  private executed: () => Promise<bigint> = () => Promise.resolve(0n);
  /** Ends when all that was typed before has been taken. */
  private typed: Promise<void> = Promise.resolve();
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

  /**
   * To be called once QEMU has opened its ends: nothing remains in the file system.
   *
   * @param executed the instructions executed so far
   */
  async connect(executed: () => Promise<bigint>): Promise<void> {
    this.executed = executed;
    const path = `${this.stem}.in`;
    try {
      this.input = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    } catch (error) {
      throw fileError(error, path, "opening");
    }
    await this.unlink();
  }

  /** Types bytes, one for each time the guest's processor wakes up. Resolves when the guest has them, or has ended. */
  type(bytes: Uint8Array): Promise<void> {
    const copy = Uint8Array.from(bytes);
    this.typed = this.typed.then(() => this.typeNow(copy));
    return this.typed;
  }

  private async typeNow(bytes: Uint8Array): Promise<void> {
    const { signal } = this.ended;
    const wait = (ms: number) => delay(ms, undefined, { signal }).catch(() => {});
    for (const byte of bytes) {
      if (this.input === undefined) return;
      writeSync(this.input, Uint8Array.of(byte));
      await wait(typeMs);
      while (!this.isTaken()) await wait(unreadMs);
      const before = await this.executed();
      while (!signal.aborted && (await this.executed()) === before) await wait(typeMs);
    }
  }

  /** Has QEMU read the byte? A FIFO cannot be asked: we read it ourselves, and put it back when it is there. */
  private isTaken(): boolean {
    if (this.input === undefined) return true;
    const byte = new Uint8Array(1);
    try {
      if (readSync(this.input, byte) === 0) return true;
    } catch (error) {
      if (errnoOf(error) === "EAGAIN") return true;
      throw error;
    }
    writeSync(this.input, byte);
    return false;
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
    if (this.input !== undefined) closeSync(this.input);
    this.input = undefined;
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
