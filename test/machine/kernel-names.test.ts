import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { GuestMemory } from "../../src/base/guest-memory.js";
import { makeGuest } from "../../src/guest/guest.js";
import { walkedMemory } from "../../src/linux/guest/page-tables.js";
import { placementFromPhysicalMemory } from "../../src/symbols/kernel/kaslr.js";
import { readModules } from "../../src/symbols/kernel/modules.js";
import { loadKernelSymbols } from "../../src/symbols/kernel/symbols.js";
import { Symbols } from "../../src/symbols/names/symbols.js";
import { addressOfKey } from "../../src/symbols/tables/address.js";
import { isAbsoluteKind } from "../../src/symbols/tables/symbol-table.js";
import { placesFrom } from "../../src/tape/home.js";
import { GdbRemote } from "../oracle/gdb-remote.js";
import { slideFromCalls, slideFromMemory } from "../symbols/kaslr-slides.js";
import { until, Workbench } from "../workbench.js";

/** Loads the guest's modules, prints the kernel's symbols from its own /proc/kallsyms, and waits. */
const init = `#!/bin/sh
mount -t proc proc /proc
echo 0 > /proc/sys/kernel/kptr_restrict
while read -r module; do insmod "$module"; done < /etc/modules
echo; echo MODULES; cat /proc/modules
echo KALLSYMS; cat /proc/kallsyms
echo READY
while true; do sleep 1000; done
`;
const memoryMB = 256;
/** QEMU's stub takes packets of 4 kB: 2 kB of memory in hexadecimal. */
const readAtOnce = 1800;

interface Line {
  readonly address: bigint;
  readonly kind: string;
  readonly name: string;
  readonly module: string | undefined;
}

let bench: Workbench;
beforeEach(async () => {
  bench = await Workbench.make();
});
afterEach(() => bench[Symbol.asyncDispose]());

function memoryOver(remote: GdbRemote): GuestMemory {
  return {
    read: async (address, length) => {
      const bytes = Buffer.alloc(length);
      for (let done = 0; done < length; done += readAtOnce) {
        const count = Math.min(readAtOnce, length - done);
        const reply = await remote.request(`m${(address + BigInt(done)).toString(16)},${count.toString(16)}`);
        if (reply.length !== count * 2) return undefined;
        bytes.write(reply, done, "hex");
      }
      return bytes;
    },
  };
}

/**
 * Boots a stock kernel in a plain QEMU until it has printed everything. Returns the console and the stopped machine.
 */
async function boot(packageName: string, append: string) {
  const initFile = bench.path("init");
  writeFileSync(initFile, init);
  const { cache } = placesFrom(process.env);
  const directory = bench.path("guest");
  const guest = await makeGuest({ cacheDir: cache, directory, package: packageName, init: initFile });
  const socket = bench.path("gdb");
  const log = bench.path("console");
  bench.spawn(process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64", [
    ...[
      "-nodefaults",
      "-no-user-config",
      "-accel",
      "tcg",
      "-m",
      `${memoryMB}`,
      "-display",
      "none",
      "-nic",
      "none",
    ],
    ...["-kernel", guest.kernel, "-initrd", guest.initrd, "-append", `${guest.append} ${append}`],
    ...["-serial", `file:${log}`, "-gdb", `unix:${socket},server=on,wait=off`, "-no-reboot"],
  ]);
  const text = () => readFileSync(log, "latin1").replaceAll("\r", "");
  const isReady = () => existsSync(log) && text().endsWith("READY\n");
  // Without acceleration, printing five megabytes of symbols takes a while.
  await until(isReady, "the guest's symbols");
  const remote = await GdbRemote.connect(socket);
  return { kernelFile: guest.kernel, remote, text: text() };
}

function parseKallsyms(text: string): Line[] {
  const lines = text
    .slice(text.indexOf("\nKALLSYMS\n") + 10, text.lastIndexOf("READY\n"))
    .trim()
    .split("\n");
  return lines.map((line) => {
    const [, address, kind, name, module] = /^([0-9a-f]+) (\S) (\S+)(?:\s+\[(\S+)\])?$/.exec(line)!;
    return { address: BigInt(`0x${address}`), kind: kind!, name: name!, module };
  });
}

