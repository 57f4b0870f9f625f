import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { rm, symlink } from "node:fs/promises";
import { Socket } from "node:net";
import { errnoOf, fileError } from "../base/errors.js";
import { runTool } from "../base/tool.js";
import { quote } from "../qemu/machine.js";
import type { SerialLine } from "./typewriter.js";

const blockBytes = 64 << 10;

/** What a console line needs of its QEMU. */
export interface LineMonitor {
  /** The instructions executed so far; 0 when QEMU has ended. */
  executed(): Promise<bigint>;
  /** Makes QEMU report each access to the serial port, or ends that. Resolves to whether QEMU did so. */
  trace(on: boolean): Promise<boolean>;
  /**
   * Wakes an idle guest's processor for bytes that were just written. Without the guard it sees them at its next
   * timer.
   */
  wake?(): void;
}

/**
 * The files that connect a recording QEMU to its serial console. QEMU writes what the guest prints directly to
 * `console.raw`, reads what is typed from a FIFO, and reports accesses to the port into another FIFO.
 *
 * Why not a socket? A guest may print faster than vmtape reads. QEMU then gets EAGAIN, and tries again when there is
 * room: at an instant that is not in the log, so that the replay fails for a missing event there. A file always takes
 * everything. (QEMU's `pipe` device opens PATH.in and PATH.out, of whatever kind they are.)
 */
export class ConsoleLine implements SerialLine, AsyncDisposable {
  /** The character device for QEMU's command line. */
  readonly device: string;
  /** Further options for the command line, which change nothing for the guest. */
  readonly options: readonly string[];
  private readonly stem: string;
  private readonly told: (line: string) => void;
  private monitor: LineMonitor | undefined;
  private input: number | undefined;
  private trail: number | undefined;
  private stream: Socket | undefined;
  private rest = "";
  private readonly block = Buffer.alloc(blockBytes);

  private constructor(stem: string, told: (line: string) => void) {
    this.stem = stem;
    this.told = told;
    this.device = `pipe,path=${quote(stem)}`;
    this.options = ["-D", `${stem}.trace`];
  }

  /**
   * @param stem the first part of the files' paths, in the runtime directory
   * @param output the path of the file that gets what the guest prints
   * @param told called with each line that QEMU reports
   */
  static async make(stem: string, output: string, told: (line: string) => void): Promise<ConsoleLine> {
    const line = new ConsoleLine(stem, told);
    try {
      await line.unlink(); // those that a killed recorder left
      await symlink(output, `${stem}.out`);
      await runTool("mkfifo", ["-m", "600", `${stem}.in`, `${stem}.trace`]);
      // Opened before QEMU does: without a reader, QEMU's opening would wait.
      line.trail = openSync(`${stem}.trace`, constants.O_RDWR | constants.O_NONBLOCK);
      return line;
    } catch (error) {
      await line[Symbol.asyncDispose]();
      throw fileError(error, stem, "making");
    }
  }

  /** Must be called once QEMU has opened its ends. Removes the files from the file system. */
  async connect(monitor: LineMonitor): Promise<void> {
    this.monitor = monitor;
    const path = `${this.stem}.in`;
    try {
      this.input = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    } catch (error) {
      throw fileError(error, path, "opening");
    }
    if (this.trail !== undefined) {
      this.stream = new Socket({ fd: this.trail, readable: true, writable: false });
      this.stream.on("error", () => {}).on("data", (bytes: Buffer) => this.listen(bytes));
    }
    await this.unlink();
  }

  write(bytes: Uint8Array): void {
    if (this.input === undefined) return;
    writeSync(this.input, bytes);
    this.monitor?.wake?.();
  }

  /** A FIFO does not tell how much it holds, so what it holds is read and written back. */
  isTaken(): boolean {
    if (this.input === undefined) return true;
    const left = readNow(this.input, this.block);
    if (left > 0) writeSync(this.input, this.block, 0, left);
    return left === 0;
  }

  executed(): Promise<bigint> {
    return this.monitor?.executed() ?? Promise.resolve(0n);
  }

  trace(on: boolean): Promise<boolean> {
    return this.monitor?.trace(on) ?? Promise.resolve(false);
  }

  hear(): void {
    if (this.trail === undefined) return;
    for (;;) {
      const length = readNow(this.trail, this.block);
      if (length === 0) return;
      this.listen(this.block.subarray(0, length));
    }
  }

  /** Closes the files; must be called when QEMU has ended. */
  close(): void {
    if (this.input !== undefined) closeSync(this.input);
    this.input = undefined;
    if (this.stream) this.stream.destroy();
    else if (this.trail !== undefined) closeSync(this.trail);
    this.trail = undefined;
  }

  private listen(bytes: Buffer): void {
    const lines = (this.rest + bytes.toString("latin1")).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.told(line);
  }

  private async unlink(): Promise<void> {
    for (const end of ["in", "out", "trace"]) await rm(`${this.stem}.${end}`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.unlink();
  }
}

/** Reads what is there, without waiting. Returns the number of bytes. */
function readNow(fd: number, into: Buffer): number {
  try {
    return readSync(fd, into);
  } catch (error) {
    if (errnoOf(error) === "EAGAIN") return 0;
    throw error;
  }
}
