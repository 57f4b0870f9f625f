import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { breathe } from "../../base/breathe.js";
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { noLinks, readRegular } from "../../base/regular-file.js";
import { replaceFile } from "../../base/replace-file.js";
import { kernelHeadBytes, kernelKind } from "../../formats/kernel-file.js";
import { GuestRam } from "../../qemu/ram.js";
import type { Session } from "../../replay/session/session.js";
import { systemDebugDirectories } from "../../symbols/debug/file.js";
import { debugOfKernel, type SymbolFileOptions } from "../../symbols/debug/source.js";
import type { KernelPlacement } from "../../symbols/kernel/kaslr.js";
import { readModules } from "../../symbols/kernel/modules.js";
import { type KernelSymbols, loadKernelSymbols } from "../../symbols/kernel/symbols.js";
import {
  type LoadedSource,
  loadInitramfsSources,
  loadSymbolSource,
} from "../../symbols/names/load-source.js";
import { formatName } from "../../symbols/names/symbol-format.js";
import { type SymbolSource, Symbols } from "../../symbols/names/symbols.js";
import { readHead } from "../../tape/store.js";
import type { Tape } from "../../tape/tape.js";
import {
  isPlaceKnown,
  type KernelPlaceOptions,
  kernelMemory,
  kernelPlace,
  knownPlace,
  learnPlace,
} from "../guest/kernel-place.js";
import { physicalMemory } from "../guest/physical-memory.js";
import { RecordedMemory } from "../guest/recorded-memory.js";

/** Which answers first where two sources know an address. */
const priorities = { named: 30, modules: 20, kernel: 10, initramfs: 0 } as const;
/** What was read of the modules at an icount, which is the rest of the name. */
const modulesStem = "modules-";

/**
 * The symbols of a tape's guest: what the user named with `--symbols`, the kernel's own kallsyms (moved by
 * KASLR's slide, which is found), its modules as far as they were seen loaded, and programs of the initramfs that
 * are linked to fixed addresses.
 */
export class TapeSymbols {
  readonly symbols: Symbols;
  private readonly cache: string;
  /** What the tape's kernel says of itself; undefined without one that is readable. */
  readonly kernel: KernelSymbols | undefined;
  /** Where it lies; undefined when it never runs. */
  readonly place: KernelPlacement | undefined;

  private constructor(
    cache: string,
    symbols: Symbols,
    kernel: KernelSymbols | undefined,
    place: KernelPlacement | undefined,
  ) {
    this.cache = cache;
    this.symbols = symbols;
    this.kernel = kernel;
    this.place = place;
  }

  /**
   * Loads them. Cost: about 0.5 s for a stock kernel, the next time 0.05 s; the first time for a tape a part of a
   * replay, for the slide.
   */
  static async load(tape: Tape, options: KernelPlaceOptions): Promise<TapeSymbols> {
    const files = fileOptions(options.cache);
    const isLinux = kernelKind(await readHead(tape.layout.kernel, kernelHeadBytes, noLinks)) !== "multiboot";
    const kernel = orUndefined(() => loadKernelSymbols(tape.layout.kernel, files));
    await breathe(options.signal);
    const place = kernel && isLinux ? await kernelPlace(tape, kernel, options) : undefined;
    return TapeSymbols.over(tape, options.cache, kernel, place, options.signal);
  }

  /**
   * The same without finding out where the kernel lies: all names, at the addresses their files have. For looking at
   * names before anything is replayed; about 0.5 s for a stock kernel, the next time 0.05 s.
   */
  static async loadNames(tape: Tape, cache: string): Promise<TapeSymbols> {
    const kernel = orUndefined(() => loadKernelSymbols(tape.layout.kernel, fileOptions(cache)));
    return TapeSymbols.over(tape, cache, kernel, await knownPlace(cache));
  }

  private static async over(
    tape: Tape,
    cache: string,
    kernel: KernelSymbols | undefined,
    place: KernelPlacement | undefined,
    signal?: AbortSignal,
  ): Promise<TapeSymbols> {
    const symbols = new Symbols();
    const files = fileOptions(cache);
    for (const source of namedSources(tape, files)) {
      // The kernel's own vmlinux, with more to say: KASLR moves both.
      const isKernel = source.buildId !== undefined && source.buildId === kernel?.buildId;
      symbols.add(isKernel && place ? { ...source, bias: place.slide } : source);
      await breathe(signal);
    }
    if (kernel) {
      const debug = debugOfKernel(kernel, files);
      symbols.add({
        name: "kernel",
        table: kernel.table,
        priority: priorities.kernel,
        ...(place && { bias: place.slide }),
        debug,
      });
    }
    for (const source of await initramfsSources(tape)) symbols.add(source);
    const all = new TapeSymbols(cache, symbols, kernel, place);
    await all.addModules(await all.rememberedModules());
    return all;
  }

