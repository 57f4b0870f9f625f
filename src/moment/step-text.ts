import { printable } from "../base/printable.js";
import { hex } from "../base/units.js";
import { disassemble } from "../qemu/x86-disassembly.js";
import { x86Register } from "../qemu/x86-registers.js";
import type { FilmCode } from "../replay/film/model.js";
import type { MemoryTouch, RegisterChange, Step } from "../replay/film/step.js";
import { positionToJson } from "../replay/session/position.js";

/** Names of addresses, and the source line of one. */
export interface StepNames {
  nameOf(address: bigint): string | undefined;
  lineOf(address: bigint): string | undefined;
}

/** Which registers are told; undefined: all. */
export type ShownRegisters = ReadonlySet<string> | undefined;

/** Tells steps, a line or an object each; instructions that come again are decoded once. */
export class StepText {
  private readonly names: StepNames;
  private readonly shown: ShownRegisters;
  private readonly texts = new WeakMap<FilmCode, Decoded>();

  constructor(names: StepNames, shown?: ShownRegisters) {
    this.names = names;
    this.shown = shown;
  }

  /** The instruction, as GDB writes it; of a delivery that came instead of one, what it is. */
  text({ code, kind }: Step): string {
    if (code) return this.decoded(code).text;
    return kind === "delivery" ? "(interrupt)" : "(unknown)";
  }

  /** `@ICOUNT ADDRESS <name>: text  registers  memory`. */
  line(step: Step): string {
    const { position, next } = step;
    const parts = [`@${position.icount} ${this.place(position.pc)}: ${this.text(step)}`];
    const goal = this.goal(step);
    if (goal) parts.push(`${goal} ${this.place(next)}`);
    for (const change of this.registers(step)) parts.push(`${change.name}=${littleEndian(change.after)}`);
    for (const touch of step.reads) parts.push(`read ${this.touched(touch)}`);
    for (const touch of step.writes) parts.push(`wrote ${this.touched(touch)}`);
    return printable(parts.join("  "));
  }

  /** The source line of the instruction, where debug information tells it. */
  sourceLine(step: Step): string | undefined {
    return this.names.lineOf(step.position.pc);
  }

  /** An object with at least `icount`, `brctr`, `pc`, `rep`, `text`, `registers`, `writes`. */
  json(step: Step) {
    const { position, next, kind, code } = step;
    return {
      ...positionToJson(position),
      symbol: this.names.nameOf(position.pc) ?? null,
      line: this.names.lineOf(position.pc) ?? null,
      kind,
      goes: this.goal(step) ?? null,
      next: hex(next),
      text: this.text(step),
      bytes: code ? Buffer.from(code.bytes).toString("hex") : null,
      registers: Object.fromEntries(
        this.registers(step).map(({ name, after }) => [name, littleEndian(after)]),
      ),
      writes: step.writes.map((touch) => this.touchJson(touch)),
      reads: step.reads.map((touch) => this.touchJson(touch)),
    };
  }

  /** How control went elsewhere than to the next instruction. */
  private goal(step: Step): string | undefined {
    if (step.kind === "delivery") return step.code ? "exception" : "interrupt";
    if (!step.branches || !step.code) return undefined;
    const { mnemonic } = this.decoded(step.code);
    if (/^call/.test(mnemonic)) return "calls";
    if (/^(iret|sysret|sysexit|rsm)/.test(mnemonic)) return "returns from a handler to";
    if (/^l?ret/.test(mnemonic)) return "returns to";
    if (/^(syscall|sysenter|int)/.test(mnemonic)) return "enters";
    return "goes to";
  }

  private registers({ registers }: Step): readonly RegisterChange[] {
    return this.shown ? registers.filter(({ name }) => this.shown!.has(name)) : registers;
  }

  private touched({ address, length, before, after, device }: MemoryTouch): string {
    const name = this.names.nameOf(address);
    const place = `[${hex(address)}${name === undefined ? "" : ` <${name}>`}]`;
    if (device) return `${place} ${length} bytes of a device`;
    const was = before ? littleEndian(before) : undefined;
    if (!after) return `${place}=${was ?? `? (${length} bytes)`}`;
    return `${place}=${littleEndian(after)}${was === undefined ? "" : ` (was ${was})`}`;
  }

  private touchJson({ address, physical, length, before, after, device, write }: MemoryTouch) {
    return {
      address: hex(address),
      physical: physical === undefined ? null : hex(physical),
      symbol: this.names.nameOf(address) ?? null,
      length,
      device,
      before: before ? Buffer.from(before).toString("hex") : null,
      ...(write && { after: after ? Buffer.from(after).toString("hex") : null }),
    };
  }

  private place(address: bigint): string {
    const name = this.names.nameOf(address);
    return `${hex(address)}${name === undefined ? "" : ` <${name}>`}`;
  }

  private decoded(code: FilmCode): Decoded {
    let decoded = this.texts.get(code);
    if (!decoded) {
      const [line] = disassemble(code.bytes, code.width, code.address, 1);
      const goal = line?.target === undefined ? undefined : this.names.nameOf(line.target);
      const text = line ? `${line.text}${goal === undefined ? "" : ` <${goal}>`}` : "(bad)";
      decoded = { text, mnemonic: text.replace(/^(lock|rep[a-z]*|bnd|notrack)\s+/, "") };
      this.texts.set(code, decoded);
    }
    return decoded;
  }
}

interface Decoded {
  readonly text: string;
  readonly mnemonic: string;
}

/** Bytes as the number they are, without zeros in front. */
function littleEndian(bytes: Uint8Array): string {
  const digits = Buffer.from(bytes).reverse().toString("hex");
  return `0x${digits.replace(/^0+(?=.)/, "")}`;
}

/** Is there a register of this name in the `g` block, beside the instruction pointer? */
export function isShownRegister(name: string): boolean {
  return name !== "rip" && x86Register(name) !== undefined;
}
