import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { btfHeader, btfKind } from "../../src/symbols/btf/layout.js";
import { type BtfTypes, decodeBtf } from "../../src/symbols/btf/types.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";
import { findBtf, readElfBtf, readKernelBtf, readMemoryBtf } from "../../src/symbols/kernel/btf-find.js";
import { openKernelImage } from "../../src/symbols/kernel/image.js";
import { formatType } from "../../src/symbols/types/name.js";
import { Types } from "../../src/symbols/types/set.js";
import { isStruct, resolve, sizeOf, type Type } from "../../src/symbols/types/type.js";
import { printValue } from "../../src/symbols/values/print.js";
import { BtfBuilder } from "./btf-fixture.js";
import { makeElf } from "./elf-fixture.js";
import { program, stretches } from "./values-golden.js";

const signed = 1;
const bool = 4;

/** One type of each kind, as a small kernel would have them. */
function sample() {
  const b = new BtfBuilder();
  const int = b.int("int", 4, signed);
  const char = b.int("char", 1, signed);
  const flag = b.int("_Bool", 1, bool);
  const long = b.int("long unsigned int", 8);
  const pid = b.add("typedef", "pid_t", int);
  const comm = b.add("array", "", 0, [char, int, 16]);
  const task = long + 20;
  const pointer = b.add("pointer", "", task);
  const inner = b.struct("union", "", 8, [
    { name: "number", type: long, bit: 0 },
    { name: "owner", type: pointer, bit: 0 },
  ]);
  const state = b.enum("state", { RUNNING: 0, SLEEPING: 1, ZOMBIE: 32 });
  const error = b.enum("error", { EPERM: -1, OK: 0 }, true);
  const wide = b.add("enum64", "wide", 8, [b.name("HUGE"), 5, 1], 1);
  const constChar = b.add("const", "", char);
  const text = b.add("pointer", "", constChar);
  const prototype = b.prototype(int, [
    ["task", pointer],
    ["name", text],
    ["", 0],
  ]);
  const func = b.add("function", "wake_up", prototype, [], 1);
  const variable = b.add("variable", "current_task", pointer, [1]);
  b.add("section", ".data..percpu", 8, [variable, 0, 8], 1);
  const float = b.add("float", "double", 8);
  b.add("forward", "hidden", 0);
  const tagged = b.add("typeTag", "user", char);
  b.add("declarationTag", "tag", func, [0]);
  const userText = b.add("pointer", "", tagged);
  const operation = b.add("pointer", "", prototype);
  const got = b.struct("struct", "task_struct", 80, [
    { name: "pid", type: pid, bit: 0, width: 0 },
    { name: "comm", type: comm, bit: 32, width: 0 },
    { name: "on_cpu", type: int, bit: 160, width: 1 },
    { name: "delta", type: int, bit: 161, width: 5 },
    { name: "flag", type: flag, bit: 168, width: 0 },
    { type: inner, bit: 192, width: 0 },
    { name: "state", type: state, bit: 256, width: 0 },
    { name: "error", type: error, bit: 288, width: 0 },
    { name: "wide", type: wide, bit: 320, width: 0 },
    { name: "name", type: text, bit: 384, width: 0 },
    { name: "run", type: operation, bit: 448, width: 0 },
    { name: "load", type: float, bit: 512, width: 0 },
    { name: "user", type: userText, bit: 576, width: 0 },
  ]);
  if (got !== task) throw new Error(`the fixture's task_struct is ${got}, not ${task}`);
  return b;
}

const bytes = sample().bytes();
const types = new Types(decodeBtf(bytes));

