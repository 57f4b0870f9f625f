import { builtin } from "../types/builtin.js";
import { parseType, startsType, TokenCursor } from "../types/parser.js";
import { printFormats } from "../values/format.js";
/** How tightly each operator binds; those of one strength from left to right. */
const strengths = {
    "*": 10,
    "/": 10,
    "%": 10,
    "+": 9,
    "-": 9,
    "<<": 8,
    ">>": 8,
    "<": 7,
    ">": 7,
    "<=": 7,
    ">=": 7,
    "==": 6,
    "!=": 6,
    "&": 5,
    "^": 4,
    "|": 3,
    "&&": 2,
    "||": 1,
};
/** GDB's `@` binds tighter than all of them. */
const repeatStrength = 11;
const unaryOperators = ["-", "+", "!", "~", "*", "&"];
const assignments = new Set(["=", "+=", "-=", "*=", "/=", "<<=", ">>=", "++", "--"]);
/** Deeper nesting is no expression that anybody means. */
const deepest = 128;
/**
 * Understands a C expression as GDB does: members, dereferences, indexes, casts, sizeof, registers (`$rdi`), numbers,
 * characters, arithmetic, comparison, logic, `first@count`, and `{type} address`. A leading `/x` is the format in which
 * the result is shown.
 *
 * @param types gives meaning to the names of types in it
 * @throws VmtapeError `usage` with the column that is wrong
 */
export function parseExpression(text, types) {
    const [, format, rest] = /^\s*\/([a-z])\s+(.*)$/s.exec(text) ?? [undefined, undefined, text];
    const cursor = new TokenCursor(rest);
    if (format !== undefined && !printFormats.includes(format)) {
        const known = printFormats.join(", ");
        throw cursor.error(1, `'/${format}' is no format: there are ${known}`);
    }
    const parser = new Parser(cursor, types);
    const root = parser.conditional();
    const end = cursor.peek();
    if (assignments.has(end.text))
        throw cursor.error(end.column, "a recording cannot be changed");
    if (end.kind !== "end")
        throw cursor.unexpected("an operator or the end");
    return { text: rest, root, format: format };
}
class Parser {
    cursor;
    types;
    depth = 0;
    constructor(cursor, types) {
        this.cursor = cursor;
        this.types = types;
    }
    conditional() {
        return this.nested(() => {
            const test = this.binary(1);
            const { column } = this.cursor.peek();
            if (!this.cursor.take("?"))
                return test;
            const then = this.conditional();
            this.cursor.expect(":");
            return { kind: "conditional", column, test, then, otherwise: this.conditional() };
        });
    }
    binary(least) {
        let left = this.unary();
        for (;;) {
            const { kind, text, column } = this.cursor.peek();
            if (kind !== "sign")
                return left;
            if (text === "@") {
                this.cursor.next();
                left = {
                    kind: "repeat",
                    column,
                    operand: left,
                    count: this.nested(() => this.binary(repeatStrength)),
                };
                continue;
            }
            const strength = strengths[text];
            if (strength === undefined || strength < least)
                return left;
            this.cursor.next();
            const right = this.nested(() => this.binary(strength + 1));
            left = { kind: "binary", column, operator: text, left, right };
        }
    }
    unary() {
        return this.nested(() => {
            const { kind, text, column } = this.cursor.peek();
            if (kind === "name" && text === "sizeof")
                return this.size(column);
            if (kind !== "sign")
                return this.postfix(this.primary());
            if (unaryOperators.includes(text)) {
                this.cursor.next();
                return { kind: "unary", column, operator: text, operand: this.unary() };
            }
            if (text === "&&" || assignments.has(text)) {
                throw this.cursor.error(column, text === "&&" ? "'&&' has no left side" : "a recording cannot be changed");
            }
            if (text === "{") {
                this.cursor.next();
                const type = parseType(this.cursor, this.types);
                this.cursor.expect("}");
                return { kind: "at", column, type, operand: this.unary() };
            }
            const type = text === "(" ? this.castType() : undefined;
            if (type)
                return { kind: "cast", column, type, operand: this.unary() };
            return this.postfix(this.primary());
        });
    }
    /** `(type)`, when that is what stands here. */
    castType() {
        const start = this.cursor.mark;
        this.cursor.next();
        if (startsType(this.cursor, this.types)) {
            const type = parseType(this.cursor, this.types);
            this.cursor.expect(")");
            return type;
        }
        this.cursor.rewind(start);
        return undefined;
    }
    size(column) {
        this.cursor.next();
        const type = this.cursor.peek().text === "(" ? this.castType() : undefined;
        return { kind: "size", column, of: type ?? this.unary() };
    }
    postfix(first) {
        let operand = first;
        for (let length = 0;; length++) {
            const { text, kind, column } = this.cursor.peek();
            if (kind !== "sign")
                return operand;
            if (length > deepest * 8)
                throw this.cursor.error(column, "the expression is nested too deep");
            if (text === "." || text === "->") {
                this.cursor.next();
                const name = this.cursor.next();
                // A tuple's fields are numbers.
                if (name.kind !== "name" && name.kind !== "integer") {
                    throw this.cursor.error(name.column, `expected the name of a member behind '${text}'`);
                }
                operand = { kind: "member", column: name.column, operand, name: name.text };
            }
            else if (text === "[") {
                this.cursor.next();
                const index = this.conditional();
                this.cursor.expect("]");
                operand = { kind: "index", column, operand, index };
            }
            else if (text === "(") {
                throw this.cursor.error(column, "functions cannot be called in a recording");
            }
            else
                return operand;
        }
    }
    primary() {
        const token = this.cursor.peek();
        const { column } = token;
        switch (token.kind) {
            case "integer":
                this.cursor.next();
                return { kind: "integer", column, value: token.value, type: literalType(token) };
            case "character":
                this.cursor.next();
                return { kind: "integer", column, value: BigInt(token.value), type: builtin.char };
            case "float":
                this.cursor.next();
                return { kind: "float", column, value: token.value };
            case "string":
                this.cursor.next();
                return { kind: "string", column, bytes: token.bytes };
            case "register":
                this.cursor.next();
                return { kind: "register", column, name: token.text };
            case "name":
                this.cursor.next();
                return { kind: "name", column, name: token.text };
            default: {
                if (!this.cursor.take("("))
                    throw this.cursor.unexpected("a value");
                const inner = this.conditional();
                this.cursor.expect(")");
                return inner;
            }
        }
    }
    nested(parse) {
        if (++this.depth > deepest) {
            throw this.cursor.error(this.cursor.peek().column, "the expression is nested too deep");
        }
        const node = parse();
        this.depth--;
        return node;
    }
}
/** The first type in which a number fits, as C has it: a decimal one is unsigned only when it says so. */
function literalType({ text, value }) {
    const isUnsigned = /u/i.test(text);
    const isLong = /l/i.test(text);
    const mayBeUnsigned = isUnsigned || /^0/.test(text);
    if (!isLong) {
        if (!isUnsigned && value < 1n << 31n)
            return builtin.int;
        if (mayBeUnsigned && value < 1n << 32n)
            return builtin.unsignedInt;
    }
    return !isUnsigned && value < 1n << 63n ? builtin.long : builtin.unsignedLong;
}
//# sourceMappingURL=parser.js.map