import { readFileSync } from "node:fs";
import fc from "fast-check";
import { Decoder, DecoderOptions, FlowControl, Mnemonic, OpKind, Register } from "iced-x86";
import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { decodeInstruction, effect, type Instruction } from "../../src/linux/stack/x86-instruction.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";

const decoded: Instruction = { length: 0, effect: 0, amount: 0, register: -1 };
const decode = (bytes: Uint8Array, at = 0) =>
  decodeInstruction((offset) => bytes[at + offset] ?? -1, decoded) ? { ...decoded } : undefined;

/** What iced says of an instruction's flow, in our words. */
function flowOf(flow: FlowControl): number | undefined {
  switch (flow) {
    case FlowControl.ConditionalBranch:
      return effect.branch;
    case FlowControl.UnconditionalBranch:
      return effect.jump;
    case FlowControl.Return:
      return effect.return;
    default:
      return undefined;
  }
}

describe("instructions", () => {
  // Node's own program: compiled C++, in the millions of instructions.
  const elf = ElfFile.open(syncBytes(readFileSync("/proc/self/exe")));
  const text = elf.contents(elf.section(".text")!);

  it("of a real program have the lengths and effects that another decoder says", () => {
    let compared = 0;
    const wrong: string[] = [];
    for (const share of [0.1, 0.5, 0.8]) {
      const from = Math.floor(text.length * share);
      const part = text.subarray(from, from + 30_000);
      const decoder = new Decoder(64, part, DecoderOptions.None);
      while (decoder.canDecode) {
        const at = decoder.position;
        const instruction = decoder.decode();
        const length = instruction.length;
        const ours = instruction.isInvalid || at + 15 > part.length ? undefined : decode(part, at);
        if (!instruction.isInvalid && at + 15 <= part.length) {
          compared++;
          const flow = flowOf(instruction.flowControl);
          const moves = instruction.stackPointerIncrement;
          const isFar = instruction.mnemonic === Mnemonic.Retf || instruction.mnemonic === Mnemonic.Iretq;
          let agrees = ours?.length === length;
          if (flow !== undefined && !isFar) agrees &&= ours?.effect === flow;
          if (instruction.mnemonic === Mnemonic.Push) agrees &&= ours?.amount === moves;
          if (instruction.mnemonic === Mnemonic.Pop) agrees &&= ours?.amount === moves;
          const adjusts =
            instruction.op0Kind === OpKind.Register &&
            instruction.op0Register === Register.RSP &&
            instruction.opCount === 2 &&
            [OpKind.Immediate8to64, OpKind.Immediate32to64].includes(instruction.op1Kind);
          if (adjusts && [Mnemonic.Add, Mnemonic.Sub].includes(instruction.mnemonic)) {
            const sign = instruction.mnemonic === Mnemonic.Add ? 1n : -1n;
            const amount = sign * BigInt.asIntN(64, instruction.immediate(1));
            agrees &&= ours?.effect === effect.moveSp && BigInt(ours.amount) === amount;
          }
          if (!agrees) {
            const bytes = Buffer.from(part.subarray(at, at + length)).toString("hex");
            wrong.push(`${bytes}: ${length} ${flow}, not ${ours?.length} ${ours?.effect}`);
          }
        }
        instruction.free();
      }
      decoder.free();
    }
    expect(compared).toBeGreaterThan(15_000);
    // What lies between functions is data at times, and then anything: one in 5,000 may be.
    expect(wrong.slice(Math.floor(compared / 5000))).toEqual([]);
  });

  it("of any bytes are at most 15 long, and cut ones are none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (bytes) => {
        const whole = decode(bytes);
        if (!whole) return;
        expect(whole.length).toBeGreaterThan(0);
        expect(whole.length).toBeLessThanOrEqual(15);
        for (let length = 0; length < whole.length; length++) {
          expect(decode(bytes.subarray(0, length))).toBeUndefined();
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("tell where rsp goes", () => {
    const of = (...bytes: number[]) => {
      const found = decode(Uint8Array.from([...bytes, ...new Array(8).fill(0x90)]))!;
      return [found.effect, found.amount];
    };
    expect(of(0x48, 0x8d, 0x64, 0x24, 0xf8)).toEqual([effect.moveSp, -8]); // lea -8(%rsp),%rsp
    expect(of(0x48, 0x8d, 0x65, 0xd8)).toEqual([effect.spFromBp, -40]); // lea -40(%rbp),%rsp
    expect(of(0x48, 0x89, 0xec)).toEqual([effect.spFromBp, 0]); // mov %rbp,%rsp
    expect(of(0x48, 0x83, 0xe4, 0xf0)).toEqual([effect.loseSp, 0]); // and $-16,%rsp
    expect(of(0x48, 0x29, 0xc4)).toEqual([effect.loseSp, 0]); // sub %rax,%rsp
    expect(of(0x41, 0x5f)).toEqual([effect.pop, 8]); // pop %r15
    expect(of(0xc9)[0]).toBe(effect.leave);
    expect(of(0x0f, 0x0b)[0]).toBe(effect.lost); // ud2
  });
});