describe.each([
  ["linux-image-amd64", "nokaslr"],
  ["linux-image-amd64", ""],
  ["linux-image-cloud-amd64", ""],
])("%s %s", (packageName, append) => {
  test("has the names, addresses and modules that its own /proc says", async () => {
    const { kernelFile, remote, text } = await boot(packageName, append);
    const lines = parseKallsyms(text);
    const ofKernel = lines.filter(({ module }) => module === undefined);
    expect(ofKernel.length).toBeGreaterThan(50_000);

    const kernel = loadKernelSymbols(kernelFile);
    const memory = memoryOver(remote);
    const slide = await slideFromMemory(memory, kernel);
    const [first] = ofKernel.filter(({ name }) => name === "_text");
    const link = addressOfKey(kernel.table.starts[kernel.table.names.find("_text")[0]!]!);
    expect(slide).toBe(first!.address - link);
    if (append === "nokaslr") expect(slide).toBe(0n);

    // Every entry, in order.
    const { names, starts, kinds } = kernel.table;
    const ours = Array.from(starts, (start, i) => {
      const moved = isAbsoluteKind(kinds[i]!) ? 0n : slide!;
      return `${(addressOfKey(start) + moved).toString(16)} ${String.fromCharCode(kinds[i]!)} ${names.at(i)}`;
    });
    const theirs = ofKernel.map(({ address, kind, name }) => `${address.toString(16)} ${kind} ${name}`);
    expect(ours.length).toBe(theirs.length);
    expect(ours.filter((line, i) => line !== theirs[i])).toEqual([]);

    // The slide by the other two ways.
    const text64 = ofKernel.filter(({ kind }) => kind === "T").map(({ address }) => address);
    const called = BigUint64Array.from({ length: 300 }, (_, i) => text64[(i * 7919) % text64.length]!);
    expect(slideFromCalls(called, kernel)?.slide).toBe(slide);
    expect(await remote.request("Qqemu.PhyMemMode:1")).toBe("OK");
    const physical = { ...memory, size: memoryMB << 20 };
    const placement = await placementFromPhysicalMemory(physical, kernel);
    expect(placement?.slide).toBe(slide);

    // Modules, through page tables walked here: as the kernel sees them, whichever task runs.
    const root = addressOfKey(starts[names.find("init_top_pgt")[0]!]!) - 0xffff_ffff_8000_0000n;
    const walked = walkedMemory(physical, root + placement!.physicalOffset);
    const modules = (await readModules(walked, { table: kernel.table, slide: slide! }))!;
    const listed = text
      .slice(text.indexOf("\nMODULES\n") + 9, text.indexOf("\nKALLSYMS\n"))
      .trim()
      .split("\n");
    expect(modules.map(({ name }) => name)).toEqual(listed.map((line) => line.split(" ")[0]));
    expect(modules.length).toBeGreaterThan(4);
    for (const line of listed) {
      const [name, , , , state, base] = line.split(" ");
      const module = modules.find((one) => one.name === name)!;
      expect(state).toBe("Live");
      expect(module.state).toBe("live");
      expect(module.regions.map(({ start }) => start)).toContain(BigInt(base!));
    }
    const symbolsOf = (module: (typeof modules)[number]) =>
      Array.from(module.table.starts, (start, i) => {
        const kind = String.fromCharCode(module.table.kinds[i]!).toLowerCase();
        return `${addressOfKey(start).toString(16)} ${kind} ${module.table.names.at(i)}`;
      }).sort();
    for (const module of modules) {
      const own = lines
        .filter((line) => line.module === module.name)
        .map(({ address, kind, name }) => `${address.toString(16)} ${kind.toLowerCase()} ${name}`);
      expect(symbolsOf(module), module.name).toEqual(own.sort());
    }

    // Each function is named at its own address.
    const symbols = new Symbols();
    symbols.add({ name: "kernel", table: kernel.table, bias: slide! });
    for (const { name, table } of modules) symbols.add({ name: `module ${name}`, table });
    const known = new Set(modules.map(({ name }) => name));
    const unnamed = lines.filter(
      ({ address, kind, module }) =>
        "tTwW".includes(kind) &&
        (module === undefined || known.has(module)) &&
        symbols.lookup(address)?.offset !== 0,
    );
    expect(unnamed).toEqual([]);
    remote.close();
  });
});
