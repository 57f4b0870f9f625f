import { VmtapeError } from "../base/errors.js";
import type { Icount } from "../base/units.js";
import type { ReplayLogDialect, ShutdownCause } from "./replay-log-dialect.js";
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

/** A cursor over one event, big-endian. */
class Fields {
  private at = 1;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.view.getUint8(this.move(1));
  }

  u32(): number {
    return this.view.getUint32(this.move(4));
  }

  i32(): number {
    return this.view.getInt32(this.move(4));
  }

  u64(): bigint {
    return this.view.getBigUint64(this.move(8));
  }

  i64(): bigint {
    return this.view.getBigInt64(this.move(8));
  }

  /** The next `size` bytes, or as many as are there and allowed. */
  payload(size: number, limit: number): Payload {
    return { size, bytes: this.bytes.slice(this.at, this.at + Math.min(size, limit)) };
  }

  private move(length: number): number {
    const { at } = this;
    this.at += length;
    return at;
  }
}

/**
 * Decodes one event the scanner has measured.
 *
 * @param bytes from its kind byte on; may stop inside its payload, but not in its fixed part
 * @param payloadLimit bytes of a payload kept at most
 * @throws VmtapeError `bad-log` when the bytes are fewer than the event's fixed part
 */
export function decodeEvent(bytes: Uint8Array, dialect: ReplayLogDialect, payloadLimit: number): EventBody {
  const byte = bytes[0];
  const kind = eventKinds[dialect.codes[byte ?? 0]!];
  if (byte === undefined || kind === undefined || bytes.length < 1 + kindLayouts[kind].fixed) {
    throw new VmtapeError("bad-log", "these bytes are no whole event", { got: `${bytes.length} bytes` });
  }
  const fields = new Fields(bytes);
  switch (kind) {
    case "instruction":
      return { kind, count: fields.u32() };
    case "async-bh":
    case "async-bh-oneshot":
      return { kind, id: fields.u64() };
    case "async-input":
      return { kind, input: decodeInput(fields) };
    case "async-char-read":
      return { kind, device: fields.u8(), data: fields.payload(fields.u32(), payloadLimit) };
    case "async-block":
      return { kind, request: fields.u64() };
    case "async-net": {
      const filter = fields.u8();
      const flags = fields.u32();
      return { kind, filter, flags, data: fields.payload(fields.u32(), payloadLimit) };
    }
    case "shutdown":
      return { kind, cause: dialect.causes[byte - dialect.bytes.shutdown]! };
    case "char-write":
      return { kind, result: fields.i32(), written: fields.u32() };
    case "char-read-all":
      return { kind, data: fields.payload(fields.u32(), payloadLimit) };
    case "char-read-all-error":
      return { kind, result: fields.i32() };
    case "audio-out":
      return { kind, played: fields.u64() };
    case "audio-in": {
      const count = Number(fields.u64());
      const position = fields.u64();
      return { kind, position, samples: fields.payload(count * sampleSize, payloadLimit) };
    }
    case "random": {
      const result = fields.i32();
      return { kind, result, data: fields.payload(fields.u32(), payloadLimit) };
    }
    case "clock-host":
    case "clock-virtual-rt":
      return { kind, ns: fields.i64() };
    default:
      return { kind };
  }
}

function decodeInput(fields: Fields): InputBody {
  const type = inputTypes[fields.u32()];
  switch (type) {
    case "key":
      return fields.u32() === 0
        ? { type, number: fields.u64(), down: fields.u8() }
        : { type, qcode: fields.u32(), down: fields.u8() };
    case "button":
      return { type, button: fields.u32(), down: fields.u8() };
    case "relative":
    case "absolute":
      return { type, axis: fields.u32(), value: fields.i64() };
    case "touch":
      return {
        type,
        touch: fields.u32(),
        slot: fields.i64(),
        trackingId: fields.i64(),
        axis: fields.u32(),
        value: fields.i64(),
      };
    default:
      throw new VmtapeError("bad-log", "an input event of an unknown type");
  }
}
