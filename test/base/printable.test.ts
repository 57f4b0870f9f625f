import { expect, test } from "vitest";
import { printable } from "../../src/base/printable.js";
import { toJson } from "../../src/cli/shell/output.js";

test.each([
  ["plain /usr/bin/päth", "plain /usr/bin/päth"],
  ["two\nlines", "two\\nlines"],
  ["\x1b]0;title\x07", "\\033]0;title\\a"],
  ["back\rover", "back\\rover"],
  ["a\tb", "a\\tb"],
  ["\x7f\x80\x9b1m", "\\177\\302\\200\\302\\2331m"],
  ["next\u0085line\u2028and\u2029on", "next\\302\\205line\\342\\200\\250and\\342\\200\\251on"],
  ["\u202etxt.exe", "\\342\\200\\256txt.exe"],
  ["back\\slash", "back\\slash"],
])("%j is printed as %s", (text, shown) => {
  expect(printable(text)).toBe(shown);
  expect(printable(shown)).toBe(shown);
});

test("no character at all makes a line or a command of its own", () => {
  for (let code = 0; code < 0x3000; code++) {
    const shown = printable(String.fromCharCode(code));
    // Characters that JavaScript, Python or terminals take for the end of a line or the beginning of a command.
    expect(shown).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
  }
});

test("tabs stay where they are wanted", () => {
  expect(printable("rcu: \tdelay\x1b", { tabs: true })).toBe("rcu: \tdelay\\033");
});

test("JSON is one line without control characters, and keeps the exact value", () => {
  const value = { name: "a\nb\x1b[1m\x7f\x9b\u2028\u202e\\" };
  const text = toJson(value);
  expect(text).not.toMatch(/[\p{Cc}\u2028\u202e]/u);
  expect(JSON.parse(text)).toEqual(value);
});
