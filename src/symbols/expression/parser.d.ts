import { type TypeNames } from "../types/parser.js";
import type { Expression } from "./syntax.js";
/**
 * Understands a C expression as GDB does: members, dereferences, indexes, casts, sizeof, registers (`$rdi`), numbers,
 * characters, arithmetic, comparison, logic, `first@count`, and `{type} address`. A leading `/x` is the format in which
 * the result is shown.
 *
 * @param types gives meaning to the names of types in it
 * @throws VmtapeError `usage` with the column that is wrong
 */
export declare function parseExpression(text: string, types: TypeNames): Expression;
