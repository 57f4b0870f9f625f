import type { SourcePlace } from "./debug-info.js";
import type { Located } from "./symbols.js";

/**
 * The two printing styles of an address with its name.
 *
 * - "gdb": `0x… <name>`, `0x… <name+offset>`, and `0x…` alone when unknown; the outer function only
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
  const { name, offset } = located.declared ?? located;
  const outer = `${located.prefix}${withOffset(name, offset)}`;
  const innermost = style === "full" ? located.inlined?.[0] : undefined;
  return innermost ? `${withOffset(innermost.name, innermost.offset)} @ ${outer}` : outer;
}

/** `FILE:LINE:COLUMN`, the column left out where it is not known. */
export function formatPlace({ file, line, column }: SourcePlace): string {
  return column > 0 ? `${file}:${line}:${column}` : `${file}:${line}`;
}

function withOffset(name: string, offset: number): string {
  return offset === 0 ? name : `${name}+${offset}`;
}
