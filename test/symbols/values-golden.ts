import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { GuestMemory } from "../../src/base/guest-memory.js";
import { syncBytes } from "../../src/base/sync-source.js";
import { ElfFile } from "../../src/symbols/elf/elf.js";

/** The file that test/golden/values/make.mjs wrote: GDB's answers, with the program and its memory. */
interface Golden {
  readonly symbols: readonly { readonly name: string; readonly address: string; readonly size: string }[];
  /** GDB's `whatis` of each symbol. */
  readonly types: Readonly<Record<string, string>>;
  readonly registers: Readonly<Record<string, string>>;
  readonly memory: readonly { readonly address: string; readonly gzip: string }[];
  /** Expressions and what GDB's `print` shows, or `ERROR …`. */
  readonly prints: readonly (readonly [expression: string, shown: string])[];
}

const directory = join(dirname(fileURLToPath(import.meta.url)), "../golden/values");

export const golden = JSON.parse(readFileSync(join(directory, "gdb.json"), "utf8")) as Golden;

/** The program, with DWARF 5 and BTF. */
export const program = ElfFile.open(syncBytes(gunzipSync(readFileSync(join(directory, "values.elf.gz")))));

/** Stretches of bytes at addresses, as guest memory. */
export function stretches(
  pieces: readonly { readonly address: bigint; readonly bytes: Uint8Array }[],
): GuestMemory {
  return {
    async read(address, length) {
      const out = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const at = address + BigInt(done);
        const piece = pieces.find(
          ({ address: start, bytes }) => at >= start && at < start + BigInt(bytes.length),
        );
        if (!piece) return undefined;
        const from = Number(at - piece.address);
        const part = piece.bytes.subarray(from, from + length - done);
        out.set(part, done);
        done += part.length;
      }
      return out;
    },
  };
}

export const memory = stretches([
  ...golden.memory.map(({ address, gzip }) => ({
    address: BigInt(address),
    bytes: gunzipSync(Buffer.from(gzip, "base64")),
  })),
  ...program.segments
    .filter(({ type, fileSize }) => type === 1 && fileSize > 0)
    .map(({ address, offset, fileSize }) => ({ address, bytes: program.source.read(offset, fileSize) })),
]);

export const symbolsByName = new Map(golden.symbols.map((symbol) => [symbol.name, symbol]));

/** The name that GDB prints for an address. */
export function nameOf(address: bigint): string | undefined {
  for (const { name, address: start, size } of golden.symbols) {
    const offset = address - BigInt(start);
    if (offset >= 0n && offset < BigInt(size)) return offset === 0n ? name : `${name}+${offset}`;
  }
  return undefined;
}
