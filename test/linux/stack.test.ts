import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { StackWalker } from "../../src/linux/stack/stack.js";
import { registerNumber as register } from "../../src/symbols/unwind/cfi-registers.js";
import { cfi, type FixtureFunction } from "../symbols/cfi-fixture.js";
import {
  at,
  call,
  drawn,
  kernelWith,
  mapped,
  nothing,
  outermost,
  processorSaved,
  programInMemory,
  programWith,
  registers,
  SceneMemory,
  saved,
  savedRegisters,
  walk,
} from "./stack-scene.js";

const { kernel: k, kernelStack: ks, interruptStack: is, program: p, stack: s } = at;

/** leaf (no frame), middle (pushes rbx), outer (rbp frame), first (nobody called it), a signal's trampoline. */
const programFunctions: FixtureFunction[] = [
  { start: 0x1000, length: 0x40, instructions: [] },
  {
    start: 0x1040,
    length: 0x40,
    instructions: [...cfi.advance(1), ...cfi.defCfaOffset(16), ...cfi.offset(register.rbx, 2)],
  },
  {
    start: 0x1080,
    length: 0x40,
    instructions: [...cfi.advance(4), ...cfi.defCfa(register.rbp, 16), ...cfi.offset(register.rbp, 2)],
  },
  { start: 0x10c0, length: 0x40, instructions: cfi.undefined(16) },
  {
    start: 0x1100,
    length: 0x10,
    isSignal: true,
    // The registers are in the signal frame that the kernel made; the CFA is the interrupted stack pointer.
    instructions: [
      ...cfi.defCfaExpression([0x77, 16, 0x06]),
      ...cfi.expression(register.rbx, [0x77, 8]),
      ...cfi.expression(16, [0x77, 0]),
    ],
  },
];
const program = programWith(programFunctions);

/** The program's stack: leaf, called by middle, called by outer, called by first. */
const programStack = () =>
  new SceneMemory().words(
    s,
    p + 0x1060n, // leaf's return address
    0xbbbbn, // middle's saved rbx
    p + 0x1090n,
    1,
    2,
    0, // outer's saved rbp
    p + 0x10d0n,
  );
const inLeaf = { rip: p + 0x1010n, rsp: s, rbp: s + 40n, rbx: 0x1111n, rcx: 5n };

