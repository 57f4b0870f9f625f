import { printable } from "../../base/printable.js";
import { firstKernelAddress, hex } from "../../base/units.js";
import type { HistoryTask } from "../../linux/history/task-history.js";
import type { ProbeHitEvent, ProbeValue } from "../../linux/probe/hit.js";
import type { Moment } from "../../moment/moment.js";
import type { OpenTape } from "../../moment/open-tape.js";
import { formatPosition } from "../../replay/session/position.js";
import { grouped, toJson } from "../shell/output.js";

/** The options that shape the lines of a probe. */
export interface HitFlags {
  readonly print?: readonly string[];
  readonly stack?: boolean;
  readonly json?: boolean;
}

/** `{EXPR}` in a text. */
const placeholder = /\{([^{}]+)\}/g;
/** Which `--print`s are for a hit, and which for a return, where `$retval` is known but parameters no longer are. */
export function printsOf(
  where: string,
  texts: readonly string[] | undefined,
): Record<ProbeHitEvent["kind"], readonly string[] | undefined> {
  if (where.startsWith("sys_exit:")) return { hit: texts, return: undefined };
  const onReturn = texts?.filter((text) => /\$retval\b/.test(text)) ?? [];
  const hit = texts?.filter((text) => !onReturn.includes(text));
  return { hit, return: onReturn.length > 0 ? onReturn : undefined };
}

/** The expressions of some `--print`s, in order. */
export function expressionsIn(prints: readonly string[] | undefined): string[] | undefined {
  return prints?.flatMap((text) => {
    const inside = [...text.matchAll(placeholder)].map(([, expression]) => expression!);
    return inside.length > 0 ? inside : [text];
  });
}

/**
 * Prints hits as lines. What was not collected with a hit is read from the machine, by going to the hit's instant.
 */
export class HitPrinter {
  private readonly open: OpenTape;
  private readonly prints: ReturnType<typeof printsOf>;
  private readonly flags: HitFlags;
  private readonly signal: AbortSignal;

  constructor(open: OpenTape, where: string, flags: HitFlags, signal: AbortSignal) {
    this.open = open;
    this.prints = printsOf(where, flags.print);
    this.flags = flags;
    this.signal = signal;
  }

  async line(hit: ProbeHitEvent): Promise<string> {
    const { json, stack } = this.flags;
    const values: { expression: string; value: string }[] = [];
    for (const value of hit.values) {
      values.push({ expression: value.expression, value: value.text ?? (await this.lookUp(hit, value)) });
    }
    const frames = stack ? await this.stackOf(hit) : undefined;
    if (json) return `${toJson(this.facts(hit, values, frames))}\n`;
    const where = formatPosition(hit.position, this.nameOf(hit));
    const who = hit.task ? `${taskText(hit.task)}  ` : "";
    const verb = hit.kind === "return" && hit.what === undefined ? `${hit.label} returned ` : "";
    const doubt = hit.isCertain ? "" : "  (or was left before)";
    const lasted = hit.instructions === undefined ? "" : `  (${grouped(hit.instructions)} instructions)`;
    const told = [hit.what ?? "", this.valueText(hit, values)].filter((text) => text !== "").join("  ");
    const line = printable(`${where}  ${who}${verb}${told}${lasted}${doubt}`.trimEnd());
    return `${[line, ...(frames ?? []).map((frame) => `    ${printable(frame)}`)].join("\n")}\n`;
  }

  /** The name of a hit's address. In a program only the probe knows it. */
  private nameOf({ pc, kind, label }: ProbeHitEvent): string | undefined {
    const isLabel = kind === "hit" && pc < firstKernelAddress && !/^0x/.test(label);
    return this.open.symbols.describe(pc) ?? (isLabel ? label : undefined);
  }

  private valueText(hit: ProbeHitEvent, values: readonly { expression: string; value: string }[]): string {
    const prints = this.prints[hit.kind];
    if (!prints) {
      const isResult = hit.kind === "return";
      return values
        .map(({ expression, value }) => (isResult ? value : `${expression} = ${value}`))
        .join(", ");
    }
    let next = 0;
    return prints
      .map((text) => {
        if (text.search(placeholder) >= 0)
          return text.replace(placeholder, () => values[next++]?.value ?? "?");
        const { expression, value } = values[next++]!;
        return `${expression} = ${value}`;
      })
      .join(", ");
  }

  private facts(hit: ProbeHitEvent, values: readonly object[], frames: readonly string[] | undefined) {
    const { kind, label, icount, brctr, pc, task, what, instructions, number } = hit;
    return {
      kind,
      where: label,
      icount,
      brctr: brctr ?? null,
      pc: hex(pc),
      rep: hit.rep,
      symbol: this.nameOf(hit) ?? null,
      hit: number,
      pid: task && task.pid >= 0 ? task.pid : null,
      tgid: task && task.tgid >= 0 ? task.tgid : null,
      task: task?.name ?? null,
      ...(what !== undefined && { what }),
      ...(instructions !== undefined && { instructions, certain: hit.isCertain }),
      values,
      ...(frames && { stack: frames }),
    };
  }

  /** A value that needs the machine: evaluated at the hit's instant, with the locals and types there. */
  private async lookUp(hit: ProbeHitEvent, { expression, error }: ProbeValue): Promise<string> {
    if (error && error.code !== "not-found") return `<${error.message}>`;
    const moment = await this.at(hit);
    const [printed] = (await moment.values([expression])).values;
    if (printed?.error?.class === "cancelled") throw printed.error;
    return printed?.error ? `<${printed.error.message}>` : (printed?.value ?? "");
  }

  private async stackOf(hit: ProbeHitEvent): Promise<string[]> {
    const moment = await this.at(hit);
    const { stackLines } = await import("../../linux/stack/text.js");
    return stackLines(await moment.stack());
  }

  private at({ icount, pc }: ProbeHitEvent): Promise<Moment> {
    return this.open.at({ icount, pc }, { signal: this.signal });
  }
}

function taskText({ pid, name }: HistoryTask): string {
  return pid < 0 ? name : `${pid} ${name}`;
}
