import type { Node } from "./syntax.js";

/**
 * What a node of an expression is made of, in the order in which it is written. The one place that knows which kinds of
 * nodes have which parts: whoever goes through a tree does it with this and {@link withParts}.
 */
export function partsOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "unary":
    case "cast":
    case "at":
    case "member":
      return [node.operand];
    case "binary":
      return [node.left, node.right];
    case "conditional":
      return [node.test, node.then, node.otherwise];
    case "index":
      return [node.operand, node.index];
    case "repeat":
      return [node.operand, node.count];
    case "size":
      return "column" in node.of ? [node.of] : [];
    default:
      return [];
  }
}

/** The node with each of its parts replaced. */
export function withParts(node: Node, replace: (part: Node) => Node): Node {
  switch (node.kind) {
    case "unary":
    case "cast":
    case "at":
    case "member":
      return { ...node, operand: replace(node.operand) };
    case "binary":
      return { ...node, left: replace(node.left), right: replace(node.right) };
    case "conditional": {
      const { test, then, otherwise } = node;
      // biome-ignore lint/suspicious/noThenProperty: the syntax tree's own name
      return { ...node, test: replace(test), then: replace(then), otherwise: replace(otherwise) };
    }
    case "index":
      return { ...node, operand: replace(node.operand), index: replace(node.index) };
    case "repeat":
      return { ...node, operand: replace(node.operand), count: replace(node.count) };
    case "size":
      return "column" in node.of ? { ...node, of: replace(node.of) } : node;
    default:
      return node;
  }
}
