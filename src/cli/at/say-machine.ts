import pc from "picocolors";
import { printable } from "../../base/printable.js";
import { hex } from "../../base/units.js";
import type { Line } from "../../qemu/x86-disassembly.js";
import { registerValue, x86Registers } from "../../qemu/x86-registers.js";
import { sayStyled } from "../shell/output.js";

type Describe = (address: bigint) => string | undefined;

/** Bits of eflags with a name, as GDB lists them (Intel SDM, volume 1, 3.4.3). */
const flags: readonly (readonly [bit: number, name: string])[] = [
  [0, "CF"],
  [2, "PF"],
  [4, "AF"],
  [6, "ZF"],
  [7, "SF"],
  [8, "TF"],
  [9, "IF"],
  [10, "DF"],
  [11, "OF"],
  [14, "NT"],
  [16, "RF"],
  [17, "VM"],
  [18, "AC"],
  [21, "ID"],
];
/** Registers with more bytes are not printed; `--json` has them. */
const shownBytes = 8;

/** Prints the registers of a `g` block, one a line, with the names of the addresses that they contain. */
export function sayRegisters(block: Uint8Array, describe: Describe): void {
  for (const { name, bytes } of x86Registers) {
    if (bytes > shownBytes || /^f[a-z]{3}$|^f(iseg|ioff|oseg|ooff|op)$|mxcsr/.test(name)) continue;
    const value = registerValue(block, name);
    const meaning = name === "eflags" ? flagText(value) : bytes === 8 ? described(value, describe) : "";
    sayStyled(`${pc.dim(name.padEnd(10))} 0x${value.toString(16).padStart(bytes * 2, "0")}${meaning}`);
  }
}

function flagText(value: bigint): string {
  const set = flags.filter(([bit]) => (value >> BigInt(bit)) & 1n).map(([, name]) => name);
  return `  [ ${set.join(" ")} ]`;
}

function described(value: bigint, describe: Describe): string {
  const name = describe(value);
  return name === undefined ? "" : `  <${printable(name)}>`;
}

/** Prints instructions as GDB lists them, with an arrow at the next one. */
export function sayListing(lines: readonly Line[], next: bigint, describe: Describe): void {
  for (const { address, text, target } of lines) {
    const name = describe(address);
    const place = `${hex(address)}${name === undefined ? "" : ` <${printable(name)}>`}:`;
    const goal = target === undefined ? undefined : describe(target);
    sayStyled(
      `${address === next ? "=>" : "  "} ${pc.dim(place)}\t${text}${goal === undefined ? "" : ` <${printable(goal)}>`}`,
    );
  }
}
