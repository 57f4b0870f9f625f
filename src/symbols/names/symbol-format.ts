import type { SourcePlace } from "../debug/info.js";
import type { Located } from "./symbols.js";

/**
 * The two printing styles of an address with its name.
 *
 * - "gdb": `0x… <name>`, `0x… <name+offset>`, and `0x…` alone when unknown; the outer function only, as GDB names it
 *   with the same debug information
 * - "full": inlined code too, `0x… <inlined+M @ outer+N>`
 *
 * Offsets are decimal, as GDB prints them, and left out when 0. A source's prefix stands before the name.
 */
export type SymbolStyle = "gdb" | "full";

/** `0x…` with the name, when there is one. */
export function formatAddress(
  address: bigint,
  located: Located | undefined,
  style: SymbolStyle = "gdb",
): string {
  const number = `0x${address.toString(16)}`;
  return located ? `${number} <${formatName(located, style)}>` : number;
}

/** What stands between the angle brackets. */
export function formatName(located: Located, style: SymbolStyle = "gdb"): string {
  const { name, offset } = outerOf(located, style);
  const outer = `${located.prefix}${withOffset(name, offset)}`;
  const innermost = style === "full" ? located.inlined?.[0] : undefined;
  return innermost ? `${withOffset(innermost.name, innermost.offset)} @ ${outer}` : outer;
}

/**
 * The function to print. GDB prints the declared one wherever its code is, at `f+6348418` and `f-8`; in the full style
 * a part that the compiler moved away is the symbol that the linker has for it, `f.cold+7`.
 */
function outerOf(located: Located, style: SymbolStyle): { readonly name: string; readonly offset: number } {
  const { declared } = located;
  if (!declared) return located;
  const isMoved = declared.offset < 0 || declared.offset > located.offset;
  return style === "full" && isMoved ? located : declared;
}

/** `FILE:LINE:COLUMN`, the column left out where it is not known. */
export function formatPlace({ file, line, column }: SourcePlace): string {
  return column > 0 ? `${file}:${line}:${column}` : `${file}:${line}`;
}

function withOffset(name: string, offset: number): string {
  if (offset === 0) return name;
  return offset < 0 ? `${name}${offset}` : `${name}+${offset}`;
}
