import { VmtapeError } from "../errors.js";

/** How much a decompressor may write. */
export interface OutputLimits {
  /** The expected size in bytes, where the caller knows it. It is allocated at once, up to the limit. */
  readonly expected?: number;
  /** The most bytes that may be written; more throw `limit-exceeded`. */
  readonly maximum: number;
  /** Called after each block with the bytes so far; when it returns true, the rest is not read. */
  readonly enough?: (bytes: Uint8Array, used: number) => boolean;
}

/** A growing byte array with an upper limit: the dictionary and the result of a decompressor. */
export class Output {
  bytes: Uint8Array;
  readonly maximum: number;

  /** @param compressed the size of the input, for a first guess of the output's */
  constructor(compressed: number, limits: OutputLimits) {
    this.maximum = limits.maximum;
    const guess = Math.min(limits.expected ?? compressed * 4 + 4096, limits.maximum);
    this.bytes = new Uint8Array(guess);
  }

  /**
   * Makes room up to `end`, and keeps the first `used` bytes. The room at least doubles, so that copies are rare.
   *
   * @throws VmtapeError `limit-exceeded`
   */
  reserve(end: number, used: number): Uint8Array {
    if (end <= this.bytes.length) return this.bytes;
    if (end > this.maximum) {
      throw tooLarge(this.maximum);
    }
    const grown = new Uint8Array(Math.min(this.maximum, Math.max(end, this.bytes.length * 2)));
    grown.set(this.bytes.subarray(0, used));
    this.bytes = grown;
    return grown;
  }
}

/** The result of a decompressor. */
export interface Decompressed {
  readonly bytes: Uint8Array;
  /** Bytes of input that belong to the stream; more may follow it. */
  readonly consumed: number;
}

/** A `bad-file` for damaged data of a format. */
export function damaged(format: string, why: string): VmtapeError {
  return new VmtapeError("bad-file", `the ${format} data is damaged: ${why}`, { format });
}

/** A `limit-exceeded` for data that unpacks to more than the caller allows. */
export function tooLarge(maximum: number): VmtapeError {
  return new VmtapeError("limit-exceeded", `the data unpacks to more than ${maximum} bytes`, {
    limit: maximum,
  });
}