describe("BTF", () => {
  it("gives members with their places, those of anonymous ones too", () => {
    const task = types.struct("task_struct");
    expect(task.size).toBe(80);
    expect(task.member("comm")).toMatchObject({ byteOffset: 4 });
    expect(formatType(task.member("comm").type)).toBe("char [16]");
    expect(task.member("on_cpu")).toMatchObject({ byteOffset: 20, bitOffset: 0, bitSize: 1 });
    expect(task.member("delta")).toMatchObject({ byteOffset: 20, bitOffset: 1, bitSize: 5 });
    expect(task.member("owner")).toMatchObject({ byteOffset: 24 });
    expect(task.member("owner")).not.toHaveProperty("bitSize");
    expect(task.findMember("nonesuch")).toBeUndefined();
    expect(() => task.member("nonesuch")).toThrow("struct task_struct has no member 'nonesuch'");
    expect(() => types.struct("nonesuch")).toThrow("no struct nonesuch is known");
  });

  it("gives functions, variables and enumerators", () => {
    expect(formatType(types.findFunction("wake_up")!, "wake_up")).toBe(
      "int wake_up(struct task_struct *, const char *, ...)",
    );
    expect(types.findFunction("wake_up")!.parameters.map(({ name }) => name)).toEqual(["task", "name"]);
    expect(formatType(types.findVariable("current_task")!.type)).toBe("struct task_struct *");
    expect(types.findEnumerator("SLEEPING")).toMatchObject({ value: 1n });
    expect(types.findEnumerator("EPERM")).toMatchObject({ value: -1n });
    expect(types.findEnumerator("HUGE")).toMatchObject({ value: 0x1_0000_0005n });
    expect(types.findEnumerator("nonesuch")).toBeUndefined();
    expect(types.findFunction("task_struct")).toBeUndefined();
  });

  it("prints its values", async () => {
    const value = Buffer.alloc(80);
    value.writeInt32LE(-7, 0);
    value.write("swapper/0", 4);
    value[20] = 0b111111;
    value[21] = 1;
    value.writeUInt32LE(32, 32);
    value.writeInt32LE(-1, 36);
    value.writeBigUInt64LE(0x1_0000_0005n, 40);
    value.writeDoubleLE(0.5, 64);
    const text = await printValue(
      { type: types.struct("task_struct"), address: 0x1000n },
      { memory: stretches([{ address: 0x1000n, bytes: value }]) },
    );
    expect(text).toBe(
      '{pid = -7, comm = "swapper/0\\000\\000\\000\\000\\000\\000", on_cpu = -1, delta = -1, flag = true, ' +
        "{number = 0, owner = 0x0}, state = ZOMBIE, error = EPERM, wide = HUGE, name = 0x0, run = 0x0, " +
        "load = 0.5, user = 0x0}",
    );
  });

  it("takes enumerators for signed where no flag tells, as kernels before 6.1 wrote them", () => {
    const b = new BtfBuilder();
    b.enum("old", { MINUS: -1, PLUS: 1 });
    b.enum("flags", { LOW: 1, HIGH: 0x80000000 });
    expect(new Types(decodeBtf(b.bytes())).findEnumerator("MINUS")!.value).toBe(-1n);
    expect(new Types(decodeBtf(b.bytes())).findEnumerator("HIGH")!.value).toBe(0x80000000n);
    b.enum("new", { LESS: -1 }, true);
    expect(new Types(decodeBtf(b.bytes())).findEnumerator("MINUS")!.value).toBe(0xffffffffn);
  });

  it("knows bit fields that are ints of their own, as kernels before 5.0 wrote them", () => {
    const b = new BtfBuilder();
    const narrow = b.add("int", "unsigned int", 4, [(2 << 16) | 3]);
    b.struct("struct", "s", 4, [{ name: "three", type: narrow, bit: 0 }]);
    const place = new Types(decodeBtf(b.bytes())).struct("s").member("three");
    expect(place).toMatchObject({ byteOffset: 0, bitOffset: 2, bitSize: 3 });
  });

  it("reads a module's types on top of the kernel's", () => {
    const kernel = sample();
    const module = new BtfBuilder(kernel.counts);
    const base = decodeBtf(kernel.bytes());
    const pid = base.data.find("pid_t")[0]!;
    module.struct("struct", "virtnet_info", 4, [{ name: "owner", type: pid, bit: 0 }]);
    const split = decodeBtf(module.bytes(), { base, name: "virtio_net" });
    expect(split.count).toBe(1);
    const all = new Types(base, split);
    expect(formatType(all.struct("virtnet_info").member("owner").type)).toBe("pid_t");
    expect(all.struct("virtnet_info").member("owner").type).toBe(base.find("typedef", "pid_t"));
    expect(all.struct("task_struct").size).toBe(80);
  });

  it("is found in an ELF file, an image without sections, and memory", async () => {
    const b = sample();
    for (let i = 0; i < 200; i++) b.int(`filler${i}`, 4);
    const large = b.bytes();
    const rodata = new Uint8Array(0x20000);
    rodata.set(large, 0x1000);
    rodata.set(bytes.subarray(0, btfHeader.size), 0x800); // a header that leads nowhere
    const elf = (name: string, contents: Uint8Array) =>
      makeElf({
        segments: true,
        sections: [
          { name: ".text", address: 0xffffffff81000000n, bytes: new Uint8Array(64) },
          { name, address: 0xffffffff82000000n, bytes: contents, flags: 2 },
        ],
      });
    const fromSection = readElfBtf(ElfFile.open(syncBytes(elf(".BTF", large))));
    const fromImage = readKernelBtf(openKernelImage(syncBytes(elf(".rodata", rodata))));
    const memory = stretches([{ address: 0x5000n, bytes: large }]);
    const fromMemory = await readMemoryBtf(memory, 0x5000n, large.length);
    for (const found of [fromSection, fromImage, fromMemory]) expect(found?.count).toBe(224);
    expect(readKernelBtf(openKernelImage(syncBytes(elf(".rodata", new Uint8Array(64)))))).toBeUndefined();
    await expect(readMemoryBtf(memory, 0x4000n, 64)).rejects.toMatchObject({ code: "not-mapped" });
    expect(findBtf(new Uint8Array(100))).toBeUndefined();
  });
});

