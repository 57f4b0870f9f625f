import { expect, test } from "vitest";
import { toJson } from "../../src/cli/output.js";

test.each([
  [0n, "0"],
  [9007199254740991n, "9007199254740991"],
  [9007199254740992n, '"9007199254740992"'],
  [-9007199254740991n, "-9007199254740991"],
  [-9223372036854775807n, '"-9223372036854775807"'],
])("the bigint %s in JSON is exact: %s", (value, text) => {
  expect(toJson(value)).toBe(text);
});
