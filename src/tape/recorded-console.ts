import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileError } from "../base/errors.js";
import { ConsoleLine, type LineMonitor } from "./console-line.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";
import { Typewriter } from "./typewriter.js";

/** How often the console file is checked for new output, in ms: often enough that a typist notices no delay. */
const lookMs = 10;
const blockBytes = 64 << 10;

/** The serial console of a machine that is being recorded, with its output and its input. */
export class RecordedConsole implements AsyncDisposable {
  private readonly path: string;
  private readonly output: FileHandle;
  private readonly line: ConsoleLine;
  private readonly typewriter: Typewriter;
  private readonly ended: AbortController;
  private position = 0;
  private readonly block = Buffer.alloc(blockBytes);

  private constructor(
    path: string,
    output: FileHandle,
    line: ConsoleLine,
    typewriter: Typewriter,
    ended: AbortController,
  ) {
    this.path = path;
    this.output = output;
    this.line = line;
    this.typewriter = typewriter;
    this.ended = ended;
  }

  /**
   * Makes the console of the tape in `directory`, whose lock the caller holds.
   *
   * @param path the path of `console.raw`, which must not exist yet
   */
  static async make(places: Places, directory: string, path: string): Promise<RecordedConsole> {
    await makeRuntimeDirectory(places);
    let output: FileHandle;
    try {
      output = await open(path, "wx+", 0o600);
    } catch (error) {
      throw fileError(error, path, "making");
    }
    try {
      const ended = new AbortController();
      const line = await ConsoleLine.make(`${socketStem(places, directory)}.console`, path, (told) =>
        typewriter.hear(told),
      );
      const typewriter = new Typewriter(line, ended.signal);
      return new RecordedConsole(path, output, line, typewriter, ended);
    } catch (error) {
      await output.close();
      throw error;
    }
  }

  /** The character device for QEMU's command line. */
  get device(): string {
    return this.line.device;
  }

  /** Further options for QEMU's command line, which change nothing for the guest. */
  get options(): readonly string[] {
    return this.line.options;
  }

  /** Must be called once QEMU has opened its ends. Removes the FIFOs from the file system. */
  async connect(monitor: LineMonitor): Promise<void> {
    await this.line.connect(monitor);
    void this.typewriter.begin();
  }

  /**
   * Types bytes at the speed at which the guest reads them. Resolves when they are in the guest's port, were dropped,
   * or QEMU has ended.
   */
  type(bytes: Uint8Array): Promise<void> {
    return this.typewriter.type(bytes);
  }

  /** Drops the bytes that have not been sent to the guest yet. @returns how many they were */
  drop(): number {
    return this.typewriter.drop();
  }

  /**
   * Calls `sink` with what the guest prints until {@link end}, and then with the rest.
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

  /** How many bytes {@link follow} has given to its sink so far. */
  get printed(): number {
    return this.position;
  }

  /** What {@link follow} has given to its sink so far, at most the last 64 KiB. */
  past(): Buffer {
    const length = Math.min(this.position, blockBytes);
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(this.output.fd, bytes, 0, length, this.position - length));
  }

  /** Must be called when QEMU has ended, so that nothing more will be printed. */
  end(): void {
    this.ended.abort();
    this.line.close();
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
    await this.line[Symbol.asyncDispose]();
    await this.output.close();
  }
}
