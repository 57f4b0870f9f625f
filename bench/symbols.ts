/**
 * Names of addresses: time to load the kallsyms of stock kernels, and addresses named a second, beside `addr2line`
 * and `llvm-symbolizer` (symbol tables only) on the same list in the same run.
 *
 *     npx rolldown bench/symbols.ts --platform node -o dist/bench/symbols.js
 *     node dist/bench/symbols.js [--program ELF] KERNEL…
 *
 * A KERNEL is a vmlinuz or vmlinux; each is loaded in a process of its own, as a command would. The program is by
 * default node itself, which has 180,000 symbols. Fails when another tool names a function differently.
 */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { loadKernelSymbols } from "../src/symbols/kernel/symbols.js";
import { loadSymbolSource } from "../src/symbols/names/load-source.js";
import { Symbols } from "../src/symbols/names/symbols.js";
import type { SymbolTable } from "../src/symbols/tables/symbol-table.js";

const run = promisify(execFile);
const rounds = 5;
const distinctAddresses = 2_000_000;
const peerAddresses = 2_000;

const milliseconds = (value: number) => `${value.toFixed(0)} ms`;
const rate = (count: number, ms: number) => `${(count / ms / 1000).toFixed(2)} M/s`;
const print = (line: string) => process.stdout.write(`${line}\n`);

/** In a child: loads one kernel and says how long it took. */
function loadOnce(file: string): void {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const kernel = loadKernelSymbols(file);
  const took = performance.now() - start;
  const used = process.cpuUsage(cpu);
  print(
    JSON.stringify({
      took,
      cpu: (used.user + used.system) / 1000,
      symbols: kernel.table.names.count,
      release: kernel.release,
      memory: process.resourceUsage().maxRSS / 1024,
    }),
  );
}

async function benchLoading(file: string): Promise<void> {
  const loads = [];
  for (let i = 0; i < rounds; i++) {
    const { stdout } = await run(process.execPath, [process.argv[1]!, "--load", file]);
    loads.push(
      JSON.parse(stdout) as { took: number; cpu: number; symbols: number; release: string; memory: number },
    );
  }
  const best = loads.reduce((a, b) => (b.took < a.took ? b : a));
  const cpu = Math.min(...loads.map((load) => load.cpu));
  print(
    `load ${best.release}: ${best.symbols} symbols in ${milliseconds(best.took)} ` +
      `(processor ${milliseconds(cpu)}, peak ${best.memory.toFixed(0)} MB; best of ${rounds})`,
  );
}

/** Distinct addresses inside functions, in no order. */
function addressesOf(table: SymbolTable, count: number): BigUint64Array {
  const functions: number[] = [];
  for (let i = 0; i < table.names.count; i++) {
    if ("tTwW".includes(String.fromCharCode(table.kinds[i]!))) functions.push(table.starts[i]!);
  }
  const starts = Float64Array.from(functions).sort();
  const distinct = new Set<number>();
  let seed = 1;
  while (distinct.size < count) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const at = Math.floor((seed / 2 ** 32) * (starts.length - 1));
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const room = Math.min(4096, starts[at + 1]! - starts[at]!);
    if (room > 0) distinct.add(starts[at]! + Math.floor((seed / 2 ** 32) * room));
  }
  return BigUint64Array.from([...distinct], (key) => BigInt.asUintN(64, BigInt(key)));
}