  /**
   * The address of a symbol; of several of one name, that of the source that answers first.
   *
   * @throws `not-found` with the nearest names
   */
  addressOf(name: string): bigint {
    const [found] = this.symbols.find(name);
    if (found) return found.address;
    const nearest = this.symbols.nearestNames(name, 5);
    const hint = nearest.length > 0 ? `; there are ${nearest.join(", ")}` : "";
    throw new VmtapeError("not-found", `no symbol is named '${name}'${hint}`, { got: name, nearest });
  }

  /** `name+offset` of an address, or undefined. */
  describe(address: bigint): string | undefined {
    const located = this.symbols.lookup(address);
    return located && formatName(located);
  }

  /**
   * Learns what a paused session shows, for later: where the kernel lies, and the modules loaded by now. Costs
   * nothing when a later instant of the tape has been seen already; else about a second.
   */
  static async learn(tape: Tape, cache: string, session: Session): Promise<void> {
    const at = await session.position();
    const seen = await newestModules(cache);
    if (seen && seen.at >= at && (await isPlaceKnown(cache))) return;
    const kernel = orUndefined(() => loadKernelSymbols(tape.layout.kernel, fileOptions(cache)));
    const place = kernel && (await learnPlace(session, kernel, cache));
    const learned = new TapeSymbols(cache, new Symbols(), kernel, place);
    await learned.seeModules(session);
  }

  /** Reads the modules loaded now in a paused session, and remembers them for the tape. */
  async seeModules(session: Session): Promise<void> {
    if (!this.kernel || !this.place) return;
    const at = await session.position();
    const seen = await newestModules(this.cache);
    if (seen && seen.at >= at) return;
    await using ram = await GuestRam.open(session.pid!);
    const live = await kernelMemory(physicalMemory(ram), this.kernel, this.place);
    if (!live) return;
    const memory = RecordedMemory.over(live);
    if ((await this.addModules(memory)) === 0) return;
    // When it cannot be kept, it costs only names.
    await replaceFile(join(this.cache, `${modulesStem}${at}`), memory.encode()).catch(() => {});
    if (seen) await rm(join(this.cache, seen.name), { force: true });
  }

  private async addModules(memory: RecordedMemory | undefined): Promise<number> {
    if (!memory || !this.kernel || !this.place) return 0;
    const { slide } = this.place;
    const modules = (await readModules(memory, { table: this.kernel.table, slide })) ?? [];
    for (const { name, table } of modules) {
      this.symbols.remove(`module ${name}`);
      this.symbols.add({ name: `module ${name}`, table, priority: priorities.modules });
    }
    return modules.length;
  }

  private async rememberedModules(): Promise<RecordedMemory | undefined> {
    const seen = await newestModules(this.cache);
    const bytes = seen && (await readRegular(join(this.cache, seen.name), noLinks).catch(() => undefined));
    return bytes && RecordedMemory.decode(bytes);
  }
}

/** The latest instant of the tape at which modules were seen. */
async function newestModules(cache: string): Promise<{ name: string; at: bigint } | undefined> {
  const names = await readdir(cache).catch(() => [] as string[]);
  return names
    .filter((name) => /^modules-\d{1,16}$/.test(name))
    .map((name) => ({ name, at: BigInt(name.slice(modulesStem.length)) }))
    .sort((a, b) => (a.at < b.at ? 1 : -1))[0];
}

/** Symbols of programs are kept beside the caches of the tapes: many tapes have the same kernel. */
function fileOptions(tapeCache: string): SymbolFileOptions {
  const cache = join(dirname(dirname(tapeCache)), "symbols");
  return { cache, debugDirectories: systemDebugDirectories };
}

function* namedSources(tape: Tape, files: SymbolFileOptions): Generator<LoadedSource> {
  for (const [i, { label, prefix, range }] of tape.manifest.symbols.entries()) {
    const [first, last] = (range ?? "").split("-");
    yield {
      ...loadSymbolSource(
        {
          file: tape.layout.symbolFile(i),
          ...(prefix !== undefined && { prefix }),
          ...(first && last && { range: { first: BigInt(first), last: BigInt(last) } }),
        },
        files,
      ),
      name: label,
      priority: priorities.named,
    };
  }
}

/** Programs at fixed addresses. Position-independent ones have none until their task's mappings are known. */
async function initramfsSources(tape: Tape): Promise<SymbolSource[]> {
  if (!tape.manifest.machine.initrd) return [];
  const archive = await readRegular(tape.layout.initrd, noLinks);
  const sources = orUndefined(() => loadInitramfsSources(archive, tape.layout.initrd)) ?? [];
  return sources
    .filter((source) => !source.needsBias)
    .map((source) => ({ ...source, priority: priorities.initramfs }));
}

/** A file without symbols, or none we can read, is no fault: its addresses stay numbers. */
function orUndefined<T>(load: () => T): T | undefined {
  try {
    return load();
  } catch (error) {
    if (isVmtapeError(error, "bad-file") || isVmtapeError(error, "unsupported")) return undefined;
    throw error;
  }
}
