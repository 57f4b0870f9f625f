/**
 * Writes call frame information for tests: the reverse of the reader, without sharing code with it.
 */
export type Bytes = readonly number[];

export const uleb = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return bytes;
};

export const sleb = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = ((rest % 128) + 128) % 128;
    rest = Math.floor(rest / 128);
    const isLast = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
    bytes.push(isLast ? low : low | 0x80);
    if (isLast) return bytes;
  }
};

export const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);
export const u64 = (value: number): number[] => [
  ...u32(value % 2 ** 32),
  ...u32(Math.floor(value / 2 ** 32)),
];
const block = (bytes: Bytes) => [...uleb(bytes.length), ...bytes];

/** Instructions by name, as assemblers have them (`.cfi_…`). */
export const cfi = {
  advance: (by: number) => (by < 64 ? [0x40 | by] : by < 256 ? [2, by] : [4, ...u32(by)]),
  defCfa: (register: number, offset: number) => [0x0c, ...uleb(register), ...uleb(offset)],
  defCfaRegister: (register: number) => [0x0d, ...uleb(register)],
  defCfaOffset: (offset: number) => [0x0e, ...uleb(offset)],
  defCfaExpression: (bytes: Bytes) => [0x0f, ...block(bytes)],
  /** In units of the data alignment. */
  offset: (register: number, factored: number) => [0x80 | register, ...uleb(factored)],
  offsetExtendedSf: (register: number, factored: number) => [0x11, ...uleb(register), ...sleb(factored)],
  valOffset: (register: number, factored: number) => [0x14, ...uleb(register), ...uleb(factored)],
  restore: (register: number) => [0xc0 | register],
  undefined: (register: number) => [0x07, ...uleb(register)],
  sameValue: (register: number) => [0x08, ...uleb(register)],
  register: (register: number, other: number) => [0x09, ...uleb(register), ...uleb(other)],
  remember: [0x0a],
  restoreState: [0x0b],
  expression: (register: number, bytes: Bytes) => [0x10, ...uleb(register), ...block(bytes)],
  valExpression: (register: number, bytes: Bytes) => [0x16, ...uleb(register), ...block(bytes)],
  argumentsSize: (size: number) => [0x2e, ...uleb(size)],
} as const;

export interface FixtureFunction {
  readonly start: number;
  readonly length: number;
  readonly instructions: Bytes;
  /** Its caller was interrupted. */
  readonly isSignal?: boolean;
}

/** What every x86-64 function begins with: CFA = rsp + 8, the return address below it. */
export const standardStart = [...cfi.defCfa(7, 8), ...cfi.offset(16, 1)];

/** `.eh_frame` at `address`: one CIE (one more for signal frames), its functions, the end mark; and `.eh_frame_hdr`. */
export function makeFrames(address: number, headerAddress: number, functions: readonly FixtureFunction[]) {
  const bytes: number[] = [];
  const commons = new Map<boolean, number>();
  const commonOf = (isSignal: boolean) => {
    if (!commons.has(isSignal)) {
      commons.set(isSignal, bytes.length);
      const name = [...Buffer.from(isSignal ? "zRS\0" : "zR\0", "latin1")];
      // version 1, code alignment 1, data alignment -8, return column 16, pointers pc-relative sdata4
      entry([0, 0, 0, 0, 1, ...name, 1, ...sleb(-8), 16, 1, 0x1b, ...standardStart]);
    }
    return commons.get(isSignal)!;
  };
  const entry = (body: readonly number[]) => {
    const padded = [...body, ...new Array((8 - ((body.length + 4) % 8)) % 8).fill(0)];
    bytes.push(...u32(padded.length), ...padded);
  };
  const places: [start: number, at: number][] = [];
  for (const { start, length, instructions, isSignal = false } of functions) {
    const common = commonOf(isSignal);
    const at = bytes.length;
    places.push([start, address + at]);
    const back = at + 4 - common;
    entry([...u32(back), ...u32(start - (address + at + 8)), ...u32(length), 0, ...instructions]);
  }
  bytes.push(0, 0, 0, 0);
  places.sort(([a], [b]) => a - b);
  const header = [1, 0x1b, 0x03, 0x3b, ...u32(address - (headerAddress + 4)), ...u32(places.length)];
  for (const [start, at] of places) header.push(...u32(start - headerAddress), ...u32(at - headerAddress));
  return { frames: Uint8Array.from(bytes), header: Uint8Array.from(header) };
}

/** `.debug_frame`, DWARF 4, with whole addresses. */
export function makeDebugFrames(functions: readonly FixtureFunction[]): Uint8Array {
  const common = [...u32(0xffffffff), 4, 0, 8, 0, 1, ...sleb(-8), 16, ...standardStart];
  const bytes = [...u32(common.length), ...common];
  for (const { start, length, instructions } of functions) {
    const body = [...u32(0), ...u64(start), ...u64(length), ...instructions];
    bytes.push(...u32(body.length), ...body);
  }
  return Uint8Array.from(bytes);
}
