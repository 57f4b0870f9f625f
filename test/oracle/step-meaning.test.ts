import { describe, expect, test } from "vitest";
import { showRecord } from "./branch-record.js";
import { decode } from "./instruction.js";
import type { Deliveries } from "./replay-events.js";
import { StepMeaning } from "./step-meaning.js";

const code = new Map<number, string>([
  [0x10, "90"], // nop
  [0x11, "eb0d"], // jmp 0x20
  [0x13, "f4"], // hlt
  [0x14, "f3aa"], // rep stosb
  [0x16, "cd80"], // int 0x80
  [0x18, "7406"], // jz 0x20
  [0x1a, "7400"], // jz 0x1c
  [0x1c, "eb00"], // jmp 0x1e
  [0x1e, "f390"], // pause
  [0x20, "ebfe"], // jmp to itself
  [0x30, "c3"], // ret
  [0x40, "90"], // a handler
]);
const at = (address: number) => {
  const bytes = code.get(address);
  return bytes === undefined ? undefined : decode(Buffer.from(bytes, "hex"), 64, BigInt(address), 0n);
};

/**
 * Follows steps, each written as `address@icount`, optionally with `^address` for the word on top of the stack.
 * Deliveries are `int@icount` and `exc@icount`. Returns the records, and with `!` what could not be explained.
 */
function follow(steps: string, deliveries = ""): string[] {
  const log = deliveries.split(" ").filter(Boolean);
  const list: Deliveries = {
    icounts: Float64Array.from(log, (one) => Number(one.split("@")[1])),
    interrupts: Uint8Array.from(log, (one) => Number(one.startsWith("int"))),
    end: 1000,
  };
  const shown = steps.split(" ").map((step) => {
    const [, address, icount, pushed] = step.match(/^(\w+)@(\d+)(?:\^(\w+))?$/)!;
    return { at: Number(`0x${address}`), icount: Number(icount), pushed: pushed && BigInt(`0x${pushed}`) };
  });
  const first = shown[0]!;
  const meaning = new StepMeaning(list, 0, {
    at: BigInt(first.at),
    icount: first.icount,
    instruction: at(first.at),
  });
  for (const step of shown.slice(1)) {
    while (meaning.runsOn) meaning.runOn(at(Number(meaning.next)));
    meaning.leave(BigInt(step.at), at(step.at), { counted: step.icount, pushed: step.pushed || undefined });
  }
  return [...meaning.records.map(showRecord), ...meaning.doubts.map((doubt) => `! ${doubt}`)];
}

describe("what single steps mean", () => {
  test.each([
    ["straight on", "10@5 11@6", "", []],
    ["a jump", "11@5 20@6", "", ["11 -> 20 jump @6"]],
    ["a jump to the next instruction", "1c@5 1e@6", "", ["1c -> 1e jump @6"]],
    ["a conditional jump taken", "18@5 20@6", "", ["18 -> 20 conditional @6"]],
    ["a conditional jump not taken", "18@5 1a@6", "", []],
    ["a conditional jump to the next instruction", "1a@5 1c@6", "", []],
    ["rounds of a rep", "14@5 14@6 14@7 16@8", "", []],
    ["a jump to itself", "20@5 20@6 20@7", "", ["20 -> 20 jump @6", "20 -> 20 jump @7"]],
    ["a step that executes nothing", "10@5 10@5 11@6", "", []],
    ["an interrupt", "10@5 40@5", "int@5", ["10 -> 40 interrupt @5"]],
    ["an interrupt behind a jump", "11@5 20@6 40@6", "int@6", ["11 -> 20 jump @6", "20 -> 40 interrupt @6"]],
    ["an interrupt that wakes from hlt", "13@5 40@6", "int@6", ["14 -> 40 interrupt @6"]],
    ["an interrupt in a rep", "14@5 14@6 40@6", "int@6", ["14 -> 40 interrupt @6"]],
    ["a fault", "10@5 40@5", "exc@5", ["10 -> 40 exception @5"]],
    [
      "a fault of what a jump led to",
      "11@5 20@6 40@6",
      "exc@6",
      ["11 -> 20 jump @6", "20 -> 40 exception @6"],
    ],
    ["a fault where no instruction can be fetched", "50@5 40@5", "exc@5", ["50 -> 40 exception @5"]],
    ["a software interrupt", "16@5 40@6", "exc@6", ["16 -> 40 exception @6"]],
    ["a software interrupt whose handler is next", "16@5 18@6", "exc@6", ["16 -> 18 exception @6"]],
    [
      "a fault and an interrupt at one count",
      "10@5 40@5 30@5",
      "exc@5 int@5",
      ["10 -> 40 exception @5", "40 -> 30 interrupt @5"],
    ],
    ["a fault while another is delivered", "10@5 40@5 41@6", "exc@5 exc@5", ["10 -> 40 exception @5"]],
    ["a trap behind an instruction", "10@5 40@6^11", "exc@6", ["11 -> 40 exception @6"]],
    ["a trap behind a jump", "11@5 40@6^20", "exc@6", ["11 -> 20 jump @6", "20 -> 40 exception @6"]],
    ["an instruction refused at decoding", "10@5 40@6^10", "exc@6", ["10 -> 40 exception @6"]],
    ["pause, and behind it a jump", "1e@5 20@7", "", ["20 -> 20 jump @7"]],
    ["an interrupt between pause and what follows", "1e@5 40@6", "int@6", ["20 -> 40 interrupt @6"]],
    ["a return", "30@5 10@6", "", ["30 -> 10 return @6"]],
    ["a step that has no reason", "10@5 20@6", "", ["! 10 nop went to 20 @6"]],
    ["a count that has no reason", "10@5 11@7", "", ["! 11: count 7, expected 6"]],
  ])("%s", (_, steps, deliveries, records) => {
    expect(follow(steps, deliveries)).toEqual(records);
  });
});
