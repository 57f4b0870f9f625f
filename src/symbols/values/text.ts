/**
 * Characters, strings and numbers in GDB's spelling, for a target that speaks ASCII. Source: GDB 13, valprint.c
 * (`generic_printstr`, `print_wchar`, `count_next_character`), compared with GDB in the tests.
 */

/** How much is printed of what is long; GDB's defaults. */
export interface PrintLimits {
  /** `set print elements`. */
  readonly elements: number;
  /** `set print repeats`. */
  readonly repeats: number;
  /** `set print max-depth`. */
  readonly depth: number;
}

export const printLimits: PrintLimits = { elements: 200, repeats: 10, depth: 20 };

const named = new Map([
  [7, "\\a"],
  [8, "\\b"],
  [9, "\\t"],
  [10, "\\n"],
  [11, "\\v"],
  [12, "\\f"],
  [13, "\\r"],
]);
const backslash = 0x5c;

/** One character as it stands between quotes of this kind. */
function spell(code: number, quote: string): string {
  const short = named.get(code);
  if (short) return short;
  if (!isPrintable(code)) return octal(code);
  const char = String.fromCharCode(code);
  return char === quote || code === backslash ? `\\${char}` : char;
}

function isPrintable(code: number): boolean {
  return code >= 0x20 && code < 0x7f;
}

function octal(code: number): string {
  return `\\${code.toString(8).padStart(3, "0")}`;
}

/** `'a'`, `'\000'`; of a number that is no byte, its low 8 bits. */
export function formatChar(value: number | bigint): string {
  return `'${spell(Number(BigInt.asUintN(8, BigInt(value))), "'")}'`;
}

/**
 * The characters of an array or of a string in memory: `"sh", '\000' <repeats 13 times>`. A last NUL is not shown.
 *
 * @param more true: the string goes on after these bytes, so `...` follows and a last NUL is shown
 */
export function formatString(bytes: Uint8Array, more = false, limits: PrintLimits = printLimits): string {
  let length = bytes.length;
  if (!more && length > 0 && bytes[length - 1] === 0) length--;
  if (length === 0) return '""';
  const parts: string[] = [];
  let open = "";
  let shown = 0;
  let at = 0;
  while (at < length && shown < limits.elements) {
    const code = bytes[at]!;
    let end = at + 1;
    while (end < length && bytes[end] === code) end++;
    const count = end - at;
    if (count > limits.repeats) {
      if (open) parts.push(`${open}"`);
      open = "";
      parts.push(`'${spell(code, "'")}' <repeats ${count} times>`);
    } else {
      open ||= '"';
      open += spell(code, '"').repeat(count);
    }
    shown += count;
    at = end;
  }
  if (open) parts.push(`${open}"`);
  return parts.join(", ") + (more || at < length ? "..." : "");
}

/** A float as C's `%.9g` or `%.17g` writes it, as GDB does. */
export function formatFloat(value: number, bytes: Uint8Array): string {
  if (Number.isNaN(value)) return formatNan(bytes);
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  const digits = bytes.length === 4 ? 9 : bytes.length === 8 ? 17 : 18;
  return general(value, digits);
}

function formatNan(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 4) {
    const bits = view.getUint32(0, true);
    return `${bits >>> 31 ? "-" : ""}nan(0x${(bits & 0x7fffff).toString(16)})`;
  }
  const bits = view.getBigUint64(0, true);
  if (bytes.length === 8) return `${bits >> 63n ? "-" : ""}nan(0x${BigInt.asUintN(52, bits).toString(16)})`;
  const top = bytes.length >= 10 ? view.getUint16(8, true) : 0;
  return `${top >> 15 ? "-" : ""}nan(0x${bits.toString(16)})`;
}

/** C's `%g`: the shorter of fixed and exponential, without trailing zeros. */
function general(value: number, digits: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, power] = value.toExponential(digits - 1).split("e") as [string, string];
  const exponent = Number(power);
  if (exponent < -4 || exponent >= digits) {
    const sign = exponent < 0 ? "-" : "+";
    return `${trimZeros(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  return trimZeros(value.toFixed(Math.max(0, digits - 1 - exponent)));
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
