import { createRequire } from "node:module";
import type * as Iced from "iced-x86";

/** One instruction of a listing. */
export interface Line {
  readonly address: bigint;
  /** Empty when the bytes are no instruction. */
  readonly bytes: Uint8Array;
  /** As GDB writes it (AT&T syntax), or `(bad)`. */
  readonly text: string;
  /** The target of a direct branch. */
  readonly target?: bigint;
}

/** The most bytes of an x86 instruction (Intel SDM, volume 2, 2.3.11). */
export const longestInstruction = 15;

/**
 * Decodes up to `count` instructions. Fewer when the bytes end.
 *
 * @param address the address of the first byte of `bytes`
 */
export function disassemble(
  bytes: Uint8Array,
  bitness: 16 | 32 | 64,
  address: bigint,
  count: number,
): Line[] {
  const { Decoder, DecoderOptions, Formatter, FormatterSyntax } = createRequire(import.meta.url)(
    "iced-x86",
  ) as typeof Iced;
  const decoder = new Decoder(bitness, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Gas);
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  formatter.smallHexNumbersInDecimal = false;
  formatter.branchLeadingZeros = false;
  formatter.ripRelativeAddresses = true;
  decoder.ip = address;
  const lines: Line[] = [];
  try {
    while (lines.length < count && decoder.canDecode) {
      const at = decoder.position;
      const instruction = decoder.decode();
      const target = instruction.nearBranchTarget;
      lines.push({
        address: address + BigInt(at),
        bytes: bytes.subarray(at, decoder.position),
        text: instruction.isInvalid ? "(bad)" : formatter.format(instruction),
        ...(target !== 0n && { target }),
      });
      instruction.free();
    }
    return lines;
  } finally {
    formatter.free();
    decoder.free();
  }
}
