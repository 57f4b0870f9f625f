import { describe, expect, test } from "vitest";
import { listNodes } from "../../src/linux/guest/kernel-list.js";
import { all, ModelGuest } from "./model-guest.js";

const head = 0xffff_8880_0000_1000n;
const nodes = [0x100n, 0x2000n, 0x50_0000n].map((offset) => head + offset);

/** A list from its head through these nodes, whose last pointer is `last`. */
function listOf(last = head) {
  const model = new ModelGuest();
  const chain = [head, ...nodes, last];
  for (let i = 0; i + 1 < chain.length; i++) model.word(chain[i]!, chain[i + 1]!);
  return model;
}

const walk = (model: ModelGuest, most = 10) => all(listNodes(model.guest(), head, "the list", most));

describe("a list of the kernel's", () => {
  test("gives its nodes, in order, without its head", async () => {
    expect(await walk(listOf())).toEqual(nodes);
  });

  test("is empty when it leads to itself, or has not been set up", async () => {
    const model = new ModelGuest();
    model.word(head, head);
    expect(await walk(model)).toEqual([]);
    model.word(head, 0n);
    expect(await walk(model)).toEqual([]);
  });

  test("that bites its tail, leads to nothing, or is endless says where", async () => {
    await expect(walk(listOf(nodes[1]!))).rejects.toMatchObject({
      code: "bad-memory",
      facts: { address: nodes[1] },
      message: expect.stringContaining("leads back into itself"),
    });
    await expect(walk(listOf(0xdead_0000_0000_0100n))).rejects.toMatchObject({
      code: "bad-memory",
      facts: { address: 0xdead_0000_0000_0100n },
    });
    await expect(walk(listOf(), 2)).rejects.toMatchObject({
      code: "bad-memory",
      message: expect.stringContaining("more than 2"),
    });
    await expect(walk(new ModelGuest())).rejects.toMatchObject({ facts: { address: head } });
  });
});
