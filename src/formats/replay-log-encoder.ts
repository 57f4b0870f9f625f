import { VmtapeError } from "../base/errors.js";
import type { ReplayLogDialect } from "./replay-log-dialect.js";
import type { EventBody, InputBody, Payload } from "./replay-log-event.js";
import {
  inputLayout,
  inputTypes,
  kindLayouts,
  logHeader,
  logVersion,
  longestHead,
  longestRun,
  sampleSize,
} from "./replay-log-layout.js";

/** The header's 12 bytes. @param version 0 makes an unfinished log */
export function encodeLogHeader(version: number = logVersion, reserved = 0n): Uint8Array {
  const bytes = new Uint8Array(logHeader.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(logHeader.versionAt, version);
  view.setBigUint64(logHeader.reservedAt, reserved);
  return bytes;
}

/**
 * Events to bytes: the exact inverse of the reader. Write the header first, then take the bytes out from time
 * to time; the encoder holds only what has not been taken. A promised call of the library, for who makes logs: vmtape
 * itself only cuts them.
 */
export class ReplayLogEncoder {
  private bytes: Uint8Array;
  private view: DataView;
  private at = 0;

  constructor(
    readonly dialect: ReplayLogDialect,
    capacity = 65536,
  ) {
    this.bytes = new Uint8Array(Math.max(longestHead, capacity));
    this.view = new DataView(this.bytes.buffer);
  }

  /** Bytes held. */
  get length(): number {
    return this.at;
  }

  /** The bytes held, as a copy; the encoder is empty then. */
  take(): Uint8Array {
    const taken = this.bytes.slice(0, this.at);
    this.at = 0;
    return taken;
  }

  /**
   * Appends an event.
   *
   * @throws VmtapeError `bad-log` for what QEMU cannot write: a run outside 1 … 2^31-1, a cause the dialect
   *   has not, a payload that is not all there
   */
  add(event: EventBody): void {
    this.reserve(longestHead);
    const byte = this.dialect.bytes[event.kind];
    switch (event.kind) {
      case "instruction":
        if (!Number.isInteger(event.count) || event.count < 1 || event.count > longestRun) {
          throw new VmtapeError("bad-log", "an instruction event counts 1 to 2^31-1 instructions", {
            expected: `1 … ${longestRun}`,
            got: String(event.count),
          });
        }
        this.u8(byte);
        this.u32(event.count);
        break;
      case "async-bh":
      case "async-bh-oneshot":
        this.u8(byte);
        this.u64(event.id);
        break;
      case "async-input":
        this.u8(byte);
        this.input(event.input);
        break;
      case "async-char-read":
        this.check(event.data, event.kind);
        this.u8(byte);
        this.u8(event.device);
        this.array(event.data);
        break;
      case "async-block":
        this.u8(byte);
        this.u64(event.request);
        break;
      case "async-net":
        this.check(event.data, event.kind);
        this.u8(byte);
        this.u8(event.filter);
        this.u32(event.flags);
        this.array(event.data);
        break;
      case "shutdown": {
        const cause = this.dialect.causes.indexOf(event.cause);
        if (cause < 0) {
          throw new VmtapeError("bad-log", `${this.dialect.versions} has no shutdown cause ${event.cause}`);
        }
        this.u8(byte + cause);
        break;
      }
      case "char-write":
        this.u8(byte);
        this.u32(event.result);
        this.u32(event.written);
        break;
      case "char-read-all":
        this.check(event.data, event.kind);
        this.u8(byte);
        this.array(event.data);
        break;
      case "char-read-all-error":
        this.u8(byte);
        this.u32(event.result);
        break;
      case "audio-out":
        this.u8(byte);
        this.u64(event.played);
        break;
      case "audio-in":
        this.check(event.samples, event.kind, sampleSize);
        this.u8(byte);
        this.u64(BigInt(event.samples.size / sampleSize));
        this.u64(event.position);
        this.raw(event.samples.bytes);
        break;
      case "random":
        this.check(event.data, event.kind);
        this.u8(byte);
        this.u32(event.result);
        this.array(event.data);
        break;
      case "clock-host":
      case "clock-virtual-rt":
        this.u8(byte);
        this.u64(event.ns);
        break;
      default:
        if (kindLayouts[event.kind].fixed !== 0)
          throw new VmtapeError("internal", `no encoder for ${event.kind}`);
        this.u8(byte);
    }
  }

  private input(input: InputBody): void {
    this.u32(inputTypes.indexOf(input.type));
    switch (input.type) {
      case "key": {
        const byNumber = "number" in input;
        this.u32(inputLayout.keyValueKinds.indexOf(byNumber ? "number" : "qcode"));
        if (byNumber) this.u64(input.number);
        else this.u32(input.qcode);
        this.u8(input.down);
        break;
      }
      case "button":
        this.u32(input.button);
        this.u8(input.down);
        break;
      case "relative":
      case "absolute":
        this.u32(input.axis);
        this.u64(input.value);
        break;
      case "touch":
        this.u32(input.touch);
        this.u64(input.slot);
        this.u64(input.trackingId);
        this.u32(input.axis);
        this.u64(input.value);
        break;
    }
  }

  private check(data: Payload, kind: string, unit = 1): void {
    if (data.bytes.length !== data.size || data.size % unit !== 0) {
      throw new VmtapeError("bad-log", `the payload of this ${kind} event is not whole`, {
        expected: `${data.size} bytes`,
        got: `${data.bytes.length} bytes`,
      });
    }
  }

  private array(data: Payload): void {
    this.u32(data.size);
    this.raw(data.bytes);
  }

  private raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  private u8(value: number): void {
    this.bytes[this.at++] = value;
  }

  /** Signed and unsigned alike. */
  private u32(value: number): void {
    this.view.setUint32(this.at, value);
    this.at += 4;
  }

  /** Signed and unsigned alike. */
  private u64(value: bigint): void {
    this.view.setBigUint64(this.at, value);
    this.at += 8;
  }

  private reserve(more: number): void {
    const needed = this.at + more;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }
}
