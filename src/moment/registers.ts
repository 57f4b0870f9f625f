import { hex } from "../base/units.js";
import { registerValue, x86Registers } from "../qemu/x86-registers.js";

/** Bytes that a user names: `place` is an address, a symbol, or a symbol and an offset. */
export interface MemoryPlace {
  readonly space: "virtual" | "physical";
  readonly place: string;
  readonly length: number;
}

/** The registers of an instant, in the order and layout of GDB's `g` packet for x86-64. */
export class RegisterFile {
  /** The block as QEMU's stub gives it. */
  readonly block: Uint8Array;

  constructor(block: Uint8Array) {
    this.block = block;
  }

  /** A register of at most 64 bits, by its name in GDB. @throws `usage` for a name that none has */
  value(name: string): bigint {
    return registerValue(this.block, name);
  }

  /** All of them by name, as hexadecimal numbers; wide ones, too. */
  toJSON(): Record<string, string> {
    return Object.fromEntries(
      x86Registers.map(({ name, offset, bytes }) => [
        name,
        bytes <= 8
          ? hex(registerValue(this.block, name))
          : `0x${Buffer.from(this.block.subarray(offset, offset + bytes))
              .reverse()
              .toString("hex")}`,
      ]),
    );
  }
}
