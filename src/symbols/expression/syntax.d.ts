import type { Type } from "../types/type.js";
import type { PrintFormat } from "../values/format.js";
export type UnaryOperator = "-" | "+" | "!" | "~" | "*" | "&";
export type BinaryOperator =
  | "*"
  | "/"
  | "%"
  | "+"
  | "-"
  | "<<"
  | ">>"
  | "<"
  | ">"
  | "<="
  | ">="
  | "=="
  | "!="
  | "&"
  | "^"
  | "|"
  | "&&"
  | "||";
/** What an expression is made of. `column` counts characters from 1: where an error in it is told. */
export type Node =
  | {
      readonly kind: "integer";
      readonly column: number;
      readonly value: bigint;
      readonly type: Type;
    }
  | {
      readonly kind: "float";
      readonly column: number;
      readonly value: number;
    }
  | {
      readonly kind: "string";
      readonly column: number;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: "name";
      readonly column: number;
      readonly name: string;
    }
  /** With its `$`. */
  | {
      readonly kind: "register";
      readonly column: number;
      readonly name: string;
    }
  | {
      readonly kind: "unary";
      readonly column: number;
      readonly operator: UnaryOperator;
      readonly operand: Node;
    }
  | {
      readonly kind: "binary";
      readonly column: number;
      readonly operator: BinaryOperator;
      readonly left: Node;
      readonly right: Node;
    }
  | {
      readonly kind: "conditional";
      readonly column: number;
      readonly test: Node;
      readonly then: Node;
      readonly otherwise: Node;
    }
  | {
      readonly kind: "cast";
      readonly column: number;
      readonly type: Type;
      readonly operand: Node;
    }
  /** `{type} address`: GDB's way to say `*(type *) address`. */
  | {
      readonly kind: "at";
      readonly column: number;
      readonly type: Type;
      readonly operand: Node;
    }
  | {
      readonly kind: "size";
      readonly column: number;
      readonly of: Type | Node;
    }
  | {
      readonly kind: "member";
      readonly column: number;
      readonly operand: Node;
      readonly name: string;
    }
  | {
      readonly kind: "index";
      readonly column: number;
      readonly operand: Node;
      readonly index: Node;
    }
  /** `first@count`: as many of them, one after the other. */
  | {
      readonly kind: "repeat";
      readonly column: number;
      readonly operand: Node;
      readonly count: Node;
    };
/** An expression that was understood. */
export interface Expression {
  /** As it was written, without the format letter. */
  readonly text: string;
  readonly root: Node;
  /** From a leading `/x`. */
  readonly format: PrintFormat | undefined;
}
