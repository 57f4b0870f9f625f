import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { type CfiSection, commonAt } from "../../src/symbols/unwind/cfi.js";
import { CfiIndex } from "../../src/symbols/unwind/cfi-index.js";
import { ruleKind } from "../../src/symbols/unwind/cfi-layout.js";
import { registerNumber as register } from "../../src/symbols/unwind/cfi-registers.js";
import { rowAt } from "../../src/symbols/unwind/cfi-rows.js";
import { CfiTable } from "../../src/symbols/unwind/cfi-table.js";
import { cfi, type FixtureFunction, makeDebugFrames, makeFrames, standardStart } from "./cfi-fixture.js";
import { makeElf } from "./elf-fixture.js";

const framesAt = 0x2000;
const headerAt = 0x1f00;
const textAt = 0x1000;

function tableOf(functions: readonly FixtureFunction[]): CfiTable {
  const { frames, header } = makeFrames(framesAt, headerAt, functions);
  return new CfiTable([{ section: ehSection(frames), header: { bytes: header, address: headerAt } }]);
}

function ehSection(bytes: Uint8Array): CfiSection {
  return { bytes, address: framesAt, flavor: "eh", bases: { section: framesAt, data: headerAt } };
}

/** One function at 0x1000 with these instructions. */
const single = (...instructions: (readonly number[])[]) =>
  tableOf([{ start: textAt, length: 0x100, instructions: instructions.flat() }]);

const cfaOf = (table: CfiTable, address: number) => {
  const row = table.row(address);
  return row && [row.cfaRegister, row.cfaOffset];
};

describe("rows of call frame information", () => {
  it("follow a prologue and an epilogue", () => {
    const table = single(
      cfi.advance(1),
      cfi.defCfaOffset(16),
      cfi.offset(register.rbp, 2),
      cfi.advance(3),
      cfi.defCfaRegister(register.rbp),
      cfi.advance(0x40),
      cfi.defCfa(register.rsp, 8),
      cfi.restore(register.rbp),
    );
    expect(cfaOf(table, textAt)).toEqual([register.rsp, 8]);
    expect(cfaOf(table, textAt + 1)).toEqual([register.rsp, 16]);
    expect(cfaOf(table, textAt + 3)).toEqual([register.rsp, 16]);
    expect(cfaOf(table, textAt + 4)).toEqual([register.rbp, 16]);
    expect(cfaOf(table, textAt + 0x44)).toEqual([register.rsp, 8]);
    const inside = table.row(textAt + 5)!;
    expect([inside.kinds[register.rbp], inside.values[register.rbp]]).toEqual([ruleKind.offset, -16]);
    expect([inside.kinds[16], inside.values[16]]).toEqual([ruleKind.offset, -8]);
    expect(table.row(textAt + 0x50)!.kinds[register.rbp]).toBe(ruleKind.unspecified);
  });

  it("remember and restore a state, CFA and all", () => {
    const table = single(
      cfi.defCfaOffset(48),
      cfi.offset(register.rbx, 3),
      cfi.remember,
      cfi.advance(8),
      cfi.defCfaOffset(8),
      cfi.restore(register.rbx),
      cfi.advance(1),
      cfi.restoreState,
    );
    expect(cfaOf(table, textAt + 8)).toEqual([register.rsp, 8]);
    expect(cfaOf(table, textAt + 9)).toEqual([register.rsp, 48]);
    expect(table.row(textAt + 9)!.values[register.rbx]).toBe(-24);
  });

  it("know every kind of rule", () => {
    const row = single(
      cfi.undefined(register.rbx),
      cfi.sameValue(register.r12),
      cfi.register(register.r13, register.rdx),
      cfi.valOffset(register.r14, 2),
      cfi.expression(register.r15, [0x77, 8]),
      cfi.valExpression(register.rbp, [0x30]),
      cfi.offsetExtendedSf(register.rsi, -5),
      cfi.argumentsSize(24),
      cfi.offset(33, 4), // a vector register: not followed
      cfi.defCfaExpression([0x77, 0]),
    ).row(textAt)!;
    expect([...row.kinds.subarray(0, 17)]).toEqual([
      0,
      0,
      0,
      ruleKind.undefined,
      ruleKind.offset,
      0,
      ruleKind.valExpression,
      0,
      0,
      0,
      0,
      0,
      ruleKind.sameValue,
      ruleKind.register,
      ruleKind.valOffset,
      ruleKind.expression,
      ruleKind.offset,
    ]);
    expect(row.values[register.r13]).toBe(register.rdx);
    expect(row.values[register.r14]).toBe(-16);
    expect(row.values[register.rsi]).toBe(40);
    expect([...row.expressions[register.r15]!]).toEqual([0x77, 8]);
    expect([...row.cfaExpression!]).toEqual([0x77, 0]);
    expect(row.argumentsSize).toBe(24);
  });

  it("tell signal frames", () => {
    const table = tableOf([
      { start: textAt, length: 16, instructions: [] },
      { start: textAt + 16, length: 16, instructions: [], isSignal: true },
    ]);
    expect(table.row(textAt)!.isSignal).toBe(false);
    expect(table.row(textAt + 16)!.isSignal).toBe(true);
  });

  it("are read from .debug_frame too, after .eh_frame", () => {
    const elf = ElfFile.open(
      syncBytes(
        makeElf({
          sections: [
            { name: ".text", address: 0x401000n, bytes: new Uint8Array(64) },
            {
              name: ".debug_frame",
              flags: 0,
              bytes: makeDebugFrames([{ start: 0x401000, length: 64, instructions: cfi.defCfaOffset(80) }]),
            },
          ],
        }),
      ),
    );
    const table = CfiTable.fromElf(elf)!;
    expect(cfaOf(table, 0x401010)).toEqual([register.rsp, 80]);
    expect(table.row(0x401040)).toBeUndefined();
  });
});

