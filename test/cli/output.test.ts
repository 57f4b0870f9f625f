import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { printable } from "../../src/base/printable.js";
import { eventLine } from "../../src/cli/guest/strace-line.js";
import { reportFailure } from "../../src/cli/shell/failure.js";
import { note, say, sayFacts, toJson } from "../../src/cli/shell/output.js";
import { sayTable } from "../../src/cli/shell/table.js";

test.each([
  [0n, "0"],
  [9007199254740991n, "9007199254740991"],
  [9007199254740992n, '"9007199254740992"'],
  [-9007199254740991n, "-9007199254740991"],
  [-9223372036854775807n, '"-9223372036854775807"'],
])("the bigint %s in JSON is exact: %s", (value, text) => {
  expect(toJson(value)).toBe(text);
});

describe("what is printed is a line for each thing", () => {
  const hostile = "na\nme\x1b[2J\u2028\tend";
  const out = vi.spyOn(process.stdout, "write");
  const err = vi.spyOn(process.stderr, "write");
  beforeEach(() => {
    out.mockReset().mockReturnValue(true);
    err.mockReset().mockReturnValue(true);
  });
  afterAll(() => {
    out.mockRestore();
    err.mockRestore();
  });
  /** vmtape's own colours are removed, for terminals that have them. */
  const colours = /\p{Cc}\[\d+m/gu;
  const printed = ({ mock }: typeof out) =>
    mock.calls.map(([text]) => String(text).replace(colours, "")).join("");

  test("say, note", () => {
    say(hostile);
    note(hostile);
    expect([printed(out), printed(err)]).toEqual(Array(2).fill("na\\nme\\033[2J\\342\\200\\250\tend\n"));
  });
  test("facts", () => {
    sayFacts({ name: hostile });
    expect(printed(out)).toBe("name  na\\nme\\033[2J\\342\\200\\250\\tend\n");
  });
  test("tables", async () => {
    await sayTable(
      [
        { head: "N", text: (row: string) => row },
        { head: "M", text: () => "m" },
      ],
      [hostile, "x"],
    );
    const lines = printed(out).trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[1]).toBe("na\\nme\\033[2J\\342\\200\\250\\tend m");
  });
  // As GNOME's terminal and xterm show them: two wide characters take four columns, an accent none.
  test.each([
    ["ascii", 5],
    ["日本", 4],
    ["e\u0301te\u0301", 3],
    ["ไฟล์ที่", 4],
    ["\u{1f4fc}", 2],
    ["\u{1f469}\u200d\u{1f4bb}", 2],
    ["\u{1f1e9}\u{1f1ea}", 2],
    ["ｶﾞ", 2],
    ["Ａ", 2],
  ])("columns of %s", async (name, width) => {
    await sayTable(
      [
        { head: "NAME", text: (row: string) => row },
        { head: "SIZE", align: "right", text: (row) => row },
        { head: "END", text: () => "|" },
      ],
      [name, "sixteen columns."],
    );
    const [, line] = printed(out).split("\n");
    const spaces = " ".repeat(16 - width);
    expect(line).toBe(`${name}${spaces} ${spaces}${name} |`);
  });
  test("errors", () => {
    reportFailure(new VmtapeError("bad-file", `${hostile} is a directory`), false);
    expect(printed(err)).toBe("vmtape: na me\\033[2J\\342\\200\\250\\tend is a directory\n");
  });
  test("system calls of a task with such a name", () => {
    const line = eventLine({ kind: "exit", task: { pid: 1, name: hostile }, from: 5n, code: 0 } as never);
    expect(printable(line)).toBe("@5 1 na\\nme\\033[2J\\342\\200\\250\\tend  +++ exited with 0 +++");
  });
});
