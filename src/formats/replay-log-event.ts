import { VmtapeError } from "../base/errors.js";
import type { Icount } from "../base/units.js";
import { type ReplayLogDialect, type ShutdownCause, unknownCode } from "./replay-log-dialect.js";
import { type EventKind, eventKinds, inputTypes, kindLayouts, sampleSize } from "./replay-log-layout.js";

/** Bytes an event carries: how many there are, and the first of them (all, unless a reader's limit cut them). */
export interface Payload {
  readonly size: number;
  /** A copy; `bytes.length < size` when the reader's limit cut it. */
  readonly bytes: Uint8Array;
}

/** What an event says, without its place in a log: what the encoder takes. Numbers are as QEMU's types. */
export type EventBody =
  /** The machine ran: 1 … 2^31-1 instructions since the event before. */
  | { readonly kind: "instruction"; readonly count: number }
  | { readonly kind: PlainKind }
  /** A bottom half ran; `id` is the icount at which it was scheduled. */
  | { readonly kind: "async-bh" | "async-bh-oneshot"; readonly id: bigint }
  | { readonly kind: "async-input"; readonly input: InputBody }
  /** Bytes came in from a character device (numbered as created). */
  | { readonly kind: "async-char-read"; readonly device: number; readonly data: Payload }
  /** The block request of that number completed. */
  | { readonly kind: "async-block"; readonly request: bigint }
  /** A packet passed a filter-replay (numbered as created). */
  | { readonly kind: "async-net"; readonly filter: number; readonly flags: number; readonly data: Payload }
  /** The machine was asked to stop. */
  | { readonly kind: "shutdown"; readonly cause: ShutdownCause }
  /** A guest device wrote to a character device: what the backend answered, and the bytes it took. */
  | { readonly kind: "char-write"; readonly result: number; readonly written: number }
  | { readonly kind: "char-read-all"; readonly data: Payload }
  | { readonly kind: "char-read-all-error"; readonly result: number }
  | { readonly kind: "audio-out"; readonly played: bigint }
  /** Samples came in: 16 bytes each, ending before ring position `position`. */
  | { readonly kind: "audio-in"; readonly position: bigint; readonly samples: Payload }
  | { readonly kind: "random"; readonly result: number; readonly data: Payload }
  | { readonly kind: "clock-host" | "clock-virtual-rt"; readonly ns: bigint };

/** The kinds that carry nothing. */
export type PlainKind =
  | "interrupt"
  | "exception"
  | "async-input-sync"
  | Extract<EventKind, `checkpoint-${string}`>
  | "end";

/** One keyboard, mouse or touch event (QAPI `InputEvent`); enumerations are QEMU's numbers. */
export type InputBody =
  | { readonly type: "key"; readonly number: bigint; readonly down: number }
  | { readonly type: "key"; readonly qcode: number; readonly down: number }
  | { readonly type: "button"; readonly button: number; readonly down: number }
  | { readonly type: "relative" | "absolute"; readonly axis: number; readonly value: bigint }
  | {
      readonly type: "touch";
      readonly touch: number;
      readonly slot: bigint;
      readonly trackingId: bigint;
      readonly axis: number;
      readonly value: bigint;
    };

/** Where an event lies in its log. */
export interface EventPlace {
  /** Events before it. */
  readonly index: number;
  /** Byte offset of its kind byte in the file. */
  readonly offset: number;
  /** Bytes it takes, kind byte included. */
  readonly length: number;
  /** Instructions executed before it. */
  readonly icount: Icount;
}

export type ReplayEvent = EventPlace & EventBody;

/**
 * Decodes events the scanner has measured. One decoder for many events: it is its own cursor.
 *
 * `payloadLimit` is how many bytes of a payload are kept at most.
 */
export class EventDecoder {
  private view: DataView = new DataView(new ArrayBuffer(0));
  private at = 0;

  constructor(
    readonly dialect: ReplayLogDialect,
    private readonly payloadLimit = 65536,
  ) {}

