import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { openKernelImage } from "../../src/symbols/kernel/image.js";
import { loadKernelSymbols, readKernelSymbols } from "../../src/symbols/kernel/symbols.js";
import { loadSymbolSource } from "../../src/symbols/names/load-source.js";
import { makeElf, pack } from "./elf-fixture.js";
import { kernelSymbols, makeKallsyms } from "./kallsyms-fixture.js";

const base = 0xffff_ffff_8100_0000n;
const banner = "Linux version 6.1.0-fixture (builder@host) #1 SMP\n";

/** A kernel whose read-only data holds the banner and kallsyms, as Linux links them. */
function makeVmlinux(options: { readonly kallsyms?: boolean; readonly symtab?: boolean } = {}): Uint8Array {
  const rodata = Buffer.alloc(0x100000);
  rodata.write(`${banner}\0`, 0x10, "latin1");
  if (options.kallsyms ?? true) {
    rodata.set(makeKallsyms({ layout: "6.4", rule: "relative", base, symbols: kernelSymbols(base) }), 0x1000);
  }
  return makeElf({
    segments: true,
    sections: [
      { name: ".text", address: base, bytes: new Uint8Array(0x4000).fill(0x90) },
      { name: ".rodata", address: base + 0x8000n, bytes: rodata, flags: 2 },
      { name: "__ksymtab", address: base + 0x200000n, bytes: new Uint8Array(8), flags: 2 },
    ],
    ...(options.symtab && {
      symbols: [{ name: "from_symtab", value: base + 0x1000n, size: 16, section: ".text" }],
    }),
  });
}

/** A bzImage around a payload, with one boot sector and one sector of set-up code. */
function makeBzImage(payload: Uint8Array, unpackedSize: number, version = 0x020f): Uint8Array {
  const setup = Buffer.alloc(1024);
  setup[0x1f1] = 1;
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(version, 0x206);
  setup.writeUInt32LE(512, 0x248);
  setup.writeUInt32LE(payload.length + 4, 0x24c);
  return Buffer.concat([setup, new Uint8Array(512), payload, pack([unpackedSize, 4]), new Uint8Array(100)]);
}

/** An lzop file whose blocks are stored as they are. */
function lzop(bytes: Uint8Array): Uint8Array {
  const word = (value: number, size = 4) => {
    const text = Buffer.alloc(size);
    text.writeUIntBE(value, 0, size);
    return text;
  };
  const header = [0x89, 0x4c, 0x5a, 0x4f, 0, 0x0d, 0x0a, 0x1a, 0x0a];
  const parts: Uint8Array[] = [Uint8Array.from(header), word(0x1030, 2), word(0x20a0, 2), word(0x940, 2)];
  // Method, level, flags, mode, two times, no name, checksum.
  parts.push(Uint8Array.of(3, 9), word(0), word(0o100644), word(0), word(0), Uint8Array.of(0), word(0));
  for (let at = 0; at < bytes.length; at += 1 << 18) {
    const block = bytes.subarray(at, at + (1 << 18));
    parts.push(word(block.length), word(block.length), block);
  }
  return Buffer.concat([...parts, word(0)]);
}

const vmlinux = makeVmlinux();
const bzImage = makeBzImage(gzipSync(vmlinux), vmlinux.length);
const open = (bytes: Uint8Array) => readKernelSymbols(syncBytes(bytes, "vmlinuz"));

describe("a kernel's symbols", () => {
  it.each([
    ["a vmlinux", vmlinux],
    ["a compressed vmlinux", gzipSync(vmlinux)],
    ["a bzImage", bzImage],
    ["a bzImage with LZO", makeBzImage(lzop(vmlinux), vmlinux.length)],
    ["a vmlinux packed by bzip2", execFileSync("bzip2", { input: vmlinux })],
    ["a bzImage with bzip2", makeBzImage(execFileSync("bzip2", { input: vmlinux }), vmlinux.length)],
  ])("come from the kallsyms of %s", (_, bytes) => {
    const kernel = open(bytes);
    expect(kernel).toMatchObject({ origin: "kallsyms", banner, release: "6.1.0-fixture", wordSize: 8 });
    expect(kernel.table.names.find("start_kernel")).toHaveLength(1);
    expect(kernel.evidence[0]).toMatchObject({ symbol: "linux_banner", address: base + 0x8010n });
  });

  it("come from the symbol table where there is one", () => {
    const kernel = open(makeVmlinux({ symtab: true }));
    expect(kernel.origin).toBe("symtab");
    expect(kernel.table.names.count).toBe(1);
  });
});

it("says how the kernel was held", () => {
  expect(openKernelImage(syncBytes(bzImage))).toMatchObject({ container: "bzImage", compression: "gzip" });
  expect(openKernelImage(syncBytes(vmlinux))).toMatchObject({ container: "ELF", compression: undefined });
});

