import { readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileError } from "../base/errors.js";
import { ConsoleLine, type LineMonitor } from "./console-line.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";
import { Typewriter } from "./typewriter.js";

/** Between two looks at what the guest printed: less than a typist notices. */
const lookMs = 10;
const blockBytes = 64 << 10;

/** The serial console of a machine that is being recorded: what it prints, and what is typed into it. */
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
   * @param path of `console.raw`, which must not exist
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

  /** Further options for QEMU's command line; the guest does not see them. */
  get options(): readonly string[] {
    return this.line.options;
  }

  /** To be called once QEMU has opened its ends: nothing remains in the file system. */
  async connect(monitor: LineMonitor): Promise<void> {
    await this.line.connect(monitor);
    void this.typewriter.begin();
  }

  /** Types bytes at the speed at which the guest reads. Resolves when they are in its port, or it has ended. */
  type(bytes: Uint8Array): Promise<void> {
    return this.typewriter.type(bytes);
  }

  /** Forgets what was to be typed and has not been sent yet. @returns how many bytes that were */
  drop(): number {
    return this.typewriter.drop();
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

  /** How many bytes {@link follow} has given out so far. */
  get printed(): number {
    return this.position;
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