  /**
   * The event whose kind byte is at `at` of `view`. The view may stop inside its payload (then fewer bytes of
   * it are kept) but not inside its fixed part.
   *
   * @throws VmtapeError `bad-log` for a byte that is no kind, or a view that stops in the fixed part
   */
  decode(view: DataView, at: number, place: EventPlace): ReplayEvent {
    const { dialect } = this;
    const byte = at < view.byteLength ? view.getUint8(at) : unknownCode;
    const kind = eventKinds[dialect.codes[byte]!];
    if (kind === undefined || at + 1 + kindLayouts[kind].fixed > view.byteLength) {
      throw new VmtapeError("bad-log", `there is no whole event at byte ${place.offset}`, {
        offset: place.offset,
      });
    }
    const { index, offset, length, icount } = place;
    this.view = view;
    this.at = at + 1;
    switch (kind) {
      case "instruction":
        return { index, offset, length, icount, kind, count: this.u32() };
      case "async-bh":
      case "async-bh-oneshot":
        return { index, offset, length, icount, kind, id: this.u64() };
      case "async-input":
        return { index, offset, length, icount, kind, input: this.input() };
      case "async-char-read": {
        const device = this.u8();
        return { index, offset, length, icount, kind, device, data: this.payload(this.u32()) };
      }
      case "async-block":
        return { index, offset, length, icount, kind, request: this.u64() };
      case "async-net": {
        const filter = this.u8();
        const flags = this.u32();
        return { index, offset, length, icount, kind, filter, flags, data: this.payload(this.u32()) };
      }
      case "shutdown": {
        const cause = dialect.causes[byte - dialect.bytes.shutdown]!;
        return { index, offset, length, icount, kind, cause };
      }
      case "char-write": {
        const result = this.i32();
        return { index, offset, length, icount, kind, result, written: this.u32() };
      }
      case "char-read-all":
        return { index, offset, length, icount, kind, data: this.payload(this.u32()) };
      case "char-read-all-error":
        return { index, offset, length, icount, kind, result: this.i32() };
      case "audio-out":
        return { index, offset, length, icount, kind, played: this.u64() };
      case "audio-in": {
        const size = Number(this.u64()) * sampleSize;
        const position = this.u64();
        return { index, offset, length, icount, kind, position, samples: this.payload(size) };
      }
      case "random": {
        const result = this.i32();
        return { index, offset, length, icount, kind, result, data: this.payload(this.u32()) };
      }
      case "clock-host":
      case "clock-virtual-rt":
        return { index, offset, length, icount, kind, ns: this.i64() };
      default:
        return { index, offset, length, icount, kind };
    }
  }

  private input(): InputBody {
    const type = inputTypes[this.u32()];
    switch (type) {
      case "key":
        return this.u32() === 0
          ? { type, number: this.u64(), down: this.u8() }
          : { type, qcode: this.u32(), down: this.u8() };
      case "button":
        return { type, button: this.u32(), down: this.u8() };
      case "relative":
      case "absolute":
        return { type, axis: this.u32(), value: this.i64() };
      case "touch":
        return {
          type,
          touch: this.u32(),
          slot: this.i64(),
          trackingId: this.i64(),
          axis: this.u32(),
          value: this.i64(),
        };
      default:
        throw new VmtapeError("bad-log", "an input event of an unknown type");
    }
  }

  private u8(): number {
    return this.view.getUint8(this.move(1));
  }

  private u32(): number {
    return this.view.getUint32(this.move(4));
  }

  private i32(): number {
    return this.view.getInt32(this.move(4));
  }

  private u64(): bigint {
    return this.view.getBigUint64(this.move(8));
  }

  private i64(): bigint {
    return this.view.getBigInt64(this.move(8));
  }

  /** A copy of the next `size` bytes, or of as many as are there and allowed. */
  private payload(size: number): Payload {
    const { view, at } = this;
    const kept = Math.min(size, this.payloadLimit, view.byteLength - at);
    const start = view.byteOffset + at;
    return { size, bytes: new Uint8Array(view.buffer, start, kept).slice() };
  }

  private move(length: number): number {
    const { at } = this;
    this.at += length;
    return at;
  }
}
