import type { GuestMemory } from "../../base/guest-memory.js";
import { isStruct, resolve, sizeOf } from "../types/type.js";
import { memberOf, pieceOf, targetOf } from "./part.js";
import { type Value, valueAt } from "./value.js";

/** A part of a value, or what it leads to. */
export interface Child {
  /** A member's name (of a base class and of an anonymous member, its type's or ""), `[3]` of an array, `*` of a pointer. */
  readonly name: string;
  /** Read when it is printed or asked for children of its own. */
  readonly value: Value;
}

export interface ChildrenOptions {
  /** The first one; default 0. */
  readonly from?: number;
  /** At most so many; default 100. */
  readonly most?: number;
}

/**
 * The parts of a value: members of a structure, elements of an array, what a pointer leads to; none of anything else. Debuggers
 * and pages unfold values by it.
 *
 * ```ts
 * for (const { name, value } of await childrenOf(task, context.memory)) {
 *   console.log(name, await printValue(value, context));
 * }
 * ```
 *
 * @throws VmtapeError `not-mapped` when a pointer itself, or a value that is no memory, cannot be read
 */
export async function childrenOf(
  value: Value,
  memory: GuestMemory,
  { from = 0, most = 100 }: ChildrenOptions = {},
): Promise<Child[]> {
  if (value.missing !== undefined) return [];
  const plain = resolve(value.type);
  const children: Child[] = [];
  if (isStruct(plain)) {
    for (const member of plain.members.slice(from, from + most)) {
      children.push({ name: member.name ?? "", value: await memberOf(value, member, memory) });
    }
  } else if (plain.kind === "array") {
    const { element } = plain;
    const size = sizeOf(element);
    const end = Math.min(plain.count ?? 0, from + most);
    for (let i = from; i < end; i++) {
      const at = i * size;
      const part =
        value.address === undefined
          ? await pieceOf(value, { type: element, offset: at }, memory)
          : valueAt(element, value.address + BigInt(at));
      children.push({ name: `[${i}]`, value: part });
    }
  } else if (plain.kind === "pointer" && from === 0 && most > 0) {
    const kind = resolve(plain.target).kind;
    const target =
      kind === "void" || kind === "function" || kind === "forward"
        ? undefined
        : await targetOf(value, memory);
    if (target) children.push({ name: "*", value: target });
  }
  return children;
}

/** How many children a value has, without reading any; of a pointer, 1 where it may lead to something. */
export function childCount(value: Value): number {
  if (value.missing !== undefined) return 0;
  const plain = resolve(value.type);
  if (isStruct(plain)) return plain.members.length;
  if (plain.kind === "array") return plain.count ?? 0;
  return plain.kind === "pointer" && !["void", "function", "forward"].includes(resolve(plain.target).kind)
    ? 1
    : 0;
}
