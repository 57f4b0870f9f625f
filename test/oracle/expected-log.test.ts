import { describe, expect, test } from "vitest";
import type { BranchRecord } from "./branch-record.js";
import { checkLog, namer, parseExpectedLog } from "./expected-log.js";

const labels = new Map([
  ["main", 0x1000n],
  ["loop", 0x1010n],
  ["timer", 0x2000n],
]);

const text = `
anywhere, at least 1
  * -> timer  interrupt
  timer+4 -> *  iret
end
main -> loop  jump
repeat 2
  loop+2 -> main  call   # a comment
  main+1 -> loop  return
end
loop -> loop  jump  any
main -> main+8  far  x2
`;
const expected = parseExpectedLog(text, labels);

/** `1000 1010 jump` for each record. */
function records(...lines: string[]): BranchRecord[] {
  return lines.map((line, icount) => {
    const [from, to, kind] = line.split(" ");
    return { from: BigInt(`0x${from}`), to: BigInt(`0x${to}`), kind: kind as BranchRecord["kind"], icount };
  });
}

const [jump, call, back, self, far] = [
  "1000 1010 jump",
  "1012 1000 call",
  "1001 1010 return",
  "1010 1010 jump",
  "1000 1008 far",
];
const irq = (from: string) => [`${from} 2000 interrupt`, `2004 ${from} iret`];
const good = [
  jump!,
  call!,
  back!,
  ...irq("1011"),
  call!,
  back!,
  self!,
  ...irq("1010"),
  self!,
  far!,
  far!,
  ...irq("1008"),
];

describe("checkLog", () => {
  test("accepts the log with interrupts anywhere", () => {
    expect(checkLog(records(...good), expected, labels)).toBeUndefined();
  });

  test("accepts no `any` at all", () => {
    const log = [jump!, ...irq("1010"), call!, back!, call!, back!, far!, far!];
    expect(checkLog(records(...log), expected, labels)).toBeUndefined();
  });

  test("refuses the log with any one record left out, except those it need not have", () => {
    const optional = new Set([7, 10]);
    good.forEach((_, i) => {
      const log = good.filter((_, j) => j !== i);
      expect(checkLog(records(...log), expected, labels) === undefined, `without record ${i}`).toBe(
        optional.has(i),
      );
    });
  });

  test("refuses a log without the interrupts", () => {
    const log = [jump!, call!, back!, call!, back!, far!, far!];
    expect(checkLog(records(...log), expected, labels)).toContain("0 times");
  });

  test("refuses an interrupt that returns elsewhere, and says where", () => {
    const log = [jump!, "1011 2000 interrupt", "2004 1010 iret", call!, back!, call!, back!, far!, far!];
    expect(checkLog(records(...log), expected, labels)).toBe(
      "record 1 is loop+1 -> timer interrupt, expected line 8: loop+2 -> main  call",
    );
  });

  test("refuses another kind and one record too many", () => {
    expect(checkLog(records("1000 1010 call"), expected, labels)).toContain("record 0");
    expect(checkLog(records(...good, far!), expected, labels)).toContain("expected the end");
  });
});

test("an expected log that is not understood names its line", () => {
  expect(() => parseExpectedLog("main -> loop  leap", labels)).toThrow("line 1");
  expect(() => parseExpectedLog("\nmain -> nowhere  jump", labels)).toThrow("nowhere");
});

test("addresses are named by the label before them", () => {
  expect(namer(labels)(0x1000n)).toBe("main");
  expect(namer(labels)(0x1015n)).toBe("loop+5");
  expect(namer(labels)(0xfffn)).toBe("0xfff");
});