describe("what is no kernel is refused in a clear sentence", () => {
  it.each([
    ["text", Buffer.from("hello, world"), /^vmlinuz is neither a Linux kernel image nor an ELF file$/],
    ["nothing", new Uint8Array(0), /^vmlinuz is neither/],
    [
      "an old boot protocol",
      makeBzImage(gzipSync(vmlinux), 0, 0x0207),
      /boot protocol 2\.07, older than 2\.08/,
    ],
    ["an unknown payload", makeBzImage(new Uint8Array(64).fill(7), 64), /no compressed format known here/],
    [
      "a payload that is no ELF file",
      makeBzImage(gzipSync("no kernel"), 9),
      /does not unpack to an ELF file/,
    ],
    ["a damaged bzip2 payload", makeBzImage(Buffer.from("BZh91AY&SY"), 9), /the bzip2 data is damaged/],
    ["a damaged LZO payload", makeBzImage(lzop(vmlinux).subarray(0, 9000), 9), /the lzo data is damaged/],
    ["no symbols", makeVmlinux({ kallsyms: false }), /neither a symbol table nor kallsyms/],
  ])("%s", (_, bytes, message) => {
    expect(() => open(bytes)).toThrow(message);
  });

  it("a bzImage cut at any byte", () => {
    const end = bzImage.length - 104;
    for (let length = 0; length < end; length += length < 1600 ? 1 : 97) {
      expect(() => open(bzImage.subarray(0, length)), `${length}`).toThrow(VmtapeError);
    }
  });

  it("changed bytes give an error or names", () => {
    fc.assert(
      fc.property(fc.nat(0x250), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const changed = Uint8Array.from(bzImage);
        changed[at] = value;
        try {
          open(changed);
        } catch (error) {
          if (!(error instanceof VmtapeError)) throw error;
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe("files", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "vmtape-symbols-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  const write = (name: string, bytes: Uint8Array) => {
    const file = join(folder, name);
    writeFileSync(file, bytes);
    return file;
  };

  it("are read and closed", () => {
    const file = write("vmlinuz", bzImage);
    expect(loadKernelSymbols(file).release).toBe("6.1.0-fixture");
    const source = loadSymbolSource({ file, prefix: "K:", bias: 16n });
    expect(source).toMatchObject({ name: file, prefix: "K:", bias: 16n, needsBias: false });
  });

  it("are unpacked once when there is a cache, and again when it is damaged", () => {
    const file = write("cached", bzImage);
    const cache = join(folder, "cache");
    const plain = loadKernelSymbols(file);
    const facts = (kernel: typeof plain) => {
      const { table, ...rest } = kernel;
      const names = Array.from({ length: table.names.count }, (_, i) => table.names.at(i));
      const evidence = rest.evidence.map((one) => ({ ...one, bytes: Buffer.from(one.bytes) }));
      return {
        ...rest,
        evidence,
        names,
        starts: table.starts,
        kinds: table.kinds,
        intervals: table.intervals,
      };
    };
    expect(facts(loadKernelSymbols(file, { cache }))).toEqual(facts(plain));
    const [name] = readdirSync(cache);
    const kept = readFileSync(join(cache, name!));
    expect(facts(loadKernelSymbols(file, { cache }))).toEqual(facts(plain));
    const other = Buffer.from(kept);
    other[other.indexOf("sys_do_1")]! ^= 1;
    writeFileSync(join(cache, name!), other);
    expect(facts(loadKernelSymbols(file, { cache }))).toEqual(facts(plain));
    expect(readFileSync(join(cache, name!)).equals(kept)).toBe(true);
    // Another kernel has a cache entry of its own.
    loadKernelSymbols(write("other", makeBzImage(gzipSync(vmlinux, { level: 1 }), vmlinux.length)), {
      cache,
    });
    expect(readdirSync(cache).length).toBe(2);
  });

  it("that cannot be used are named", () => {
    const load = (file: string) => () => loadSymbolSource({ file });
    expect(load(join(folder, "missing"))).toThrow(/missing does not exist$/);
    expect(load(folder)).toThrow(/is (a directory|not a regular file)$/);
    expect(load(write("text", Buffer.from("hello")))).toThrow(
      /is neither a Linux kernel image nor an ELF file/,
    );
    expect(load(write("empty", new Uint8Array(0)))).toThrow(/is neither/);
    const stripped = makeElf({ sections: [{ name: ".text", address: 0x1000n, bytes: new Uint8Array(16) }] });
    expect(load(write("stripped", stripped))).toThrow(/has no symbols: it is stripped$/);
  });
});
