import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, inflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { DwarfFile } from "../../src/symbols/dwarf/file.js";
import { locatedValue } from "../../src/symbols/dwarf/location.js";
import { DwarfTypes } from "../../src/symbols/dwarf/types.js";
import { type CalledFrame, DwarfVariables } from "../../src/symbols/dwarf/variables.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { type ExpressionContext, printExpression } from "../../src/symbols/expression/evaluator.js";
import { parseExpression } from "../../src/symbols/expression/parser.js";
import { builtin } from "../../src/symbols/types/builtin.js";
import { Types } from "../../src/symbols/types/set.js";
import { printValue } from "../../src/symbols/values/print.js";
import { optimizedOut } from "../../src/symbols/values/value.js";
import { makeElf } from "./elf-fixture.js";
import { stretches } from "./values-golden.js";

interface GoldenFrame {
  readonly pc: string;
  readonly registers: Readonly<Record<string, string>>;
  readonly cfa: string;
}

/** What test/golden/locals/make.mjs wrote: programs, random stops in them, and what GDB prints there. */
interface GoldenProgram {
  readonly options: string;
  readonly elf: string;
  readonly symbols: readonly { readonly name: string; readonly address: string; readonly size: string }[];
  readonly stops: readonly (GoldenFrame & {
    readonly function: string;
    readonly callers: readonly GoldenFrame[];
    readonly variables: readonly (readonly [name: string, shown: string, isParameter: boolean])[];
    readonly memory: readonly (readonly [address: string, deflated: string])[];
  })[];
}

const file = join(dirname(fileURLToPath(import.meta.url)), "../golden/locals/gdb.json");
const programs = JSON.parse(readFileSync(file, "utf8")) as GoldenProgram[];
const registers =
  "rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip xmm0 xmm1 xmm2 xmm3 xmm4 xmm5 xmm6 xmm7".split(
    " ",
  );

function frameOf(frame: GoldenFrame, callers: readonly GoldenFrame[]): CalledFrame {
  const [caller, ...others] = callers;
  return {
    cfa: BigInt(frame.cfa),
    register: (number) => {
      const value = frame.registers[registers[number] ?? ""];
      return value === undefined ? undefined : BigInt(value);
    },
    caller: caller && { key: Number(BigInt(caller.pc)), ...frameOf(caller, others) },
  };
}

describe.each(programs)("variables of a program built with $options", ({ elf: packed, symbols, stops }) => {
  const elf = ElfFile.open(syncBytes(gunzipSync(Buffer.from(packed, "base64"))));
  const types = new DwarfTypes(DwarfFile.open(elf)!);
  const variables = new DwarfVariables(types);
  const code = elf.segments
    .filter(({ type, fileSize }) => type === 1 && fileSize > 0)
    .map(({ address, offset, fileSize }) => ({ address, bytes: elf.source.read(offset, fileSize) }));
  const nameOf = (address: bigint) => {
    for (const { name, address: start, size } of symbols) {
      const offset = address - BigInt(start);
      if (offset >= 0n && offset < BigInt(size)) return offset === 0n ? name : `${name}+${offset}`;
    }
    return undefined;
  };

  it.each(stops)("at $pc in $function", async (stop) => {
    const memory = stretches([
      ...stop.memory.map(([address, deflated]) => ({
        address: BigInt(address),
        bytes: inflateSync(Buffer.from(deflated, "base64")),
      })),
      ...code,
    ]);
    const key = Number(BigInt(stop.pc));
    const frame = { ...frameOf(stop, stop.callers), memory, loadBias: 0n };
    const shown: [string, string, boolean][] = [];
    const seen = new Set<string>();
    for (const variable of variables.at(key)) {
      if (variable.level > 0 || seen.has(variable.name)) continue;
      seen.add(variable.name);
      const value = await variables.value(variable, key, frame);
      shown.push([variable.name, await printValue(value, { memory, nameOf }), variable.isParameter]);
    }
    const sorted = (list: readonly (readonly [string, string, boolean])[]) =>
      [...list].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(sorted(shown)).toEqual(sorted(stop.variables));
  });

  it("are found by expressions", async () => {
    const stop = stops.find(({ variables: list }) =>
      list.some(([name, text]) => name === "here" && /^\d/.test(text)),
    );
    if (!stop) return;
    const [, here] = stop.variables.find(([name]) => name === "here")!;
    const memory = stretches(
      stop.memory.map(([address, deflated]) => ({
        address: BigInt(address),
        bytes: inflateSync(Buffer.from(deflated, "base64")),
      })),
    );
    const key = Number(BigInt(stop.pc));
    const frame = { ...frameOf(stop, stop.callers), memory, loadBias: 0n };
    const context: ExpressionContext = {
      types: new Types(types),
      memory,
      special: async (name) => {
        const variable = variables.at(key).find((candidate) => candidate.name === name);
        return variable && variables.value(variable, key, frame);
      },
    };
    expect(await printExpression(parseExpression("here * 2 + 1", types), context)).toBe(
      String(Number(here) * 2 + 1),
    );
  });
});