/** Asks for everything that can be reached from all types. */
function walk(btf: BtfTypes): number {
  const all = new Types(btf);
  let seen = 0;
  const visit = (type: Type) => {
    try {
      formatType(type);
      sizeOf(type);
      const plain = resolve(type);
      if (isStruct(plain)) {
        plain.findMember("nonesuch");
        seen += plain.members.length;
      } else if (plain.kind === "enum") seen += plain.enumerators.length;
      else if (plain.kind === "function") seen += plain.parameters.length;
    } catch (error) {
      if (!(error instanceof VmtapeError)) throw error;
    }
  };
  for (let id = 0; id < btf.data.endId + 2; id++) visit(btf.typeAt(id));
  all.findEnumerator("nonesuch");
  all.findFunction("nonesuch");
  all.findStruct("task_struct")?.findMember("comm");
  return seen;
}

function attempt(damaged: Uint8Array): void {
  try {
    walk(decodeBtf(damaged));
  } catch (error) {
    if (!(error instanceof VmtapeError)) throw error;
  }
}

describe("damaged BTF", () => {
  it("is refused with its reason", () => {
    const broken = (at: number, value: number) => {
      const copy = bytes.slice();
      copy[at] = value;
      return copy;
    };
    expect(() => decodeBtf(new Uint8Array(0))).toThrow("BTF is cut within its header");
    expect(() => decodeBtf(broken(0, 0))).toThrow("it is no BTF");
    expect(() => decodeBtf(broken(btfHeader.version, 2))).toThrow("BTF of version 2");
    expect(() => decodeBtf(broken(btfHeader.typesLength + 3, 0xff))).toThrow("the types of its BTF leave it");
    expect(() => decodeBtf(broken(btfHeader.stringsOffset + 2, 1))).toThrow(
      "the strings of its BTF leave it",
    );
    expect(() => decodeBtf(broken(btfHeader.length, 1))).toThrow("leave it");
  });

  it("of a cut type section keeps the types before the cut", () => {
    const whole = decodeBtf(bytes).count;
    const typesEnd = new DataView(bytes.buffer).getUint32(btfHeader.typesLength, true);
    let last = 0;
    for (let length = 0; length <= typesEnd; length++) {
      const copy = bytes.slice();
      new DataView(copy.buffer).setUint32(btfHeader.typesLength, length, true);
      const btf = decodeBtf(copy);
      expect(btf.count).toBeGreaterThanOrEqual(last);
      last = btf.count;
      walk(btf);
    }
    expect(last).toBe(whole);
  });

  it("cut at any byte is an error", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeBtf(bytes.slice(0, length))).toThrow(VmtapeError);
    }
  });

  it("with an unknown kind ends there and says so", () => {
    const b = new BtfBuilder();
    b.int("int", 4);
    b.add("unknown", "x", 0);
    b.int("late", 4);
    const btf = decodeBtf(b.bytes());
    expect(btf.count).toBe(1);
    expect(btf.data.damage).toBe("type 2 is of unknown kind 0");
  });

  it("flipped anywhere gives types or an error", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 8,
        }),
        (changes) => {
          const copy = bytes.slice();
          for (const [at, value] of changes) copy[at] = value;
          attempt(copy);
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe("hostile BTF", () => {
  const built = (build: (b: BtfBuilder) => void) => {
    const b = new BtfBuilder();
    build(b);
    return decodeBtf(b.bytes());
  };
  const memory = { read: async (_at: bigint, length: number) => new Uint8Array(Math.min(length, 1 << 20)) };

  it("with types that contain themselves ends in an error", () => {
    const btf = built((b) => {
      b.add("typedef", "loop", 2);
      b.add("const", "", 1);
      b.add("array", "", 0, [3, 3, 2]);
      b.add("variable", "v", 5, [0]);
      b.add("typeTag", "t", 6);
      b.add("typeTag", "t", 5);
      b.add("pointer", "", 7);
      b.prototype(8, [["", 8]]);
    });
    expect(() => sizeOf(btf.typeAt(1))).toThrow("a type refers to itself without end");
    expect(() => sizeOf(btf.typeAt(3))).toThrow("a type refers to itself without end");
    expect(btf.typeAt(4)).toMatchObject({ kind: "void" });
    expect(formatType(btf.typeAt(7)).length).toBeLessThan(200);
    expect(formatType(btf.typeAt(8)).length).toBeLessThan(1 << 20);
    walk(btf);
  });

  it("with structures within themselves is printed only so deep", async () => {
    const btf = built((b) => {
      b.struct(
        "struct",
        "s",
        64,
        Array.from({ length: 40 }, () => ({ type: 1, bit: 0 })),
      );
      b.struct(
        "struct",
        "a",
        64,
        Array.from({ length: 40 }, () => ({ type: 3, bit: 0 })),
      );
      b.struct(
        "struct",
        "b",
        64,
        Array.from({ length: 40 }, () => ({ name: "x", type: 2, bit: 0 })),
      );
    });
    walk(btf);
    for (const id of [1, 2]) {
      const text = await printValue({ type: btf.typeAt(id), address: 0n }, { memory });
      expect(text.length).toBeLessThan(1 << 22);
    }
  });

  it("with values beyond all memory is refused before it is read", async () => {
    const btf = built((b) => {
      const huge = b.struct("struct", "huge", 0xffffffff, []);
      b.add("array", "", 0, [huge, huge, 0xffffffff]);
      b.add("array", "", 0, [2, huge, 0xffffffff]);
    });
    for (const id of [1, 2, 3]) {
      await expect(printValue({ type: btf.typeAt(id), address: 0n }, { memory })).rejects.toMatchObject({
        code: "limit-exceeded",
      });
    }
  });

  it("has no more types than its kinds can be told", () => {
    const btf = built((b) => b.add("struct", "cut", 8, [], 65535));
    expect(btf.count).toBe(0);
    expect(btf.data.damage).toBe("the last type is cut");
    expect(btf.kindAt(1)).toBe(btfKind.unknown);
  });
});

describe("a compiler's BTF", () => {
  it("is read whole", () => {
    const btf = readElfBtf(program)!;
    expect(btf.data.damage).toBeUndefined();
    expect(btf.find("struct", "node")).toMatchObject({ size: 144 });
  });
});
