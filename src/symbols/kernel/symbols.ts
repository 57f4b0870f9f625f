import { createHash } from "node:crypto";
import { VmtapeError } from "../../base/errors.js";
import { type SyncSource, withSyncFile } from "../../base/sync-source.js";
import { cachedSymbols } from "../debug/table-cache.js";
import { isElf } from "../elf/elf.js";
import { sectionType } from "../elf/layout.js";
import { readElfSymbols } from "../elf/symbols.js";
import { addressOfKey } from "../tables/address.js";
import type { SymbolTable } from "../tables/symbol-table.js";
import { imageBytes, type KernelImage, kallsymsHomes, openKernelImage } from "./image.js";
import { readKallsyms } from "./kallsyms.js";

/** What is known of a kernel from its image, at link addresses: with KASLR everything moves by one slide. */
export interface KernelSymbols {
  readonly table: SymbolTable;
  readonly origin: "symtab" | "kallsyms";
  /** `linux_banner`: "Linux version 6.1.0-… (…) …\n". */
  readonly banner: string | undefined;
  /** Version as in `uname -r`. */
  readonly release: string | undefined;
  readonly wordSize: 4 | 8;
  readonly buildId: string | undefined;
  /** Bytes of text and read-only data to compare with guest memory: link address and contents. */
  readonly evidence: readonly KernelEvidence[];
}

/** A stretch of the image that a running kernel has unchanged in memory. */
export interface KernelEvidence {
  readonly symbol: string;
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

const longestBanner = 1024;
/** A larger image is not hashed, and not kept in a cache. */
const largestImage = 256 << 20;

/** What loading a kernel's symbols may use. */
export interface KernelSymbolOptions {
  /** A directory that keeps the symbols of packed images for the next time. Default: nothing is kept. */
  readonly cache?: string | undefined;
}

/**
 * Reads the symbols of a kernel file: a `vmlinuz`, or a vmlinux with or without symbol table.
 *
 * Cost: for a stock Debian kernel 0.2 to 0.7 s, most of it unpacking; from a cache 0.05 s.
 *
 * @throws VmtapeError `bad-file` when it is no kernel, damaged, or has no symbols at all; see `openKernelImage`
 */
export function loadKernelSymbols(file: string, options: KernelSymbolOptions = {}): KernelSymbols {
  return withSyncFile(file, (source) => readKernelSymbols(source, options));
}

/** As `loadKernelSymbols`, from an open source. */
export function readKernelSymbols(source: SyncSource, { cache }: KernelSymbolOptions = {}): KernelSymbols {
  // A packed image is small enough to hash, and unpacking it takes ten times as long.
  const isPacked =
    cache !== undefined && source.size <= largestImage && !isElf(source.read(0, Math.min(4, source.size)));
  if (!isPacked) return unpackSymbols(source);
  const key = createHash("sha256").update(source.read(0, source.size)).digest("hex");
  const read = () => {
    const { table, ...facts } = unpackSymbols(source);
    const evidence = facts.evidence.map(({ symbol, address, bytes }) => ({
      symbol,
      address: address.toString(),
      text: Buffer.from(bytes).toString("base64"),
    }));
    return { table, facts: { ...facts, evidence } };
  };
  const { table, facts } = cachedSymbols({ directory: cache, name: key, key }, read, 0);
  const evidence = facts.evidence.map(({ symbol, address, text }) => ({
    symbol,
    address: BigInt(address),
    bytes: new Uint8Array(Buffer.from(text, "base64")),
  }));
  return { ...facts, table, evidence };
}

function unpackSymbols(source: SyncSource): KernelSymbols {
  const image = openKernelImage(source);
  const fromText = kernelSymbolsOf(image);
  if (fromText) return fromText;
  const fromAll = image.whole ? undefined : kernelSymbolsOf(openKernelImage(source, { whole: true }));
  if (fromAll) return fromAll;
  throw new VmtapeError("bad-file", `${source.name} has neither a symbol table nor kallsyms`, {
    file: source.name,
  });
}

/** The symbols in an image that is open already; undefined when the part of it that was unpacked has none. */
export function kernelSymbolsOf({ elf }: KernelImage): KernelSymbols | undefined {
  const { wordSize } = elf.layout;
  const hasSymtab = elf.sections.some(({ type, size }) => type === sectionType.symbols && size > 0);
  const fromElf = hasSymtab ? readElfSymbols(elf) : undefined;
  let table = fromElf && fromElf.names.count > 0 ? fromElf : undefined;
  const origin = table ? "symtab" : "kallsyms";
  if (!table) {
    for (const { bytes, address } of kallsymsHomes(elf)) {
      table = readKallsyms(bytes, address, wordSize);
      if (table) break;
    }
  }
  if (!table) return undefined;

  const banner = bannerOf(table, elf);
  const evidence: KernelEvidence[] = banner ? [banner] : [];
  const text = banner && Buffer.from(banner.bytes).toString("latin1");
  return {
    table,
    origin,
    banner: text,
    release: text?.match(/^Linux version (\S+)/)?.[1],
    wordSize,
    buildId: elf.buildId,
    evidence,
  };
}

function bannerOf(table: SymbolTable, elf: KernelImage["elf"]): KernelEvidence | undefined {
  const index = table.names.findLinked("linux_banner");
  if (index === undefined) return undefined;
  const address = addressOfKey(table.starts[index]!);
  for (let length = longestBanner; length >= 16; length >>>= 1) {
    const bytes = imageBytes(elf, address, length);
    const end = bytes?.indexOf(0) ?? -1;
    if (bytes && end > 0) return { symbol: "linux_banner", address, bytes: bytes.slice(0, end) };
  }
  return undefined;
}