/** The code of the error that is thrown. */
function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof VmtapeError ? error.code : String(error);
  }
}

const functionsGiven = fc
  .array(fc.record({ gap: fc.nat(40), length: fc.integer({ min: 1, max: 60 }), offset: fc.nat(500) }), {
    minLength: 1,
    maxLength: 30,
  })
  .map((list) => {
    let at = textAt;
    return list.map(({ gap, length, offset }) => {
      const start = at + gap;
      at = start + length;
      return { start, length, instructions: cfi.defCfaOffset(offset), offset };
    });
  });

describe("the search for an address", () => {
  it("finds by the header, by a scan, and by looking at all of them the same", () => {
    fc.assert(
      fc.property(functionsGiven, (functions) => {
        const { frames, header } = makeFrames(framesAt, headerAt, functions);
        const section = ehSection(frames);
        const byHeader = new CfiIndex(section, { bytes: header, address: headerAt });
        const byScan = new CfiIndex(section);
        const end = functions.at(-1)!.start + functions.at(-1)!.length;
        for (let at = textAt - 2; at < end + 2; at++) {
          const slow = functions.find(({ start, length }) => at >= start && at < start + length);
          expect(byHeader.find(at)?.start).toBe(slow?.start);
          expect(byScan.find(at)?.start).toBe(slow?.start);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("passes over a header that does not fit its section", () => {
    const { frames, header } = makeFrames(framesAt, headerAt, [
      { start: textAt, length: 16, instructions: [] },
    ]);
    const index = new CfiIndex(ehSection(frames), { bytes: header, address: headerAt + 4 });
    expect(index.find(textAt)?.start).toBe(textAt);
  });
});

describe("damaged frame information", () => {
  const functions = [
    { start: textAt, length: 32, instructions: [...cfi.remember, ...cfi.advance(4), ...cfi.restoreState] },
    { start: textAt + 32, length: 32, instructions: cfi.expression(3, [0x77, 8]), isSignal: true },
  ];
  const { frames, header } = makeFrames(framesAt, headerAt, functions);

  const read = (bytes: Uint8Array, head?: Uint8Array) => {
    const table = new CfiTable([
      { section: ehSection(bytes), ...(head && { header: { bytes: head, address: headerAt } }) },
    ]);
    for (let at = textAt - 1; at < textAt + 70; at += 3) table.row(at);
  };

  it("gives fewer rows when it is cut anywhere", () => {
    for (let length = 0; length <= frames.length; length++) {
      read(frames.slice(0, length));
      read(frames.slice(0, length), header);
    }
    for (let length = 0; length < header.length; length++) read(frames, header.slice(0, length));
  });

  it("gives fewer or other rows when bits are flipped, and nothing worse", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 6 }),
        (flips) => {
          const bytes = frames.slice();
          const head = header.slice();
          for (const [where, mask] of flips) {
            const target = where % 3 === 0 ? head : bytes;
            const at = where % target.length;
            target[at] = target[at]! ^ mask;
          }
          read(bytes, head);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("says what is wrong where a description is asked for itself", () => {
    const broken = makeFrames(framesAt, headerAt, [{ start: textAt, length: 32, instructions: [0x3f] }]);
    const section = ehSection(broken.frames);
    const description = new CfiIndex(section).find(textAt)!;
    expect(codeOf(() => rowAt(description, textAt, section.bases))).toBe("unsupported");
    expect(new CfiTable([{ section }]).row(textAt)).toBeUndefined();
    expect(codeOf(() => commonAt(section, 1 << 20))).toBe("bad-file");
    expect(codeOf(() => commonAt(section, description.instructions.at))).toBe("bad-file");
    const newer = frames.slice();
    newer[8] = 9;
    expect(codeOf(() => commonAt(ehSection(newer), 0))).toBe("unsupported");
    const lone = single(cfi.restoreState);
    expect(lone.row(textAt)).toBeUndefined();
  });

  it("does not follow lengths beyond the file", () => {
    const huge = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x40, ...standardStart]);
    expect([...new CfiIndex(ehSection(huge)).descriptions()]).toEqual([]);
  });
});