function benchLookups(name: string, table: SymbolTable): void {
  const symbols = new Symbols();
  symbols.add({ name, table });
  const addresses = addressesOf(table, distinctAddresses);
  const ids = new Int32Array(addresses.length);
  const offsets = new Float64Array(addresses.length);
  symbols.lookupMany(addresses.subarray(0, 1), ids);
  let bulk = Number.POSITIVE_INFINITY;
  let named = Number.POSITIVE_INFINITY;
  let single = Number.POSITIVE_INFINITY;
  let letters = 0;
  for (let round = 0; round < rounds; round++) {
    let start = performance.now();
    symbols.lookupMany(addresses, ids, offsets);
    bulk = Math.min(bulk, performance.now() - start);
    start = performance.now();
    symbols.lookupMany(addresses, ids, offsets);
    for (let i = 0; i < ids.length; i++) if (ids[i]! >= 0) letters += symbols.nameById(ids[i]!).length;
    named = Math.min(named, performance.now() - start);
    start = performance.now();
    for (let i = 0; i < 500_000; i++) letters += symbols.nameOf(addresses[i]!)?.offset ?? 0;
    single = Math.min(single, performance.now() - start);
  }
  if (letters === 0) throw new Error("nothing was named");
  const hits = ids.filter((id) => id >= 0).length;
  print(
    `${name}: ${addresses.length} distinct addresses (${hits} named): ` +
      `ids ${rate(addresses.length, bulk)}, names ${rate(addresses.length, named)}, ` +
      `one by one ${rate(500_000, single)}`,
  );
  let start = performance.now();
  symbols.find("no such symbol");
  const first = performance.now() - start;
  start = performance.now();
  symbols.nearestNames("vfs_raed");
  print(
    `${name}: first find ${milliseconds(first)}, nearest names ${milliseconds(performance.now() - start)}`,
  );
}

/** Feeds addresses to a tool and gives back its lines, or undefined when it is not installed. */
function ask(
  tool: string,
  args: readonly string[],
  addresses: readonly string[],
): Promise<string[] | undefined> {
  return new Promise((resolve) => {
    const child = spawn(tool, args, { stdio: ["pipe", "pipe", "ignore"] });
    const parts: Buffer[] = [];
    child.on("error", () => resolve(undefined));
    child.stdout.on("data", (part: Buffer) => parts.push(part));
    child.on("close", () => resolve(Buffer.concat(parts).toString().split("\n")));
    child.stdin.on("error", () => {});
    child.stdin.end(addresses.join("\n"));
  });
}

async function benchPeers(program: string, table: SymbolTable): Promise<void> {
  const list = [...addressesOf(table, peerAddresses)].map((address) => `0x${address.toString(16)}`);
  const peers: readonly [tool: string, args: readonly string[], linesEach: number][] = [
    ["addr2line", ["-f", "-e", program], 2],
    ["eu-addr2line", ["-f", "-e", program], 2],
    ["llvm-symbolizer", ["--functions=linkage", "--no-demangle", "--no-inlines", "-e", program], 3],
  ];
  let start = performance.now();
  const symbols = new Symbols();
  symbols.add({ name: program, table: loadSymbolSource({ file: program }).table });
  const names = list.map((address) => symbols.lookup(BigInt(address)));
  const own = performance.now() - start;
  print(`${program}: loaded and ${list.length} addresses named in ${milliseconds(own)}`);
  for (const [tool, args, linesEach] of peers) {
    start = performance.now();
    const lines = await ask(tool, args, list);
    const took = performance.now() - start;
    if (!lines) {
      print(`${tool}: not installed`);
      continue;
    }
    // Aliases differ from tool to tool: a name of the same address agrees. What no symbol covers we do not name,
    // and some tools give to the symbol before it; others have no names for jump stubs.
    const named = names.flatMap((located, i) => {
      const theirs = lines[i * linesEach] ?? "??";
      return located && theirs !== "??" ? [{ located, theirs }] : [];
    });
    const other = named.filter(
      ({ located, theirs }) =>
        theirs !== located.name && !symbols.find(theirs).some(({ address }) => address === located.start),
    );
    print(
      `${tool}: ${milliseconds(took)}, ${(took / own).toFixed(1)} × ours; ` +
        `of ${named.length} names ${named.length - other.length} agree`,
    );
    if (other.length > named.length * 0.01) {
      throw new Error(`${tool} names ${other[0]!.theirs}, not ${other[0]!.located.name}`);
    }
  }
}

async function main(args: string[]): Promise<void> {
  if (args[0] === "--load") return loadOnce(args[1]!);
  let program = process.execPath;
  if (args[0] === "--program") program = args.splice(0, 2)[1]!;
  for (const kernel of args) await benchLoading(kernel);
  for (const kernel of args) benchLookups(kernel, loadKernelSymbols(kernel).table);
  await benchPeers(program, loadSymbolSource({ file: program }).table);
}

await main(process.argv.slice(2));
