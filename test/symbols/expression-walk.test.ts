import { describe, expect, it, test } from "vitest";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import type { Node } from "../../src/symbols/expression/syntax.js";
import { partsOf, withParts } from "../../src/symbols/expression/walk.js";
import { Types } from "../../src/symbols/types/set.js";

const parse = (text: string) => parseExpression(text, new Types()).root;

/** Names and numbers, in the order of a walk. */
function* leaves(node: Node): Generator<string> {
  if (node.kind === "name" || node.kind === "register") yield node.name;
  if (node.kind === "integer") yield `${node.value}`;
  for (const part of partsOf(node)) yield* leaves(part);
}

const cases = [
  ["a ? b + $rax : -c", "a b $rax c"],
  ["a[i + 1].m->n", "a i 1"],
  ["*(unsigned long *)p && !q", "p q"],
  ["{int} (x & 7)", "x 7"],
  ["a@n", "a n"],
  ["sizeof (a[3])", "a 3"],
  ["sizeof (int)", ""],
  ['"text"', ""],
  ["1.5", ""],
] as const;

describe("a walk over an expression's tree", () => {
  test.each(cases)("meets all of %s", (text, names) => {
    expect([...leaves(parse(text))].join(" ")).toBe(names);
  });

  test.each(cases)("replaces all of %s", (text, names) => {
    const rename = (node: Node): Node =>
      node.kind === "name" ? { ...node, name: `new_${node.name}` } : withParts(node, rename);
    const renamed = names.replace(/\b(?<!\$)([a-z]+)/g, "new_$1").replace("$new_", "$");
    expect([...leaves(rename(parse(text)))].join(" ")).toBe(renamed);
  });

  it("leaves the tree as it was", () => {
    const tree = parse("a[i] ? b : sizeof (c)");
    const before = structuredClone(tree);
    withParts(tree, () => ({ kind: "name", column: 1, name: "x" }));
    expect(tree).toEqual(before);
  });
});
