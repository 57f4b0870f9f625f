import type { OrcDialect } from "../../src/symbols/unwind/orc-layout.js";
import { pack } from "./elf-fixture.js";

/** An ORC entry as a test writes it. */
export interface FixtureEntry {
  /** Address key. */
  readonly at: number;
  readonly type: "undefined" | "end" | "call" | "registers" | "partial";
  /** Numbers as up to Linux 7.0. */
  readonly spRegister: number;
  readonly spOffset: number;
  readonly bpRegister: number;
  readonly bpOffset: number;
}

/** Byte 5 of an entry of each type, as Linux 6.1, 6.3, 6.4 and 7.1 have it. */
const flags: Record<OrcDialect, Record<FixtureEntry["type"], number>> = {
  end2: { undefined: 0, end: 0b100, call: 0, registers: 1, partial: 2 },
  end3: { undefined: 0, end: 0b1000, call: 0, registers: 0b101, partial: 0b110 },
  typed: { undefined: 0, end: 1, call: 2, registers: 0b1011, partial: 0b1100 },
  renumbered: { undefined: 0, end: 1, call: 2, registers: 0b1011, partial: 0b1100 },
};

/** What Linux 7.1 writes for a register: undefined, previous sp, dx, di, bp, sp, r10, r13, bp and sp indirect, ax. */
const from71 = [0, 8, 2, 5, 4, 3, 6, 7, 10, 9, 1];

/** The two arrays of an ORC table. */
export function makeOrc(entries: readonly FixtureEntry[], placesAt: number, dialect: OrcDialect) {
  const number = (register: number) => (dialect === "renumbered" ? from71[register]! : register);
  const places = pack(...entries.map(({ at }, i) => [at - (placesAt + i * 4), 4] as const));
  const bytes = pack(
    ...entries.flatMap(({ type, spRegister, spOffset, bpRegister, bpOffset }) => [
      [spOffset, 2] as const,
      [bpOffset, 2] as const,
      [number(spRegister) | (number(bpRegister) << 4), 1] as const,
      [flags[dialect][type], 1] as const,
    ]),
  );
  return { places, bytes };
}
