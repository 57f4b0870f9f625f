import { pack } from "./elf-fixture.js";

/** Writes kallsyms tables as scripts/kallsyms.c does, without its compression: every letter is its own token. */
export interface FixtureKallsyms {
  readonly wordSize?: 4 | 8;
  /** "6.4": the order of Linux 6.4 and later; "6.2" has the order by name before the tokens; "5.4" is the oldest. */
  readonly layout: "5.4" | "6.2" | "6.4";
  /** "self": each offset counts from its own address, as from Linux 7.0 on. */
  readonly rule: "percpu" | "relative" | "self" | "absolute";
  readonly base: bigint;
  /** The alignment of tables: a word, and from Linux 7.0 on 4 bytes. */
  readonly alignment?: 4 | 8;
  /** The address of the tables, for the rule "self". */
  readonly home?: bigint;
  /** Ascending addresses, absolute ones first. */
  readonly symbols: readonly FixtureKernelSymbol[];
}

export interface FixtureKernelSymbol {
  readonly name: string;
  readonly kind: string;
  readonly address: bigint;
}

export function makeKallsyms(fixture: FixtureKallsyms): Uint8Array {
  const { symbols, base, rule } = fixture;
  const word = fixture.wordSize ?? 8;
  const alignment = fixture.alignment ?? word;
  const parts: Uint8Array[] = [];
  const add = (bytes: Uint8Array) => {
    parts.push(bytes, new Uint8Array((alignment - (bytes.length % alignment)) % alignment));
  };

  // Tokens 0, 1 and 2 stand for several letters; the others for themselves, or for a letter that no name has.
  const tokens = Array.from({ length: 256 }, (_, i) =>
    i > 32 && i < 127 ? String.fromCharCode(i) : `unused${i}`,
  );
  tokens[0] = "zz";
  tokens[1] = "sys_";
  tokens[2] = "_do";
  const encode = (text: string): number[] => {
    const bytes: number[] = [];
    for (let i = 0; i < text.length; ) {
      const pair = [0, 1, 2].find((token) => text.startsWith(tokens[token]!, i));
      bytes.push(pair ?? text.charCodeAt(i));
      i += pair === undefined ? 1 : tokens[pair]!.length;
    }
    return bytes;
  };
  const names: number[] = [];
  const markers: number[] = [];
  symbols.forEach(({ kind, name }, i) => {
    if (i % 256 === 0) markers.push(names.length);
    const bytes = encode(kind + name);
    if (bytes.length >= 128 && fixture.layout !== "5.4")
      names.push((bytes.length & 0x7f) | 0x80, bytes.length >>> 7);
    else names.push(bytes.length);
    names.push(...bytes);
  });
  const tokenText = tokens.map((token) => `${token}\0`);
  const tokenIndex = tokenText.map((_, i) => tokenText.slice(0, i).join("").length);

  const addresses = () => {
    if (rule === "self") {
      const at = fixture.home! + BigInt(parts.reduce((sum, { length }) => sum + length, 0));
      return add(pack(...symbols.map(({ address }, i) => [address - (at + BigInt(i * 4)), 4] as const)));
    }
    if (rule === "absolute") return add(pack(...symbols.map(({ address }) => [address, word] as const)));
    const offsets = symbols.map(({ address, kind }) => {
      if (rule === "relative") return address - base;
      return kind === "A" ? address : base - 1n - address;
    });
    add(pack(...offsets.map((offset) => [offset, 4] as const)));
    add(pack([base, word]));
  };
  const count = () => add(pack([symbols.length, 4]));
  const text = () => {
    add(Uint8Array.from(names));
    add(pack(...markers.map((marker) => [marker, 4] as const)));
  };
  const tokensAndIndex = () => {
    add(Buffer.from(tokenText.join(""), "latin1"));
    add(pack(...tokenIndex.map((offset) => [offset, 2] as const)));
  };
  const byName = () => add(new Uint8Array(symbols.length * 3).map((_, i) => i));

  if (fixture.layout === "6.4") {
    count();
    text();
    tokensAndIndex();
    addresses();
    byName();
  } else {
    addresses();
    count();
    text();
    if (fixture.layout === "6.2") byName();
    tokensAndIndex();
  }
  return Buffer.concat(parts);
}

/** A small kernel: 600 functions of 16 bytes in text, and the marks of its parts. */
export function kernelSymbols(base: bigint): FixtureKernelSymbol[] {
  const at = (offset: number) => base + BigInt(offset);
  const functions = Array.from({ length: 600 }, (_, i) => ({
    name: i === 7 ? `sys_${"long_".repeat(40)}name` : `sys_do_${i}`,
    kind: i % 2 ? "t" : "T",
    address: at(0x1000 + i * 16),
  }));
  return [
    { name: "_text", kind: "T", address: base },
    { name: "_stext", kind: "T", address: base },
    ...functions,
    { name: "alias_of_last", kind: "W", address: at(0x1000 + 599 * 16) },
    { name: "_etext", kind: "T", address: at(0x4000) },
    { name: "__start_rodata", kind: "R", address: at(0x8000) },
    { name: "linux_banner", kind: "R", address: at(0x8010) },
    { name: "__end_rodata", kind: "R", address: at(0x9000) },
    { name: "between_parts", kind: "D", address: at(0x9800) },
    { name: "__init_begin", kind: "D", address: at(0xa000) },
    { name: "_sinittext", kind: "T", address: at(0xa000) },
    { name: "start_kernel", kind: "T", address: at(0xa100) },
    { name: "_einittext", kind: "T", address: at(0xa800) },
    { name: "init_data", kind: "d", address: at(0xa900) },
    { name: "__init_end", kind: "D", address: at(0xb000) },
    { name: "_end", kind: "B", address: at(0xc000) },
  ];
}
