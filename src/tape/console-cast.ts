import { createWriteStream, type WriteStream } from "node:fs";
import { StringDecoder } from "node:string_decoder";

/**
 * Writes a guest's console output with times, as an asciicast v2 file, which terminal players read. Source:
 * asciinema, "asciicast v2": a header object, then one `[seconds, "o", text]` a line.
 *
 * It is only a convenience beside the exact `console.raw`: when it cannot be written, it ends there without an error.
 */
export class ConsoleCast {
  private readonly stream: WriteStream;
  private readonly decoder = new StringDecoder("utf8");
  private failed = false;

  private constructor(stream: WriteStream) {
    this.stream = stream;
    stream.on("error", () => {
      this.failed = true;
    });
  }

  /** @param created when the recording began, in ISO 8601 */
  static async create(path: string, created: string): Promise<ConsoleCast> {
    const cast = new ConsoleCast(createWriteStream(path, { flags: "w", mode: 0o600 }));
    const timestamp = Math.floor(Date.parse(created) / 1000);
    cast.line({ version: 2, width: 80, height: 24, timestamp });
    return cast;
  }

  /**
   * Adds bytes that were printed `seconds` after the beginning. An incomplete character waits for its other bytes.
   */
  add(seconds: number, bytes: Buffer): void {
    const text = this.decoder.write(bytes);
    if (text) this.line([Math.round(seconds * 1e6) / 1e6, "o", text]);
  }

  /** Writes what is left and closes the file. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.failed) return resolve();
      this.stream.once("close", resolve);
      this.stream.end();
    });
  }

  private line(value: unknown): void {
    if (!this.failed) this.stream.write(`${JSON.stringify(value)}\n`);
  }
}
