import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadSymbolSource } from "../../src/symbols/names/load-source.js";
import { formatAddress } from "../../src/symbols/names/symbol-format.js";
import { type Located, Symbols } from "../../src/symbols/names/symbols.js";
import { isWithout, requireTools } from "../tools.js";

/**
 * Lines, inlined copies and names of real programs, beside addr2line, c++filt and GDB. They are compiled here, so
 * that the host's compiler is tested.
 */
beforeAll(() => requireTools("gcc", "g++", "addr2line", "c++filt", "gdb", "dwz", "objcopy", "rustc"));

const source = (name: string) => fileURLToPath(new URL(`program/${name}`, import.meta.url));
const c = [source("list.c"), source("other.c")];
const cxx = [source("shapes.cpp")];
let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "vmtape-dwarf-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(program: string, args: readonly string[], input?: string): string {
  const { status, stdout, stderr } = spawnSync(program, args, { input, maxBuffer: 1 << 28, cwd: directory });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  return stdout.toString();
}

function load(file: string): Symbols {
  const symbols = new Symbols();
  symbols.add(loadSymbolSource({ file }));
  return symbols;
}

/** Every third byte of the functions of the sources (the C library's start code has no lines). */
function addressesOf(symbols: Symbols, limit = 1000): bigint[] {
  const { table } = symbols.sources[0]!;
  const addresses: bigint[] = [];
  for (let i = 0; i < table.names.count; i++) {
    if (!"tTwW".includes(String.fromCharCode(table.kinds[i]!))) continue;
    for (let at = 0; at < table.sizes[i]!; at += 3) addresses.push(BigInt(table.starts[i]! + at));
  }
  const step = Math.max(1, Math.floor(addresses.length / limit));
  return addresses.filter((_, i) => i % step === 0);
}

const hex = (address: bigint) => `0x${address.toString(16)}`;

/** As `addr2line -afi` prints: name and place of each function, innermost first. Without names where it lacks one. */
function chainOf(located: Located | undefined): string[] {
  const inlined = located?.inlined ?? [];
  const places = [located?.place, ...inlined.map(({ call }) => call)];
  return places.map((place) => `${place?.file}:${place?.line}`);
}

/** Places of each address, innermost first; undefined for one that addr2line does not know. */
function addr2line(file: string, addresses: readonly bigint[]): (string[] | undefined)[] {
  const lines = run("addr2line", ["-afi", "-e", file], addresses.map(hex).join("\n")).split("\n");
  const chains: string[][] = [];
  for (let i = 0; i + 1 < lines.length; ) {
    if (/^0x[0-9a-f]+$/.test(lines[i]!)) {
      chains.push([]);
      i++;
    } else {
      chains.at(-1)!.push(lines[i + 1]!.replace(/ \(discriminator \d+\)$/, "").replace(/:\?$/, ":0"));
      i += 2;
    }
  }
  return chains.map((chain) => (chain[0]!.startsWith("??") || chain[0]!.endsWith(":0") ? undefined : chain));
}

function compareWithAddr2line(file: string): void {
  const symbols = load(file);
  const addresses = addressesOf(symbols);
  const theirs = addr2line(file, addresses);
  const known = addresses.flatMap((address, i) => (theirs[i] ? [{ address, theirs: theirs[i] }] : []));
  expect(known.length).toBeGreaterThan(20);
  const differ = known.filter((one) => chainOf(symbols.lookup(one.address)).join() !== one.theirs.join());
  // addr2line has faults of its own: for inlined copies that begin at the same address it may name the file of
  // another one.
  const allowed = Math.floor(known.length / 100);
  expect(
    differ.slice(allowed).map((one) => [hex(one.address), chainOf(symbols.lookup(one.address)), one.theirs]),
  ).toEqual([]);
  expect(symbols.notes).toEqual([]);
}

