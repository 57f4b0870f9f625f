import { expect, test } from "vitest";
import { expressionContext } from "../../src/linux/context/expression-context.js";
import { LinuxGuest } from "../../src/linux/guest/linux-guest.js";
import { unlessDamaged } from "../../src/linux/guest/linux-kernel.js";
import { decodeBtf } from "../../src/symbols/btf/types.js";
import { printExpression } from "../../src/symbols/expression/evaluator.js";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { ModelGuest } from "./model-guest.js";

/** A guest whose kernel carries no types. */
function untyped(): LinuxGuest {
  const { stopped, kernel, place, memory } = new ModelGuest().guest();
  return LinuxGuest.over(stopped, { ...kernel, types: undefined }, place, memory);
}

test("without BTF, arithmetic goes on, and what needs a structure says what is missing", async () => {
  const context = expressionContext(untyped(), new Symbols());
  const print = (text: string) => printExpression(parseExpression(text, context.types), context);
  expect(await print("(int)6 * 7")).toBe("42");
  await expect(print("current->comm")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringMatching(/carries no BTF that can be read/),
  });
});

test("BTF that is damaged is none: the kernel's names stay", () => {
  expect(unlessDamaged(() => decodeBtf(new Uint8Array(64), { name: "zeros" }))).toBeUndefined();
});
