import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { LinuxGuest } from "./linux-guest.js";
import type { StructView } from "./struct-view.js";

/**
 * Maple trees, in which a process's mappings are kept from Linux 6.1 on. Source: include/linux/maple_tree.h and
 * lib/maple_tree.c of Linux 6.12.
 *
 * A pointer to a node has the node's kind in bits 3 to 6 and flags below; nodes are 256 bytes, so 8 bits are not
 * part of the address. A node has slots, and between each two of them a pivot: the last index of the slot before it.
 */
const nodeMask = 0xffn;
const kindShift = 3n;
const kindMask = 0xfn;
/** Slots of kinds 1 (leaf) and 2 lie in `mr64`; those of kind 3, which also has gaps, in `ma64`. Kind 0 has no pivots. */
const kinds = { dense: 0, leaf: 1, range: 2, gaps: 3 } as const;
/** A root or an entry of a leaf whose lowest bits are 10 is a node (a root above 4096), or a mark of the tree's own. */
const internalBits = 3n;
const internal = 2n;
const smallestNode = 4096n;

/** 10 entries a node at least half full: no tree is deeper, even with a mapping for each page there can be. */
const deepest = 16;

/** An entry of a tree, with the first and last index it stands for. */
export interface MapleEntry {
  readonly first: bigint;
  readonly last: bigint;
  readonly entry: bigint;
}

/**
 * The entries of a tree, by index.
 *
 * @param root the value of `maple_tree.ma_root`
 * @throws VmtapeError `bad-memory` when it is no tree, or has more than `most` nodes; `not-mapped`
 */
export async function* mapleEntries(
  guest: LinuxGuest,
  root: bigint,
  most: number,
): AsyncGenerator<MapleEntry> {
  let nodes = 0;
  if (!isNode(root)) {
    if (root !== 0n && !isInternal(root)) yield { first: 0n, last: 0n, entry: root };
    return;
  }
  yield* walk(root, 0n, 0xffff_ffff_ffff_ffffn, 0);

  async function* walk(
    encoded: bigint,
    first: bigint,
    last: bigint,
    depth: number,
  ): AsyncGenerator<MapleEntry> {
    if (depth > deepest || ++nodes > most) throw broken(encoded, "it is too deep or has too many nodes");
    const kind = Number((encoded >> kindShift) & kindMask);
    if (kind !== kinds.leaf && kind !== kinds.range && kind !== kinds.gaps) {
      throw broken(encoded, `a node is of kind ${kind}`);
    }
    const where = kind === kinds.gaps ? "ma64" : "mr64";
    const node = await guest.read("maple_node", encoded & ~nodeMask, [`${where}.pivot`, `${where}.slot`]);
    const pivots = words(node, `${where}.pivot`);
    const slots = words(node, `${where}.slot`);
    let start = first;
    for (let i = 0; i < slots.length && start <= last; i++) {
      const pivot = pivots[i] ?? last;
      // A pivot of 0 after the first: the slots before it are all there are.
      const end = pivot === 0n && i > 0 ? last : pivot;
      if (end < start || end > last) throw broken(encoded, "its indexes do not ascend");
      const slot = slots[i]!;
      if (kind !== kinds.leaf) {
        if (slot !== 0n) yield* walk(slot, start, end, depth + 1);
      } else if (slot !== 0n && !isInternal(slot)) {
        yield { first: start, last: end, entry: slot };
      }
      if (end === last) return;
      start = end + 1n;
    }
  }
}

function words(node: StructView, path: string): BigUint64Array {
  const bytes = node.bytesOf(path);
  return new BigUint64Array(Uint8Array.from(bytes).buffer);
}

function isInternal(entry: bigint): boolean {
  return (entry & internalBits) === internal;
}

function isNode(entry: bigint): boolean {
  return isInternal(entry) && entry > smallestNode;
}

function broken(node: bigint, why: string): VmtapeError {
  return new VmtapeError("bad-memory", `a tree of mappings is broken at ${hex(node)}: ${why}`, {
    address: node,
  });
}