describe("locations", () => {
  const memory = stretches([
    { address: 0x1000n, bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) },
  ]);
  const frame = {
    memory,
    register: (number: number) => (number < 17 ? BigInt(number) * 0x1000n : undefined),
  };
  const show = async (bytes: readonly number[], type = builtin.unsignedLong as typeof builtin.int) =>
    printValue(await locatedValue(Uint8Array.from(bytes), type, frame, 0x1000n), { memory });

  it.each([
    ["nowhere", [], `<${optimizedOut}>`],
    ["a register", [0x51], "4096"],
    ["a register by number", [0x90, 5], "20480"],
    ["a register that is not known", [0x90, 30], `<${optimizedOut}>`],
    ["memory at the frame base", [0x91, 0], "578437695752307201"],
    ["memory at a register", [0x71, 2], "723118041428460547"],
    ["a computed value", [0x71, 2, 0x9f], "4098"],
    ["an implicit value", [0x9e, 2, 7, 1], "263"],
    ["two pieces", [0x51, 0x93, 4, 0x52, 0x93, 4], String(0x1000 + 0x2000 * 2 ** 32)],
    ["a piece that is gone", [0x51, 0x93, 4, 0x93, 4], `<${optimizedOut}>`],
    ["what a register held", [0xa3, 1, 0x55, 0x9f], `<${optimizedOut}>`],
    ["a thread's", [0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0x9b], "<a variable of a thread>"],
    ["where a pointer led", [0xa0, 0, 0, 0, 0, 0], "<synthetic pointer>"],
  ])("%s", async (_, bytes, shown) => expect(await show(bytes)).toBe(shown));

  it("are evaluated or refused, whatever they are", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (bytes) => {
        try {
          await show([...bytes]);
        } catch (error) {
          if (!(error instanceof VmtapeError)) throw error;
        }
      }),
      { numRuns: 1500 },
    );
  });
});

describe("hostile debug information", () => {
  /** A unit of C++ at 0x1000 to 0x2000, whose entries follow. */
  function unitOf(body: Uint8Array): DwarfFile {
    const abbrevs = Uint8Array.from([
      ...[1, 0x11, 1, 0x13, 0x0b, 0x11, 0x01, 0x12, 0x06, 0, 0], // unit: language, low_pc, high_pc
      ...[2, 0x39, 1, 0, 0], // namespace
      ...[3, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0], // function
      ...[4, 0x0b, 1, 0x11, 0x01, 0x12, 0x06, 0, 0], // block
      ...[5, 0x34, 0, 0x31, 0x13, 0, 0], // variable: abstract origin
      0,
    ]);
    const root = [1, 4, ...code];
    const info = new Uint8Array(11 + root.length + body.length);
    const view = new DataView(info.buffer);
    view.setUint32(0, info.length - 4, true);
    view.setUint16(4, 4, true);
    info[10] = 8;
    info.set(root, 11);
    info.set(body, 11 + root.length);
    const elf = makeElf({
      sections: [
        { name: ".debug_info", address: 0n, bytes: info, flags: 0 },
        { name: ".debug_abbrev", address: 0n, bytes: abbrevs, flags: 0 },
      ],
    });
    return DwarfFile.open(ElfFile.open(syncBytes(elf)))!;
  }
  /** Address 0x1000, length 0x1000. */
  const code = [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0];

  it("nested without end costs no more than its length", () => {
    for (const entry of [[2], [3, ...code], [4, ...code]]) {
      const first = entry[0] === 4 ? [3, ...code] : [];
      const body = new Uint8Array(first.length + entry.length * 50_000);
      body.set(first);
      for (let i = 0; i < 50_000; i++) body.set(entry, first.length + i * entry.length);
      const types = new DwarfTypes(unitOf(body));
      expect(new DwarfVariables(types).at(0x1800)).toEqual([]);
      expect(types.find("struct", "nonesuch")).toBeUndefined();
    }
  });

  it("of entries that stand for themselves names nothing", () => {
    const at = 11 + 14 + 13;
    const types = new DwarfTypes(unitOf(Uint8Array.from([3, ...code, 5, at, 0, 0, 0, 0, 0])));
    expect(new DwarfVariables(types).at(0x1800)).toEqual([]);
  });
});

describe("damaged debug information", () => {
  const whole = gunzipSync(Buffer.from(programs[0]!.elf, "base64"));
  const sections = ElfFile.open(syncBytes(whole)).sections.filter(({ name }) => name.startsWith(".debug_"));
  const keys = programs[0]!.stops.slice(0, 4).map(({ pc }) => Number(BigInt(pc)));

  it("gives fewer types and variables, or an error", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(sections.length - 1), fc.nat(100_000), fc.nat(255)), {
          minLength: 1,
          maxLength: 20,
        }),
        async (changes) => {
          const bytes = whole.slice();
          for (const [index, at, value] of changes) {
            const { offset, size } = sections[index]!;
            if (size > 0) bytes[offset + (at % size)] = value;
          }
          try {
            const file = DwarfFile.open(ElfFile.open(syncBytes(bytes)));
            if (!file) return;
            const types = new DwarfTypes(file);
            types.find("struct", "item");
            types.findEnumerator("nonesuch");
            const variables = new DwarfVariables(types);
            const frame = { ...frameOf(programs[0]!.stops[0]!, []), memory: stretches([]) };
            for (const key of keys) {
              for (const variable of variables.at(key)) {
                const value = await variables.value(variable, key, frame).catch(onlyOurs);
                if (value) await printValue(value, { memory: frame.memory }).catch(onlyOurs);
              }
            }
          } catch (error) {
            onlyOurs(error);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

function onlyOurs(error: unknown): undefined {
  if (!(error instanceof VmtapeError)) throw error;
  return undefined;
}