describe("stacks of programs", () => {
  it("follow frame information outwards, and recover what was saved", async () => {
    const stack = await walk(programStack(), registers(inLeaf, 0x33), { files: program });
    expect(drawn(stack)).toBe(
      [
        "program+1010 exact function registers",
        "program+1060 called function cfi",
        "program+1090 called function cfi",
        "program+10d0 called function cfi",
        "outermost",
      ].join("\n"),
    );
    const { frames } = stack;
    expect(frames.map(({ sp }) => sp)).toEqual([s, s + 8n, s + 24n, s + 56n]);
    expect(frames.map(({ cfa }) => cfa)).toEqual([s + 8n, s + 24n, s + 56n, undefined]);
    expect(frames.map(({ registers: set }) => set.get("rbx"))).toEqual([0x1111n, 0x1111n, 0xbbbbn, 0xbbbbn]);
    expect(frames.map(({ registers: set }) => set.get("rcx"))).toEqual([5n, undefined, undefined, undefined]);
    expect(frames[1]!.callSite).toBe(p + 0x105fn);
  });

  it("take the registers of a g packet in QEMU's order", async () => {
    const block = new Uint8Array(0x228);
    const view = new DataView(block.buffer);
    const gdbOrder = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] as const;
    gdbOrder.forEach((name, i) => {
      view.setBigUint64(i * 8, (inLeaf as Record<string, bigint>)[name] ?? 0n, true);
    });
    view.setBigUint64(16 * 8, inLeaf.rip, true);
    view.setUint32(140, 0x33, true);
    const stack = await new StackWalker({ files: program }).walk(block, programStack());
    expect(stack.frames).toHaveLength(4);
    expect(stack.frames[0]!.registers.get("rcx")).toBe(5n);
    expect(stack.end).toBe("outermost");
  });

  it("go through a signal's trampoline to what was interrupted", async () => {
    const memory = programStack().words(s - 0x100n, p + 0x1100n, p + 0x1010n, 0x1111, s);
    const set = registers({ ...inLeaf, rip: p + 0x1000n, rsp: s - 0x100n, rbx: 7n }, 0x33);
    const stack = await walk(memory, set, { files: program });
    expect(drawn(stack).split("\n").slice(0, 4)).toEqual([
      "program+1000 exact function registers",
      "program+1100 called signal cfi",
      "program+1010 exact function trampoline",
      "program+1060 called function cfi",
    ]);
    expect(stack.frames[2]!.registers.get("rbx")).toBe(0x1111n);
    expect(stack.end).toBe("outermost");
  });

  it("know a trampoline without frame information by its instructions", async () => {
    const code = Uint8Array.from([0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05]);
    const memory = programStack()
      .put(p + 0x2000n, code)
      .words(s - 0x208n, p + 0x2000n)
      .words(s - 0x200n, ...new Array(5).fill(0))
      .words(s - 0x200n + 0x78n, inLeaf.rbp, 0x1111n)
      .words(s - 0x200n + 0xa0n, s, p + 0x1010n);
    const stack = await walk(memory, registers({ ...inLeaf, rsp: s - 0x208n }, 0x33), { files: program });
    expect(drawn(stack).split("\n").slice(1, 4)).toEqual([
      "program+2000 called signal cfi",
      "program+1010 exact function trampoline",
      "program+1060 called function cfi",
    ]);
  });

  it("find the tables in the guest's memory where no file is at hand", async () => {
    const memory = programStack();
    programInMemory(memory, p, programFunctions);
    const range = { start: p, end: p + 0x10000n, name: "/bin/p", elf: undefined, loadBias: 0n };
    const set = registers(inLeaf, 0x33);
    const found = await walk(memory, set, { files: mapped({ ...range, header: p }) });
    expect(drawn(found)).toBe(drawn(await walk(memory, set, { files: program })));
    expect(found.frames).toHaveLength(4);
    const without = await walk(memory, set, { files: mapped(range) });
    expect(without.frames.slice(1).every(({ reliable }) => !reliable)).toBe(true);
  });

  it("say where the stack cannot be read", async () => {
    const stack = await walk(new SceneMemory(), registers(inLeaf, 0x33), { files: program });
    expect(drawn(stack)).toBe("program+1010 exact function registers\nnot-mapped");
    expect(stack.endAddress).toBe(s);
  });

  it("end at the limit", async () => {
    const stack = await walk(programStack(), registers(inLeaf, 0x33), { files: program, limit: 2 });
    expect(stack.frames).toHaveLength(2);
    expect(stack.end).toBe("limit");
    expect(() => new StackWalker({ limit: 0 })).toThrow(VmtapeError);
  });

  it("do not unwind 32-bit programs by 64-bit rules", async () => {
    const stack = await walk(programStack(), registers(inLeaf, 0x23), { files: program });
    expect(stack.end).toBe("compat");
  });

  it("end on a frame that lies inside the one before it", async () => {
    const loop = programWith([{ start: 0x1000, length: 0x40, instructions: cfi.defCfa(register.rbp, 0) }]);
    const memory = new SceneMemory().words(s - 8n, p + 0x1010n);
    const set = registers({ rip: p + 0x1010n, rsp: s, rbp: s }, 0x33);
    const stack = await walk(memory, set, { files: loop });
    expect(drawn(stack)).toBe("program+1010 exact function registers\ncorrupt");
  });
});

