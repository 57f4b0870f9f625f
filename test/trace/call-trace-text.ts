import { BranchBatch, type BranchKind, branchKinds } from "../../src/formats/branch.js";
import { formatCall } from "../../src/trace/call-text.js";
import { CallTracker, type FunctionNames } from "../../src/trace/calls.js";

/**
 * Traces drawn as text. A line is `FROM KIND TO`; an address is `name+offset` (decimal), `name` being a function:
 * those beginning with `u_` lie in user space. The kind's short names: call ret jmp cond ijmp icall sys sysret
 * int exc iret.
 */
const shortKinds: Readonly<Record<string, BranchKind>> = {
  ret: "return",
  jmp: "jump",
  cond: "conditional",
  ijmp: "indirect-jump",
  icall: "indirect-call",
  sys: "syscall",
  sysret: "sysreturn",
  int: "interrupt",
  exc: "exception",
};
const functionBytes = 0x1000n;

/** Functions by name, placed in the order they are first named. */
export class DrawnFunctions implements FunctionNames {
  private readonly names: string[] = [];

  address(text: string): bigint {
    const [name, offset = "0"] = text.split("+") as [string, string?];
    let index = this.names.indexOf(name);
    if (index < 0) index = this.names.push(name) - 1;
    const space = name.startsWith("u_") ? 0x40_0000n : 0xffff_ffff_8100_0000n;
    return space + BigInt(index) * functionBytes + BigInt(offset);
  }

  nameOf(address: bigint) {
    const offset = Number(address % functionBytes);
    const start = address - BigInt(offset);
    const index = Number((address & 0x3f_ffffn) / functionBytes) % 0x400;
    const name = this.names[index];
    if (name === undefined || this.address(name) !== start) return undefined;
    return { name, offset, start };
  }

  write(address: bigint): string {
    const located = this.nameOf(address);
    if (!located) return `0x${address.toString(16)}`;
    return located.offset === 0 ? located.name : `${located.name}+${located.offset}`;
  }
}

/** Records of a drawn trace; brctr counts from 0. */
export function drawnBatch(text: string, functions: DrawnFunctions): BranchBatch {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const batch = new BranchBatch(Math.max(1, lines.length));
  for (const [index, line] of lines.entries()) {
    const [from, kind, to] = line.split(/\s+/) as [string, string, string];
    const known = shortKinds[kind] ?? (kind as BranchKind);
    if (!branchKinds.includes(known)) throw new Error(`no kind of branch: ${line}`);
    batch.push({
      from: functions.address(from),
      to: functions.address(to),
      kind: known,
      icount: index,
      brctr: index,
    });
  }
  return batch;
}

/** The call tree of a drawn trace, without the brctr column, dedented to be compared with a drawing. */
export function drawnCalls(
  text: string,
  options: { readonly names?: boolean; readonly mostFrames?: number } = {},
): string {
  const functions = new DrawnFunctions();
  const batch = drawnBatch(text, functions);
  const lines: string[] = [];
  const { mostFrames } = options;
  const tracker = new CallTracker(
    (event) => lines.push(formatCall(event, (address) => functions.write(address)).slice(13)),
    options.names === false ? undefined : functions,
    mostFrames === undefined ? {} : { mostFrames },
  );
  tracker.feed(batch);
  return lines.join("\n");
}

/** A drawing without the indentation it has in the source. */
export function drawing(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const margin = Math.min(...lines.map((line) => line.length - line.trimStart().length));
  return lines.map((line) => line.slice(margin)).join("\n");
}