describe("C", () => {
  it.each([
    ["-gdwarf-3"],
    ["-gdwarf-4"],
    ["-gdwarf-5"],
    ["-gdwarf-5", "-gz"],
    ["-gdwarf-4", "-O3", "-no-pie"],
    ["-gdwarf-5", "-O0"],
    ["-gdwarf-5", "-ffunction-sections", "-Wl,--gc-sections"],
    ["-gdwarf-4", "-flto"],
  ])("compiled with %s %s %s: chains and lines as addr2line's", (...flags) => {
    const file = join(directory, `c${flags.join("")}`.replaceAll(/[^\w-]/g, ""));
    run("gcc", ["-O2", "-g", ...flags, ...c, "-o", file]);
    compareWithAddr2line(file);
  });

  it("from a separate file that the program names", () => {
    const file = join(directory, "separate");
    run("gcc", ["-O2", "-g", "-Wl,--build-id=none", ...c, "-o", file]);
    const [address] = addressesOf(load(file)).filter((one) => load(file).lookup(one)?.inlined);
    const before = load(file).lookup(address!);
    run("objcopy", ["--only-keep-debug", file, "separate.debug"]);
    run("objcopy", ["--strip-debug", "--add-gnu-debuglink=separate.debug", file]);
    expect(load(file).lookup(address!)).toEqual(before);
  });

  it("printed as GDB prints it", () => {
    const file = join(directory, "gdb");
    run("gcc", ["-O2", "-g", ...c, "-o", file]);
    const symbols = load(file);
    const addresses = addressesOf(symbols);
    const commands = addresses.flatMap((address) => ["-ex", `output/a ${hex(address)}`, "-ex", "echo \\n"]);
    const lines = run("gdb", ["-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", ...commands, file])
      .split("\n")
      .filter((line) => line.startsWith("0x"));
    expect(addresses.map((address) => formatAddress(address, symbols.lookup(address), "gdb"))).toEqual(lines);
  });
});

describe.skipIf(isWithout("g++"))("C++", () => {
  it.each([["-gdwarf-4"], ["-gdwarf-5"], ["-gdwarf-4", "-fdebug-types-section"], ["-gdwarf-4", "-gz"]])(
    "compiled with %s %s: chains and lines as addr2line's",
    (...flags) => {
      const file = join(directory, `cxx${flags.join("")}`);
      run("g++", ["-O2", "-g", ...flags, ...cxx, "-o", file]);
      compareWithAddr2line(file);
    },
  );

  it.skipIf(isWithout("dwz"))("after dwz has taken out and shared what is twice", () => {
    const files = ["one", "two"].map((name) => join(directory, name));
    run("g++", ["-O2", "-g", ...cxx, "-o", files[0]!]);
    run("g++", ["-O1", "-g", ...cxx, "-o", files[1]!]);
    copyFileSync(files[0]!, join(directory, "plain"));
    run("dwz", ["-m", join(directory, "shared"), ...files]);
    const plain = load(join(directory, "plain"));
    const shared = load(files[0]!);
    const addresses = addressesOf(plain);
    const strip = (located: Located | undefined) => located && { ...located, source: "" };
    expect(addresses.map((one) => strip(shared.lookup(one)))).toEqual(
      addresses.map((one) => strip(plain.lookup(one))),
    );
    expect(shared.notes).toEqual([]);
  });

  it("names as c++filt's", () => {
    const file = join(directory, "names");
    run("g++", ["-O2", "-g", "-static", ...cxx, "-o", file]);
    compareNames(file, 0);
  });
});

/** Every mangled name of a program, beside c++filt's; `others` may differ. */
function compareNames(file: string, others: number): void {
  const { names } = load(file).sources[0]!.table;
  const list = Array.from({ length: names.count }, (_, i) => names.at(i)).filter((name) =>
    /^_[ZR]/.test(name),
  );
  const theirs = run("c++filt", ["-n", "-i"], list.join("\n")).split("\n");
  const symbols = load(file);
  const ours = list.map((name) => symbols.find(name)[0]!.name);
  const differ = list.flatMap((name, i) => (ours[i] === theirs[i] ? [] : [[name, ours[i], theirs[i]]]));
  expect(list.length).toBeGreaterThan(100);
  expect(differ.slice(others)).toEqual([]);
}

describe.skipIf(isWithout("rustc"))("Rust", () => {
  it("chains and lines as addr2line's, names as c++filt's", () => {
    const file = join(directory, "rust");
    run("rustc", ["-g", "-O", "-C", "symbol-mangling-version=v0", source("shapes.rs"), "-o", file]);
    compareWithAddr2line(file);
    compareNames(file, 0);
  });
});
