import { execFileSync } from "node:child_process";
import fc from "fast-check";
import {
  Decoder,
  DecoderOptions,
  InstructionInfoFactory,
  Mnemonic,
  OpAccess,
  OpKind,
  RegisterExt,
} from "iced-x86";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Workbench } from "../workbench.js";
import { compileHarness } from "./compile.js";

// Which instructions change general registers and flags alone, compared with the registers that iced says they write.
let bench: Workbench;
let harness: string;
beforeAll(async () => {
  bench = await Workbench.make();
  harness = await compileHarness("film-classes-harness", ["branches/film-classes.c"], {
    into: bench.directory,
  });
}, 120_000);
afterAll(() => bench[Symbol.asyncDispose]());

const prefixes = [0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x41, 0x48, 0x4d];
/** One-byte, two-byte and three-byte opcodes alike, and VEX. */
const anyCode = fc
  .tuple(
    fc.array(fc.constantFrom(...prefixes), { maxLength: 2 }),
    fc.constantFrom([], [0x0f], [0x0f, 0x38], [0x0f, 0x3a], [0xc5], [0xc4]),
    fc.uint8Array({ minLength: 14, maxLength: 14 }),
  )
  .map(([before, opcodes, rest]) => Uint8Array.from([...before, ...opcodes, ...rest]).subarray(0, 15));

const writes: ReadonlySet<number> = new Set([
  OpAccess.Write,
  OpAccess.CondWrite,
  OpAccess.ReadWrite,
  OpAccess.ReadCondWrite,
]);
/** Instructions that write registers of the machine that iced counts as none. */
const machine: ReadonlySet<Mnemonic> = new Set([
  ...[
    Mnemonic.Wrmsr,
    Mnemonic.Swapgs,
    Mnemonic.Syscall,
    Mnemonic.Sysret,
    Mnemonic.Sysretq,
    Mnemonic.Sysenter,
  ],
  ...[Mnemonic.Sysexit, Mnemonic.Sysexitq, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq, Mnemonic.Rsm],
  ...[Mnemonic.Wrfsbase, Mnemonic.Wrgsbase, Mnemonic.Fninit, Mnemonic.Fxrstor, Mnemonic.Fxrstor64],
  ...[Mnemonic.Xrstor, Mnemonic.Xrstor64, Mnemonic.Ldmxcsr, Mnemonic.Vldmxcsr, Mnemonic.Emms, Mnemonic.Lmsw],
  ...[Mnemonic.Clts, Mnemonic.Xsetbv, Mnemonic.Fldcw, Mnemonic.Fldenv, Mnemonic.Frstor, Mnemonic.Fnclex],
  ...[Mnemonic.Retf, Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Into, Mnemonic.Stac, Mnemonic.Clac],
]);

test("what is said to change general registers and flags alone writes no others", () => {
  const samples = fc.sample(anyCode, 60_000);
  const factory = new InstructionInfoFactory();
  const known: { text: string; hex: string; others: boolean; port: string }[] = [];
  for (const bytes of samples) {
    const decoder = new Decoder(64, bytes, DecoderOptions.AMD);
    const instruction = decoder.decode();
    if (!instruction.isInvalid) {
      const info = factory.info(instruction);
      const others = info
        .usedRegisters()
        .some(
          ({ register, access }) =>
            writes.has(access) && !RegisterExt.isGPR(register) && !RegisterExt.isIP(register),
        );
      known.push({
        text: instruction.toString(),
        hex: Buffer.from(bytes.subarray(0, instruction.length)).toString("hex"),
        others: others || machine.has(instruction.mnemonic),
        port: portOf(
          instruction.mnemonic,
          instruction.op0Kind === OpKind.Immediate8 ? instruction.immediate8 : undefined,
        ),
      });
      info.free();
    }
    instruction.free();
    decoder.free();
  }
  const input = `${known.map(({ hex }) => hex).join("\n")}\n`;
  const lines = execFileSync(harness, { input, encoding: "utf8", maxBuffer: 2 ** 28 })
    .trim()
    .split("\n");
  expect(lines).toHaveLength(known.length);
  let plain = 0;
  known.forEach(({ text, hex, others, port }, i) => {
    const [alone, written] = lines[i]!.split(" ");
    if (alone === "1") {
      plain++;
      expect(others, `${hex} ${text}`).toBe(false);
    }
    expect(written, `${hex} ${text}`).toBe(port);
  });
  expect(plain).toBeGreaterThan(known.length / 5);
});

/** As the plugin says it: -1 for none, -2 for the one in dx. */
function portOf(mnemonic: Mnemonic, immediate: number | undefined): string {
  if (mnemonic === Mnemonic.Out) return immediate === undefined ? "-2" : String(immediate);
  return mnemonic === Mnemonic.Outsb || mnemonic === Mnemonic.Outsw || mnemonic === Mnemonic.Outsd
    ? "-2"
    : "-1";
}