describe("stacks without tables", () => {
  const callAt = (memory: SceneMemory, returnAddress: bigint) =>
    memory.put(returnAddress - 5n, Uint8Array.of(0xe8, 0, 0, 0, 0));

  it("are followed through the instructions to the next return", async () => {
    // sub $8,%rsp | test %eax,%eax | je +1 | hlt | mov… | add $24,%rsp | pop %rbx | ret
    const code = [0x85, 0xc0, 0x74, 1, 0xf4, 0x89, 0xd8, 0x48, 0x83, 0xc4, 24, 0x5b, 0xc3];
    const memory = new SceneMemory().put(p + 0x3000n, Uint8Array.from(code));
    callAt(memory, p + 0x1090n).words(s, 1, 2, 3, 0xbbbb, p + 0x1090n);
    memory.words(s + 40n, 1, 2, 0, p + 0x10d0n);
    const set = registers({ rip: p + 0x3000n, rsp: s, rbp: s + 56n, rbx: 1n }, 0x33);
    const stack = await walk(memory, set, { files: program });
    expect(drawn(stack)).toBe(
      [
        "program+3000 exact function registers",
        "program+1090 called function code ?",
        "program+10d0 called function cfi ?",
        "outermost",
      ].join("\n"),
    );
    expect(stack.frames[1]!.registers.get("rbx")).toBe(0xbbbbn);
    expect(stack.frames[1]!.sp).toBe(s + 40n);
  });

  it("go by rbp where the instructions lead nowhere", async () => {
    const memory = new SceneMemory().put(p + 0x3000n, Uint8Array.of(0xff, 0xe0)); // jmp *%rax
    callAt(memory, p + 0x10d0n).words(s + 64n, 0x77, p + 0x10d0n);
    const set = registers({ rip: p + 0x3000n, rsp: s, rbp: s + 64n }, 0x33);
    const stack = await walk(memory, set, { files: program });
    expect(drawn(stack).split("\n")[1]).toBe("program+10d0 called function frame-pointer ?");
    expect(stack.frames[1]!.registers.get("rbp")).toBe(0x77n);
  });

  it("are searched for return addresses at last, which are called guesses", async () => {
    const memory = new SceneMemory().put(p + 0x3000n, Uint8Array.of(0xff, 0xe0));
    // First an address in the program without a call before it, then one after a call.
    callAt(memory, p + 0x10d0n).words(s, 5, p + 0x3008n, 9, p + 0x10d0n);
    const set = registers({ rip: p + 0x3000n, rsp: s }, 0x33);
    const stack = await walk(memory, set, { files: program });
    expect(drawn(stack)).toBe(
      ["program+3000 exact function registers", "program+10d0 called guess scan ?", "outermost"].join("\n"),
    );
  });
});

/** Entry code and functions of a kernel, with their names. */
const entries = [
  call(0, 16, { bpRegister: 1, bpOffset: -16 }), // work: saves rbp
  call(0x100, 8), // do_syscall_64
  saved(0x200), // entry_SYSCALL_64_after_hwframe
  nothing(0x280), // entry_SYSCALL_64, before anything is saved
  saved(0x300), // asm_sysvec_apic_timer_interrupt
  processorSaved(0x380), // asm_exc_page_fault, at first; 8 bytes for the error code
  saved(0x400), // asm_exc_page_fault
  outermost(0x500), // ret_from_fork of a kernel thread
  call(0x600, 8, { spRegister: 9 }), // on the interrupt stack: the word at rsp leads back
  call(0x700, 16, { spRegister: 4, bpRegister: 1, bpOffset: -16 }), // by rbp
];
entries[5] = processorSaved(0x380, 8);
const names: [bigint, string][] = [
  [0x200n, "entry_SYSCALL_64_after_hwframe"],
  [0x280n, "entry_SYSCALL_64"],
  [0x300n, "asm_sysvec_apic_timer_interrupt"],
  [0x380n, "asm_exc_page_fault"],
  [0x500n, "ret_from_fork"],
  [0x600n, "work"],
];
const nameOf = (address: bigint) => names.findLast(([offset]) => address >= k + offset)?.[1];
const kernel = kernelWith(entries);
const options = { kernel, files: program, nameOf };

