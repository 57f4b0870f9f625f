import { expect, test } from "vitest";
import { readSamples } from "./stack-proof.js";

test("samples are read in the order of their time, without those of programs alone", () => {
  const console = [
    "@S 0 30 ffffffffffffff80 ffffffff81000010 ffffffff81000020 fffffffffffffe00 401000 401100",
    "@S 2 10 ffffffffffffff80 ffffffff81000010 ffffffff81000010 ffffffff81000030",
    "@S 1 20 fffffffffffffe00 401000",
    "something else",
  ];
  expect(readSamples(console.join("\r\n"))).toEqual([
    { time: 10, kernel: [0xffff_ffff_8100_0010n, 0xffff_ffff_8100_0030n], user: undefined },
    { time: 30, kernel: [0xffff_ffff_8100_0010n, 0xffff_ffff_8100_0020n], user: 0x401000n },
  ]);
});
