import { resolve, type Type } from "../types/type.js";
import { formatChar } from "./text.js";
import { toFloat, toInteger } from "./value.js";

/** The letters after GDB's `print/`. */
export const printFormats = ["x", "d", "u", "o", "t", "c", "a", "z", "s"] as const;
export type PrintFormat = (typeof printFormats)[number];

/**
 * A scalar in the way a format letter asks for: `0x1f`, `31`, `037`, `11111`, `31 '\037'`.
 *
 * @param named an address with its name, for `a`
 */
export function formatScalar(
  type: Type,
  bytes: Uint8Array,
  format: PrintFormat,
  named: (address: bigint) => string,
): string {
  const bits = bytes.length * 8;
  const plain = resolve(type);
  const value =
    plain.kind === "float" && bytes.length >= 4 && !"xz".includes(format)
      ? floatToInteger(toFloat(bytes))
      : toInteger(type, bytes);
  const raw = BigInt.asUintN(bits, value);
  switch (format) {
    case "x":
      return `0x${raw.toString(16)}`;
    case "z":
      return `0x${raw.toString(16).padStart(bytes.length * 2, "0")}`;
    case "o":
      return raw === 0n ? "0" : `0${raw.toString(8)}`;
    case "t":
      return raw.toString(2);
    case "u":
      return String(raw);
    case "a":
      return named(raw);
    case "c":
      return `${plain.kind === "int" && !plain.signed ? raw & 0xffn : BigInt.asIntN(8, raw)} ${formatChar(raw)}`;
    default:
      return String(BigInt.asIntN(bits, raw));
  }
}

function floatToInteger(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}