describe("stacks of the kernel", () => {
  it("lead through a system call into the program that made it", async () => {
    const memory = programStack()
      .words(ks, 0x1234, k + 0x110n, k + 0x210n) // work's rbp, two return addresses
      .words(ks + 24n, ...savedRegisters({ ...inLeaf, originalRax: 39n }));
    const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: ks, rbp: 1n }, 0x10), options);
    expect(drawn(stack)).toBe(
      [
        "kernel+10 exact function registers",
        "kernel+110 called function orc",
        "kernel+210 called syscall orc #39",
        "program+1010 exact function entry",
        "program+1060 called function cfi",
        "program+1090 called function cfi",
        "program+10d0 called function cfi",
        "outermost",
      ].join("\n"),
    );
    expect(stack.frames.map(({ space }) => space)).toEqual([
      ...new Array(3).fill("kernel"),
      ...new Array(4).fill("user"),
    ]);
    expect(stack.frames[1]!.registers.get("rbp")).toBe(0x1234n);
    expect(stack.frames[1]!.registers.get("rbx")).toBeUndefined();
    expect(stack.frames[3]!.registers.get("rbx")).toBe(0x1111n);
    expect(stack.frames[3]!.registers.isComplete).toBe(true);
  });

  it.each([0xffa0_0000_0010_0000n, 0xff11_0000_0030_0ff8n, 0xff00_0000_0000_0010n])(
    "lie anywhere in 57 bits with five-level paging: at %i",
    async (high) => {
      const memory = programStack()
        .words(high, 0x1234, k + 0x110n, k + 0x210n)
        .words(high + 24n, ...savedRegisters({ ...inLeaf, originalRax: 39n }));
      const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: high, rbp: 1n }, 0x10), options);
      expect(stack.frames.map(({ sp }) => sp)).toEqual([
        high,
        high + 16n,
        high + 24n,
        s,
        s + 8n,
        s + 24n,
        s + 56n,
      ]);
      expect(stack.frames[0]!.cfa).toBe(high + 16n);
      expect(stack.end).toBe("outermost");
    },
  );

  it("lead through nested interrupts, over stacks of their own, to a kernel thread", async () => {
    const interrupted = savedRegisters({ rip: k + 0x20n, rsp: ks + 0x800n, rbp: 3n, cs: 0x10 });
    const memory = new SceneMemory()
      .words(is, ks + 0x100n) // the interrupt stack's way back
      .words(ks + 0x100n, k + 0x310n)
      .words(ks + 0x108n, ...interrupted)
      .words(ks + 0x800n, 4, k + 0x510n);
    // The word at rsp is the old stack pointer; the frame is 8 bytes after that.
    memory.words(ks + 0x100n, k + 0x310n);
    const stack = await walk(memory, registers({ rip: k + 0x610n, rsp: is }, 0x10), options);
    expect(drawn(stack)).toBe(
      [
        "kernel+610 exact function registers",
        "kernel+310 called interrupt orc",
        "kernel+20 exact function entry",
        "kernel+510 called function orc",
        "outermost",
      ].join("\n"),
    );
  });

  it("read the five words of the processor before entry code has saved the rest", async () => {
    const memory = programStack().words(ks, 6, inLeaf.rip, 0x33, 0x246, inLeaf.rsp, 0x2b);
    const set = registers({ ...inLeaf, rip: k + 0x380n, rsp: ks }, 0x10);
    const stack = await walk(memory, set, options);
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+380 exact exception registers",
      "program+1010 exact function entry",
      "program+1060 called function cfi",
    ]);
    expect(stack.frames[1]!.registers.get("rbx")).toBe(0x1111n);
  });

  it("find what error_entry saved under its return address", async () => {
    const memory = programStack()
      .words(ks, 1, k + 0x3a0n)
      .words(ks + 16n, ...savedRegisters(inLeaf));
    const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: ks }, 0x10), options);
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+10 exact function registers",
      "kernel+3a0 called exception orc",
      "program+1010 exact function entry",
    ]);
    expect(stack.frames[2]!.registers.get("rbx")).toBe(0x1111n);
  });

  const thunks = [
    {
      offset: 12,
      code: [0xe8, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9, 0x48, 0x89, 0x04, 0x24, 0xc3],
    },
    { offset: 6, code: [0xe8, 1, 0, 0, 0, 0xcc, 0x4c, 0x89, 0x1c, 0x24, 0xc3] },
  ];
  const inCall = [0xe8, 0, 0, 0, 0];

  it.each(thunks)(
    "lead out of a retpoline at each of its instructions: $offset",
    async ({ offset: move, code }) => {
      const thunk = k + 0x540n; // after the part that the tables call outermost
      const make = () =>
        new SceneMemory()
          .put(thunk, Uint8Array.from(code))
          .put(k + 0x10n, Uint8Array.from(inCall))
          .words(ks, 0x7777, k + 0x15n, 5, k + 0x110n, k + 0x510n);
      const callers = ["kernel+110 called function orc", "kernel+510 called function orc", "outermost"];
      const at = async (offset: bigint, sp: bigint) =>
        drawn(await walk(make(), registers({ rip: thunk + offset, rsp: sp }, 0x10), options))
          .split("\n")
          .slice(1);
      expect(await at(0n, ks + 8n)).toEqual(["kernel+15 called function orc", ...callers]);
      expect(await at(BigInt(move), ks)).toEqual(["kernel+15 called function orc", ...callers]);
    },
  );

  it("begin a function that a retpoline is about to return to at its first instruction", async () => {
    const ret = k + 0x90n; // a function's last instruction, on a frame of 8 bytes
    const tables = kernelWith([call(0, 16), call(0x80, 8), nothing(0xf0), call(0x100, 8), outermost(0x500)]);
    const memory = new SceneMemory()
      .put(ret, Uint8Array.of(0xc3))
      .put(k + 0x10n, Uint8Array.from(inCall))
      .words(ks, k + 0x100n, k + 0x15n, 5, k + 0x510n);
    const set = registers({ rip: ret, rsp: ks }, 0x10);
    expect(
      drawn(await walk(memory, set, { kernel: tables }))
        .split("\n")
        .slice(0, 3),
    ).toEqual([
      "kernel+90 exact function registers",
      "kernel+100 exact function orc",
      "kernel+15 called function orc",
    ]);
  });

  it("know what a patched kernel of old pushes between two instructions", async () => {
    const tables = kernelWith([call(0, 16), outermost(0x500)], { dialect: "end2" });
    const memory = new SceneMemory()
      .put(k + 0x20n, Uint8Array.of(0x9c, 0x58, 0x90))
      .words(ks, 0x246, 1, k + 0x510n);
    const at = async (rip: bigint, rsp: bigint) =>
      (await walk(memory, registers({ rip, rsp }, 0x10), { kernel: tables })).frames.map(({ pc }) => pc);
    expect(await at(k + 0x20n, ks + 8n)).toEqual([k + 0x20n, k + 0x510n]);
    expect(await at(k + 0x21n, ks)).toEqual([k + 0x21n, k + 0x510n]);
    expect(await at(k + 0x22n, ks + 8n)).toEqual([k + 0x22n, k + 0x510n]);
  });

  it("find the program's stack pointer where entry code keeps it while rsp holds something else", async () => {
    const perCpu = 0xff11_0000_3f40_0000n; // five-level paging: it has no exact key as an address, only as a word
    const stores = [0x65, 0x48, 0x89, 0x24, 0x25, 0x14, 0x60, 0, 0];
    const relative = [0x65, 0x48, 0x89, 0x25, 0x14 - 0x88, 0x60, 0, 0].map((byte) => byte & 255);
    for (const code of [stores, relative]) {
      const tables = kernelWith(entries);
      tables.perCpu = Number(BigInt.asIntN(64, perCpu));
      const behind = k + 0x280n + BigInt(code.length);
      const shift = code === relative ? behind + BigInt.asIntN(32, 0x608cn) : 0x6014n;
      const variable = BigInt.asUintN(64, perCpu + (shift & ~7n));
      // The variable is aligned to 8 bytes.
      code[code === relative ? 4 : 5]! -= Number(shift & 7n);
      const memory = programStack()
        .put(k + 0x280n, Uint8Array.from(code))
        .words(variable, inLeaf.rsp);
      const set = registers({ ...inLeaf, rip: behind, rsp: 0x20b3000n, rcx: p + 0x1010n }, 0x10);
      const stack = await walk(memory, set, { ...options, kernel: tables });
      expect(stack.frames.map(({ sp }) => sp).slice(0, 3)).toEqual([0x20b3000n, s, s + 8n]);
      expect(stack.frames[0]!.kind).toBe("syscall");
    }
  });

  it("know the way out of an interrupt before anything lies on the stack it leaves by", async () => {
    const saved = [7n, -1n, inLeaf.rip, 0x33n, 0x246n, inLeaf.rsp, 0x2bn];
    const memory = programStack().words(ks, ...saved);
    const set = registers({ ...inLeaf, rip: k + 0x290n, rsp: ks + 0x3000n, rdi: ks, rcx: -1n }, 0x10);
    const stack = await walk(memory.words(ks + 0x2ff8n, 0), set, { ...options, nameOf: () => "leave" });
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+290 exact interrupt registers",
      "program+1010 exact function entry",
      "program+1060 called function cfi",
    ]);
    expect(stack.frames[1]!.registers.get("rdi")).toBe(7n);
  });

  it("find whole registers where error_entry has just returned to them", async () => {
    const memory = programStack().words(ks, ...savedRegisters({ ...inLeaf, r12: 12n }));
    const stack = await walk(memory, registers({ rip: k + 0x388n, rsp: ks }, 0x10), options);
    expect(drawn(stack).split("\n").slice(0, 2)).toEqual([
      "kernel+388 exact exception registers",
      "program+1010 exact function entry",
    ]);
    expect(stack.frames[1]!.registers.get("r12")).toBe(12n);
  });

  it("find the return address of code that saves registers above it: in rsi, then below them", async () => {
    const entry = [call(0, 16), processorSaved(0x380, 8), call(0x800, 16), outermost(0x900)];
    const tables = {
      ...options,
      kernel: kernelWith(entry),
      nameOf: (a: bigint) => (a >= k + 0x800n ? "error_entry" : "asm_exc_page_fault"),
    };
    const frame = savedRegisters({ ...inLeaf, rbx: 0x1111n });
    // di is saved where the return address was.
    const top = ks + 8n * 15n;
    const memory = programStack()
      .put(k + 0x383n, Uint8Array.from(inCall))
      .words(ks, ...frame);
    memory.words(top - 8n, 0xd1);
    const waiting = registers({ ...inLeaf, rip: k + 0x808n, rsp: top - 16n, rsi: k + 0x388n }, 0x10);
    expect(
      drawn(await walk(memory, waiting, tables))
        .split("\n")
        .slice(0, 3),
    ).toEqual([
      "kernel+808 exact function registers",
      "kernel+388 called exception orc",
      "program+1010 exact function entry",
    ]);
    memory.words(ks - 8n, k + 0x388n);
    const below = registers({ ...inLeaf, rip: k + 0x808n, rsp: top - 16n, rsi: 0n }, 0x10);
    const stack = await walk(memory, below, tables);
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+808 exact function registers",
      "kernel+388 called exception orc",
      "program+1010 exact function entry",
    ]);
    expect(stack.frames[2]!.registers.get("rbx")).toBe(0x1111n);
  });

  it("do not follow a return address that is no code", async () => {
    const memory = new SceneMemory().words(ks, 1, 0xffff_8880_0123_4560n);
    const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: ks }, 0x10), options);
    expect(drawn(stack)).toBe("kernel+10 exact function registers\ncorrupt");
  });

  it("know the edge where a system call has entered and nothing is saved", async () => {
    const set = registers({ ...inLeaf, rip: k + 0x288n, rcx: p + 0x1010n }, 0x10);
    const stack = await walk(programStack(), set, options);
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+288 exact syscall registers",
      "program+1010 exact function entry",
      "program+1060 called function cfi",
    ]);
  });

  it("know the edge where a system call returns, and its last registers are on the entry stack", async () => {
    const top = ks + 0x1000n;
    const at = (rsp: bigint, rdi = 7n) =>
      registers({ ...inLeaf, rip: k + 0x288n, rcx: p + 0x1010n, rdi, rsp }, 0x10);
    const memory = () =>
      programStack()
        .words(ks, 0)
        .words(top - 16n, 7, s)
        .words(ks + 0x828n, s)
        .words(top, 0);
    const saved = at(top, ks + 0x800n);
    for (const set of [at(top - 16n), at(top - 8n), saved]) {
      const { frames } = await walk(memory(), set, options);
      expect(frames.slice(0, 3).map(({ sp }) => sp)).toEqual([set.get("rsp"), s, s + 8n]);
      expect(frames[1]).toMatchObject({ pc: p + 0x1010n, by: "entry" });
    }
    // When the user's stack pointer cannot be found, the program's pc is still found.
    const { frames } = await walk(memory(), at(top), options);
    expect(frames[1]).toMatchObject({ pc: p + 0x1010n, sp: undefined });
  });

  it("know it where the tables call it the end of the stack, as those from 5.10 to 6.12 do", async () => {
    const atEnd = kernelWith([...entries.slice(0, 3), outermost(0x280), ...entries.slice(4)]);
    const set = registers({ ...inLeaf, rip: k + 0x280n, rcx: p + 0x1010n }, 0x10);
    const stack = await walk(programStack(), set, { ...options, kernel: atEnd });
    expect(drawn(stack).split("\n").slice(0, 3)).toEqual([
      "kernel+280 exact syscall registers",
      "program+1010 exact function entry",
      "program+1060 called function cfi",
    ]);
  });

  it("lead from a new task's first frame to where its program will go on", async () => {
    const memory = programStack()
      .words(ks, 1, k + 0x510n)
      .words(ks + 16n, ...savedRegisters({ ...inLeaf, originalRax: 56n }));
    const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: ks }, 0x10), options);
    expect(drawn(stack).split("\n").slice(0, 4)).toEqual([
      "kernel+10 exact function registers",
      "kernel+510 called syscall orc",
      "program+1010 exact function entry",
      "program+1060 called function cfi",
    ]);
    expect(stack.frames[2]!.registers.get("rbx")).toBe(0x1111n);
  });

  it("unwind by rbp what is called by rbp, and add the slide of KASLR", async () => {
    const slide = 0x1200_0000n;
    const moved = k + slide;
    const memory = new SceneMemory().words(ks + 0x40n, 0x99, moved + 0x510n);
    const set = registers({ rip: moved + 0x710n, rsp: ks, rbp: ks + 0x40n }, 0x10);
    const stack = await walk(memory, set, { kernel: kernelWith(entries, { slide }) });
    expect(stack.frames.map(({ pc }) => pc)).toEqual([moved + 0x710n, moved + 0x510n]);
    expect(stack.end).toBe("outermost");
    expect(stack.frames[1]!.registers.get("rbp")).toBe(0x99n);
  });

  it("take the function a retpoline goes to for what begins, not for a caller", async () => {
    const unwinding = kernelWith([call(0, 8), nothing(0x80), call(0x100, 8), outermost(0x200)]);
    const memory = new SceneMemory().words(ks, k + 0x100n, k + 0x210n);
    const stack = await walk(memory, registers({ rip: k + 0x10n, rsp: ks }, 0x10), { kernel: unwinding });
    expect(drawn(stack)).toBe(
      [
        "kernel+10 exact function registers",
        "kernel+100 exact function orc",
        "kernel+210 called function orc",
        "outermost",
      ].join("\n"),
    );
  });

  it("mean the same in every dialect", async () => {
    const memory = () =>
      programStack()
        .words(ks, 0x1234, k + 0x110n, k + 0x210n)
        .words(ks + 24n, ...savedRegisters({ ...inLeaf, originalRax: 39n }));
    const drawings = [];
    for (const dialect of ["end2", "end3", "typed", "renumbered"] as const) {
      const unwinding = kernelWith(entries, { dialect });
      const set = registers({ rip: k + 0x10n, rsp: ks }, 0x10);
      drawings.push(drawn(await walk(memory(), set, { ...options, kernel: unwinding })));
    }
    expect(new Set(drawings).size).toBe(1);
    expect(drawings[0]).toContain("#39");
  });
});

