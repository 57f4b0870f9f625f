import { BranchBatch, type BranchKind } from "../../src/formats/branch.js";
import { randomNumbers } from "../formats/branch-walk.js";
import { DrawnFunctions } from "./call-trace-text.js";

/** What really happened at a record: the task, and its depth after it (before it, for records that begin a level). */
export interface Truth {
  readonly task: number;
  readonly depth: number;
}

interface Frame {
  readonly type: "call" | "enter";
  readonly back: bigint;
}

/**
 * A trace of a machine whose tasks are known. They call, return, jump to other functions, are interrupted, fault, and
 * switch to each other in `schedule`, by `__switch_to_asm`. Each task has functions of its own beside the shared
 * ones, so that a return out of `schedule` tells which task it belongs to.
 */
export function taskTrace(
  seed: number,
  steps: number,
): {
  readonly batch: BranchBatch;
  readonly functions: DrawnFunctions;
  readonly truth: ReadonlyMap<number, Truth>;
} {
  const random = randomNumbers(seed);
  const functions = new DrawnFunctions();
  const batch = new BranchBatch(steps * 6 + 100);
  const truth = new Map<number, Truth>();
  const stacks: Frame[][] = [[]];
  const places: bigint[] = [functions.address("init+8")];
  let task = 0;
  let brctr = 0;
  let hurry = false;
  const put = (from: bigint, kind: BranchKind, to: bigint, depth?: number) => {
    if (depth !== undefined) truth.set(brctr, { task, depth });
    batch.push({ from, to, kind, brctr, icount: brctr });
    brctr++;
  };
  const call = (site: bigint, target: bigint) => {
    put(site, random(2) ? "call" : "indirect-call", target, stacks[task]!.length);
    stacks[task]!.push({ type: "call", back: site + 5n });
    places[task] = target + 4n;
  };
  const giveUp = () => {
    const own = functions.address(`task${task}_${random(3)}+${40 + 20 * random(5)}`);
    call(own, functions.address("schedule"));
    call(functions.address("schedule+30"), functions.address("__switch_to_asm"));
    put(
      functions.address("__switch_to_asm+40"),
      "jump",
      functions.address("__switch_to"),
      stacks[task]!.length - 1,
    );
    stacks[task]!.pop();
    const isNew = stacks.length < 5 && random(3) === 0;
    const others = stacks.map((_, index) => index).filter((index) => index !== task);
    if (isNew || others.length === 0) {
      task = stacks.push([]) - 1;
      put(functions.address("__switch_to+90"), "return", functions.address("ret_from_fork"), 0);
      places[task] = functions.address("ret_from_fork+4");
      return;
    }
    task = others[random(others.length)]!;
    put(functions.address("__switch_to+90"), "return", functions.address("schedule+35"));
    places[task] = functions.address("schedule+50");
    // As in a kernel, a task mostly leaves `schedule` before it does anything else, but not always.
    hurry = random(12) > 0;
  };
  for (let step = 0; step < steps; step++) {
    const stack = stacks[task]!;
    const here = places[task]! + BigInt(4 * random(3));
    const choice = hurry ? 7 : random(20);
    hurry = false;
    if (choice < 7 && stack.length < 30) {
      const target = random(3) ? `task${task}_${random(3)}` : `shared${random(4)}`;
      call(here + BigInt(20 * random(8)), functions.address(target));
    } else if (choice < 14 && stack.length > 0) {
      const frame = stack.pop()!;
      put(here, frame.type === "call" ? "return" : "iret", frame.back, stack.length);
      places[task] = frame.back;
    } else if (choice === 14 && stack.at(-1)?.type === "call") {
      const target = functions.address(`tail${task}`);
      if (functions.nameOf(here)?.start === target) continue;
      put(here, "jump", target, stack.length - 1);
      places[task] = target + 4n;
    } else if (choice === 15) {
      put(here, "conditional", functions.nameOf(here)!.start + 8n);
      places[task] = functions.nameOf(here)!.start + 8n;
    } else if (choice < 18) {
      put(here, random(2) ? "interrupt" : "exception", functions.address("handler"), stack.length);
      stack.push({ type: "enter", back: here });
      places[task] = functions.address("handler+4");
    } else if (stack.length < 30) {
      giveUp();
    }
  }
  return { batch, functions, truth };
}
