/**
 * The frames on a recorder's socket, in both directions, once a client has joined the console.
 *
 * ```text
 * 0      1          5 +------+----------+-------------------+
 *   | kind | length   | length bytes      |
 *   | u8   | u32, BE  |                   |
 * +------+----------+-------------------+
 * ```
 */

/** Frames that a client sends: its requests. */
export const clientFrames = {
  /** Bytes to type. */
  keys: 0x6b,
  /** Take the keyboard, also from another client. */
  take: 0x74,
  /** Drop the bytes that wait to be typed. */
  drop: 0x78,
  /** Leave. The recording goes on, and the bytes that were sent are still typed. */
  detach: 0x64,
} as const;

/** Frames that the recorder sends. */
export const serverFrames = {
  /** Bytes that the guest printed. */
  output: 0x6f,
  /** A {@link ConsoleState} as JSON. */
  state: 0x73,
  /** u32, BE: how many more of the client's bytes have been typed or dropped. */
  typed: 0x61,
} as const;

/** Who has the keyboard, from the view of one client. */
export interface ConsoleState {
  readonly keyboard: "yours" | "free" | "taken";
  /** The name of the client that has it, when that is another one. */
  readonly holder?: string;
}

export interface Frame {
  readonly kind: number;
  readonly payload: Buffer;
}

const headerBytes = 5;
/** The longest payload of a frame. Both sides cut what they send into such pieces. */
export const longestPayload = 64 << 10;

/** Encodes a frame. */
export function encodeFrame(kind: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const frame = Buffer.alloc(headerBytes + payload.length);
  frame[0] = kind;
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, headerBytes);
  return frame;
}

/** Finds the frames in a stream that arrives in pieces. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);

  /** @returns the frames that are complete now; undefined when the stream is not one of frames */
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