describe("hostile stacks", () => {
  it("of any bytes end, within bounds and without an error", async () => {
    const interesting = fc.oneof(
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      fc.integer({ min: 0, max: 0xfff }).map((offset) => k + BigInt(offset)),
      fc.integer({ min: 0x1000, max: 0x1110 }).map((offset) => p + BigInt(offset)),
      fc.integer({ min: 0, max: 511 }).map((word) => ks + BigInt(word * 8)),
      fc.integer({ min: 0, max: 511 }).map((word) => s + BigInt(word * 8)),
      fc.constantFrom(0x33n, 0x10n, 0x2bn, 0x23n, -1n, 0n),
    );
    const words = fc.array(interesting, { minLength: 64, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(words, interesting, fc.constantFrom(0x10, 0x33), async (values, pc, cs) => {
        const memory = new SceneMemory().words(ks, ...values).words(s, ...values.toReversed());
        memory.words(p + 0x1000n, ...values.slice(0, 40));
        const set = registers({ rip: pc, rsp: cs === 0x10 ? ks : s, rbp: values[0]! }, cs);
        const stack = await walk(memory, set, { ...options, limit: 64 });
        expect(stack.frames.length).toBeGreaterThan(0);
        expect(stack.frames.length).toBeLessThanOrEqual(64);
        expect(memory.reads).toBeLessThan(5000);
      }),
      { numRuns: 300 },
    );
  });
});
