/**
 * What goes over a recorder's socket once a client has joined the console: frames, both ways.
 *
 * ```text
 *   0      1          5
 *   +------+----------+-------------------+
 *   | kind | length   | length bytes      |
 *   | u8   | u32, BE  |                   |
 *   +------+----------+-------------------+
 * ```
 */

/** From a client: what it wants. */
export const clientFrames = {
  /** Bytes to type. */
  keys: 0x6b,
  /** The keyboard, whoever has it. */
  take: 0x74,
  /** Forget what waits to be typed. */
  drop: 0x78,
  /** Leave; the recording goes on, and what was sent is still typed. */
  detach: 0x64,
} as const;

/** From the recorder: what happens. */
export const serverFrames = {
  /** Bytes that the guest printed. */
  output: 0x6f,
  /** A {@link ConsoleState} as JSON. */
  state: 0x73,
  /** u32, BE: so many more of the client's bytes have been typed or forgotten. */
  typed: 0x61,
} as const;

/** Who has the keyboard, as told to one client. */
export interface ConsoleState {
  readonly keyboard: "yours" | "free" | "taken";
  /** Who has it, when somebody else does. */
  readonly holder?: string;
}

export interface Frame {
  readonly kind: number;
  readonly payload: Buffer;
}

const headerBytes = 5;
/** No frame is longer: a client cuts what it sends, and so do we. */
export const longestPayload = 64 << 10;

/** A frame as bytes. */
export function encodeFrame(kind: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const frame = Buffer.alloc(headerBytes + payload.length);
  frame[0] = kind;
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, headerBytes);
  return frame;
}

/** Finds the frames in a stream that comes in pieces. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** @returns the frames that are whole now, or undefined when the stream is none of ours */
  read(bytes: Buffer): Frame[] | undefined {
    let rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const frames: Frame[] = [];
    while (rest.length >= headerBytes) {
      const end = headerBytes + rest.readUInt32BE(1);
      if (end > headerBytes + longestPayload) return undefined;
      if (rest.length < end) break;
      frames.push({ kind: rest[0]!, payload: rest.subarray(headerBytes, end) });
      rest = rest.subarray(end);
    }
    this.rest = rest;
    return frames;
  }
}
