import type { Timeline } from "../../replay/timeline/timeline.js";
import type { ExpressionContext } from "../../symbols/expression/evaluator.js";
import type { Symbols } from "../../symbols/names/symbols.js";
/**
 * What names and addresses mean where a timeline stands, without an operating system that is known: registers, symbols,
 * memory as it is mapped, and the types of C itself.
 */
export declare function plainContext(timeline: Timeline, symbols: Symbols): Promise<ExpressionContext>;
/** The name of what a pointer leads to; undefined after the end of the nearest symbol. */
export declare function valueName(symbols: Symbols, address: bigint): string | undefined;
