import { BranchBatch, type BranchKind } from "../../src/formats/branch.js";
import { randomNumbers } from "../formats/branch-walk.js";

const kernelBase = 0xffff_ffff_8100_0000n;
const functionBytes = 0x1000n;

/** A switch of tasks, from this record on. */
export interface MadeSwitch {
  readonly record: number;
  readonly task: number;
}

/** A run of which all call paths are known. */
export interface MadeRun {
  readonly batch: BranchBatch;
  readonly switches: readonly MadeSwitch[];
  /** Instructions by path: `task|caller/callee`, with `task!` before those of interrupts. */
  readonly self: ReadonlyMap<string, number>;
  readonly calls: ReadonlyMap<string, number>;
  /** Executions of each function's first instruction. */
  readonly entries: ReadonlyMap<string, number>;
  readonly end: number;
}

interface Frame {
  readonly type: "base" | "call" | "interrupt" | "exception" | "syscall";
  /** The address to which it returns. */
  readonly back: bigint;
  path: string;
  fn: number;
  /** The address of the next instruction. */
  at: bigint;
}

export function madeName(fn: number): string {
  return `f${fn}`;
}

/** Names of the made functions; the first half lie in the kernel, the others in user space. */
export function madeFunctionOf(address: bigint) {
  const index = Number((address & 0xff_ffffn) / functionBytes);
  return { name: madeName(index), offset: Number(address % functionBytes) };
}

function startOf(fn: number): bigint {
  return kernelBase + BigInt(fn) * functionBytes;
}

/**
 * Tasks that call, return, jump in place of a call, are interrupted and fault (nested, too), leave many functions at once
 * (longjmp), call through retpolines, and give way to each other at any record.
 */
export function madeRun(seed: number, steps: number, tasks = 3, functions = 9): MadeRun {
  const random = randomNumbers(seed * 2654435761 + 1);
  const batch = new BranchBatch(3 * steps + 10);
  const self = new Map<string, number>();
  const calls = new Map<string, number>();
  const entries = new Map<string, number>();
  const switches: MadeSwitch[] = [{ record: 0, task: 0 }];
  const add = (map: Map<string, number>, key: string, value: number) =>
    map.set(key, (map.get(key) ?? 0) + value);
  const stacks = Array.from({ length: tasks }, (_, task): Frame[] => {
    const fn = task % functions;
    return [{ type: "base", back: 0n, path: `${task}|/${madeName(fn)}`, fn, at: startOf(fn) + 8n }];
  });
  let task = 0;
  let icount = 0;
  const top = () => stacks[task]!.at(-1)!;
  /** Executes instructions in the top function, then makes a record. */
  const transfer = (kind: BranchKind, to: bigint, executed = 1 + random(6)) => {
    const frame = top();
    icount += executed;
    frame.at += BigInt(executed);
    add(self, frame.path, executed);
    batch.push({ from: frame.at, to, kind, icount });
  };
  const room = (frame: Frame) => frame.at % functionBytes < 3000n;
  const enter = (type: Frame["type"], back: bigint, path: string, fn: number) => {
    add(calls, path, 1);
    add(entries, madeName(fn), 1);
    stacks[task]!.push({ type, back, path, fn, at: startOf(fn) });
  };
  for (let step = 0; step < steps; step++) {
    const stack = stacks[task]!;
    const frame = top();
    const fn = random(functions);
    const inner = `${frame.path}/${madeName(fn)}`;
    let choice = random(20);
    if (!room(frame)) choice = frame.type === "base" ? 19 : 6;
    if (stack.length > 40) choice = 6;
    if (choice < 5) {
      transfer("call", startOf(fn));
      frame.at += 5n;
      enter("call", frame.at, inner, fn);
    } else if (choice < 11) {
      if (frame.type === "base") continue;
      const kind = frame.type === "call" ? "return" : frame.type === "syscall" ? "sysreturn" : "iret";
      transfer(kind, frame.back);
      stack.pop();
    } else if (choice === 11) {
      // A jump to another function in place of a call.
      if (frame.type === "base" || fn === frame.fn) continue;
      transfer("jump", startOf(fn));
      frame.path = `${frame.path.slice(0, frame.path.lastIndexOf("/"))}/${madeName(fn)}`;
      frame.fn = fn;
      frame.at = startOf(fn);
      add(calls, frame.path, 1);
      add(entries, madeName(fn), 1);
    } else if (choice === 12) {
      const executed = random(5);
      transfer("interrupt", startOf(fn), executed);
      if (executed === 0 && frame.at === startOf(frame.fn)) add(entries, madeName(frame.fn), -1);
      // The interrupted code goes on at the same address. When that is a function's first instruction, it counts as
      // executed again.
      const back = frame.at;
      enter("interrupt", back, `${task}!/${madeName(fn)}`, fn);
    } else if (choice === 13) {
      transfer("exception", startOf(fn), 1 + random(4));
      enter("exception", frame.at, inner, fn);
    } else if (choice === 14) {
      const level = stack.length - 1;
      let target = level;
      while (target > 0 && stack[target]!.type === "call" && level - target < 3) target--;
      if (target >= level || stack[target + 1]!.type !== "call") continue;
      const { back } = stack[target + 1]!;
      const isNear = (one: Frame) => one.back - back < 20n && back - one.back < 20n;
      // Real instructions do not overlap, so no two calls may be so near.
      if (stack.some((one, level) => level !== target + 1 && isNear(one))) continue;
      transfer("return", back);
      stack.length = target + 1;
    } else if (choice === 15) {
      // A retpoline: a call to a few bytes ahead, whose return goes to the start of another function.
      if (frame.type === "base" || fn === frame.fn) continue;
      transfer("call", frame.at + 20n, 1);
      batch.to[batch.length - 1] = frame.at + 7n;
      frame.at += 7n;
      transfer("return", startOf(fn), 2);
      frame.path = `${frame.path.slice(0, frame.path.lastIndexOf("/"))}/${madeName(fn)}`;
      frame.fn = fn;
      frame.at = startOf(fn);
      add(calls, frame.path, 1);
      add(entries, madeName(fn), 1);
    } else if (choice < 18) {
      transfer("conditional", startOf(frame.fn) + 16n);
      frame.at = startOf(frame.fn) + 16n;
    } else if (choice === 18) {
      transfer("jump", startOf(frame.fn));
      frame.at = startOf(frame.fn);
      add(entries, madeName(frame.fn), 1);
    } else {
      if (!room(frame)) {
        transfer("jump", startOf(frame.fn) + 16n);
        frame.at = startOf(frame.fn) + 16n;
      }
      task = random(tasks);
      switches.push({ record: batch.length, task });
    }
    // An interrupt's return to a first instruction is an arrival at it, too.
    const last = batch.length - 1;
    if (choice >= 5 && choice < 11 && last >= 0 && batch.to[last]! % functionBytes === 0n) {
      add(entries, madeFunctionOf(batch.to[last]!).name, 1);
    }
  }
  return { batch, switches, self, calls, entries, end: icount };
}
