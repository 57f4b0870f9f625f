import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { syncBytes } from "../../src/base/sync-source.js";
import { decodeInstruction, effect, type Instruction } from "../../src/linux/stack/x86-instruction.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";

const decoded: Instruction = { length: 0, effect: 0, amount: 0, register: -1 };
const decode = (bytes: Uint8Array, at = 0) =>
  decodeInstruction(at, (offset) => bytes[at + offset] ?? -1, decoded) ? { ...decoded } : undefined;

interface Listed {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly mnemonic: string;
  readonly operands: string;
}

/** The instructions as binutils decodes them, without prefixes. */
function objdump(file: string, from: number, to: number): Listed[] {
  const args = ["-d", "-z", "-w", `--start-address=${from}`, `--stop-address=${to}`, file];
  const text = execFileSync("objdump", args, { encoding: "utf8", maxBuffer: 1 << 28 });
  return text.split("\n").flatMap((line) => {
    const [, address, bytes, code] = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t(.*)$/.exec(line) ?? [];
    // objdump may cut the last instruction, and it lists data that are no instructions.
    if (!address || !bytes || !code || /^(\.byte|\(bad\)|rex\S*\s*$)/.test(code)) return [];
    const plain = code.replace(
      /^((notrack|bnd|repz|repnz|rep|lock|cs|ds|es|ss|fs|gs|data16|addr32|rex\S*) )+/,
      "",
    );
    const [, mnemonic = "", operands = ""] = /^(\S+)\s*([^#<]*)/.exec(plain) ?? [];
    const number = Number.parseInt(address, 16);
    return [
      {
        address: number,
        bytes: Buffer.from(bytes.replaceAll(" ", ""), "hex"),
        mnemonic,
        operands: operands.trim(),
      },
    ];
  });
}

/** The expected effect of an instruction; undefined when the listing does not determine it. */
function expected({ address, bytes, mnemonic, operands }: Listed): readonly [number, number] | undefined {
  const target = () => Number.parseInt(operands.replace(/,p[nt]$/, ""), 16) - address - bytes.length;
  const constant = (text: string) => Number(BigInt.asIntN(64, BigInt(text)));
  if (/^(ret|retq)$/.test(mnemonic)) return [effect.return, 0];
  if (/^(ud2|hlt|int3|iretq?|lret|sysretq?l?)$/.test(mnemonic)) return [effect.lost, 0];
  if (/^leaveq?$/.test(mnemonic)) return [effect.leave, 0];
  if (/^jmpq?$/.test(mnemonic)) return operands.startsWith("*") ? [effect.lost, 0] : [effect.jump, target()];
  if (/^(j|loop)/.test(mnemonic)) return [effect.branch, target()];
  if (/^call/.test(mnemonic)) return [effect.none, 0];
  if (/^push[qf]*$/.test(mnemonic)) return [effect.moveSp, -8];
  if (/^popf?q?$/.test(mnemonic)) return operands.startsWith("%r") ? [effect.pop, 8] : [effect.moveSp, 8];
  const [, sign, amount] = /^(add|sub)q? \$(0x[0-9a-f]+),%rsp$/.exec(`${mnemonic} ${operands}`) ?? [];
  if (amount) return [effect.moveSp, sign === "add" ? constant(amount) : -constant(amount)];
  const [, displacement, base] =
    /^lea (-?0x[0-9a-f]+)?\(%(r[sb]p)\),%rsp$/.exec(`${mnemonic} ${operands}`) ?? [];
  if (base) {
    const value = displacement?.startsWith("-") ? -Number(displacement.slice(1)) : Number(displacement ?? 0);
    return [base === "rsp" ? effect.moveSp : effect.spFromBp, value];
  }
  if (/^(mov|and|sub|add|lea|cmov\w*|xchg|or|xor) .*%[re]?spl?$/.test(`${mnemonic} ${operands}`)) {
    return operands.startsWith("%rbp,") && mnemonic === "mov" ? [effect.spFromBp, 0] : [effect.loseSp, 0];
  }
  return [effect.none, 0];
}

describe("instructions", () => {
  // Node's own program: compiled C++, in the millions of instructions.
  const program = realpathSync("/proc/self/exe");
  const elf = ElfFile.open(syncBytes(readFileSync(program)));
  const section = elf.section(".text")!;
  const text = elf.contents(section);

  it("of a real program have the lengths and effects that another decoder says", () => {
    let compared = 0;
    const wrong: string[] = [];
    for (const share of [0.1, 0.5, 0.8]) {
      const from = Number(section.address) + Math.floor(text.length * share);
      for (const one of objdump(program, from, from + 30_000)) {
        compared++;
        const ours = decode(text, one.address - Number(section.address));
        const wanted = expected(one);
        const agrees =
          ours?.length === one.bytes.length && ours.effect === wanted?.[0] && ours.amount === wanted[1];
        if (!agrees) {
          const bytes = Buffer.from(one.bytes).toString("hex");
          wrong.push(
            `${bytes} ${one.mnemonic} ${one.operands}: ${wanted}, not ${ours?.effect},${ours?.amount}`,
          );
        }
      }
    }
    expect(compared).toBeGreaterThan(15_000);
    expect(wrong).toEqual([]);
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

  it("at a page's end do not ask for the next page, unless they go on there", () => {
    for (const bytes of [[0xc3], [0x48, 0x83, 0xc4, 0x08], [0xe8, 0, 0, 0, 0]]) {
      for (let here = 1; here <= bytes.length; here++) {
        const asked: number[] = [];
        const page = -4096 * 7 - here; // a kernel's address is a negative key
        const is = decodeInstruction(
          page,
          (offset) => {
            asked.push(offset);
            return bytes[offset] ?? 0x90;
          },
          decoded,
        );
        expect([is, decoded.length]).toEqual([true, bytes.length]);
        expect(asked.some((offset) => offset >= here)).toBe(here < bytes.length);
      }
    }
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
    expect(of(0x4c, 0x87, 0xd4)).toEqual([effect.loseSp, 0]); // xchg %r10,%rsp
    expect(of(0x83, 0xc4, 0x08)).toEqual([effect.loseSp, 0]); // add $8,%esp
    expect(of(0x48, 0x83, 0xfc, 0x08)).toEqual([effect.none, 0]); // cmp $8,%rsp
    expect(of(0x48, 0x85, 0xe4)).toEqual([effect.none, 0]); // test %rsp,%rsp
    expect(of(0x48, 0x89, 0xe5)).toEqual([effect.none, 0]); // mov %rsp,%rbp
    expect(of(0x5c)).toEqual([effect.loseSp, 8]); // pop %rsp
    expect(of(0x0f, 0xa9)).toEqual([effect.moveSp, 8]); // pop %gs
    expect(of(0xff, 0x25, 0, 0, 0, 0)[0]).toBe(effect.lost); // jmp *0(%rip)
    expect(of(0xff, 0x15, 0, 0, 0, 0)[0]).toBe(effect.none); // call *0(%rip)
    expect(of(0xeb, 0xfe)).toEqual([effect.jump, -2]);
  });
});
