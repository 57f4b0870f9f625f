import { VmtapeError } from "../../base/errors.js";
import { viewOf } from "../elf/elf.js";
import { type AddressKey, keyOfWords } from "../tables/address.js";
import { pointerEncoding as encoding } from "./cfi-layout.js";

/** Bases that encoded pointers may be relative to, as address keys. */
export interface PointerBases {
  /** Address of the first byte the reader reads. */
  readonly section: AddressKey;
  /** For "data relative": address of `.eh_frame_hdr` in it, of the global offset table elsewhere. */
  readonly data?: AddressKey | undefined;
  readonly text?: AddressKey | undefined;
  readonly function?: AddressKey | undefined;
}

/** A cursor over one section or entry of call frame information. Every read past its end throws `bad-file`. */
export class CfiReader {
  private readonly view: DataView;

  constructor(
    readonly bytes: Uint8Array,
    public at = 0,
    public end = bytes.length,
  ) {
    this.view = viewOf(bytes);
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }

  /** As a number, inexact beyond 2^53. */
  u64(): number {
    const at = this.take(8);
    return this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
  }

  /** As an address key. */
  key64(): AddressKey {
    const at = this.take(8);
    return keyOfWords(this.view.getUint32(at + 4, true), this.view.getUint32(at, true));
  }

  /** Inexact beyond 2^53, where no offset and no length of a file lies. */
  uleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  sleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return byte & 0x40 ? value - scale : value;
    }
  }

  /** A NUL-terminated string of ASCII letters. */
  text(): string {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0 || end >= this.end) throw this.cut(1);
    const text = Buffer.from(this.bytes.subarray(this.at, end)).toString("latin1");
    this.at = end + 1;
    return text;
  }

  /** Borrowed. */
  slice(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  skip(length: number): void {
    this.take(length);
  }

  /**
   * A pointer as `.eh_frame` encodes it. An indirect one is where the pointer is, not what it is.
   *
   * @throws VmtapeError `unsupported` for an encoding that is none
   */
  pointer(code: number, bases: PointerBases): AddressKey {
    const application = code & encoding.applicationMask;
    if (application === encoding.aligned) {
      const past = (bases.section + this.at) % 8;
      this.skip(past === 0 ? 0 : (8 - past) % 8);
      return this.key64();
    }
    const from = this.at;
    const value = this.encoded(code & encoding.formatMask);
    if (application === encoding.absolute) return value;
    return value + this.base(application, bases, from);
  }

  private base(application: number, bases: PointerBases, from: number): AddressKey {
    if (application === encoding.pcRelative) return bases.section + from;
    const known = {
      [encoding.textRelative]: bases.text,
      [encoding.dataRelative]: bases.data,
      [encoding.functionRelative]: bases.function,
    }[application];
    if (known !== undefined) return known;
    throw new VmtapeError(
      "unsupported",
      "a pointer of frame information is relative to something not known",
      {
        encoding: application,
      },
    );
  }

  private encoded(format: number): number {
    switch (format) {
      case encoding.absolute:
      case encoding.udata8:
      case encoding.sdata8:
        return this.key64();
      case encoding.uleb128:
        return this.uleb();
      case encoding.sleb128:
        return this.sleb();
      case encoding.udata2:
        return this.u16();
      case encoding.sdata2:
        return (this.u16() << 16) >> 16;
      case encoding.udata4:
        return this.u32();
      case encoding.sdata4:
        return this.i32();
      default:
        throw new VmtapeError("unsupported", `pointer encoding ${format} is not known`, { encoding: format });
    }
  }

  private take(length: number): number {
    if (!(length >= 0) || this.at + length > this.end) throw this.cut(length);
    const at = this.at;
    this.at += length;
    return at;
  }

  private cut(length: number): VmtapeError {
    return new VmtapeError(
      "bad-file",
      `frame information ends at byte ${this.end}, but ${length} bytes were expected at ${this.at}`,
      { offset: this.at, length: this.end },
    );
  }
}
