import { expect, test } from "vitest";
import { fileError, VmtapeError } from "../../src/base/errors.js";

const failed = (code: string) => Object.assign(new Error(code), { code });

test.each([
  ["ENOENT", "reading", "bad-file", "f does not exist"],
  ["ENOENT", "writing", "bad-file", "the directory of f does not exist"],
  ["EACCES", "reading", "bad-file", "no permission for reading f"],
  ["EACCES", "making", "not-writable", "no permission for making f"],
  ["EROFS", "writing", "not-writable", "no permission for writing f"],
  ["ENOSPC", "writing", "disk-full", "no space left while writing f"],
])("%s while %s is %s: %s", (errno, doing, code, message) => {
  expect(fileError(failed(errno), "f", doing)).toMatchObject({ code, message });
});

test("what is a fact already stays that", () => {
  const fact = new VmtapeError("changed", "other bytes");
  expect(fileError(fact, "f", "reading")).toBe(fact);
});

test("an error as JSON has its code, its sentence and its facts, whole numbers of any size among them", () => {
  const facts = { file: "replay.log", icount: 5n, expected: undefined, limit: 2n ** 60n };
  const error = new VmtapeError("bad-log", "it is cut", facts);
  expect(JSON.parse(JSON.stringify({ error }))).toEqual({
    error: {
      code: "bad-log",
      message: "it is cut",
      file: "replay.log",
      icount: 5,
      limit: "1152921504606846976",
    },
  });
});
