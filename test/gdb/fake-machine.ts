import { type GuestAddress, guestAddress, physicalAddress } from "../../src/base/units.js";
import type { Access } from "../../src/replay/session/timeline-types.js";

/**
 * An instant of a tiny machine that was run once and is kept as a list of instants. It runs this loop, and is
 * interrupted now and then:
 *
 *     1000 loop:    inc rax
 *     1004          mov [8000], rax
 *     1008          call 2000        2000 callee: mov rbx, [8000]
 *                                    2004         ret
 *     100c          jmp loop
 *     3000 handler: nop
 *     3004          iret
 */
export interface FakeInstant {
  readonly icount: number;
  readonly brctr: number;
  readonly pc: number;
  readonly rax: bigint;
  readonly rbx: bigint;
  readonly rsp: bigint;
  /** The address space; default: 0. */
  readonly cr3?: bigint;
  /** Memory from {@link dataBase} on. */
  readonly data: Buffer;
  /** Memory from {@link stackBase} on. */
  readonly stack: Buffer;
  /** What the instruction before it touched. */
  readonly accesses: readonly Access[];
}

export const place = {
  loop: 0x1000,
  store: 0x1004,
  call: 0x1008,
  jump: 0x100c,
  callee: 0x2000,
  ret: 0x2004,
  handler: 0x3000,
  iret: 0x3004,
} as const;
export const dataBase = 0x8000;
export const dataBytes = 64;
export const stackBase = 0x9000;
const stackBytes = 256;
const initialRsp = BigInt(stackBase + stackBytes);

/**
 * Runs the machine for so many instructions, with an interrupt at each icount that is a multiple of `interruptEvery`.
 */
export function runFakeMachine(instructions: number, interruptEvery = 7): FakeInstant[] {
  let state: FakeInstant = {
    icount: 0,
    brctr: 0,
    pc: place.loop,
    rax: 0n,
    rbx: 0n,
    rsp: initialRsp,
    data: Buffer.alloc(dataBytes),
    stack: Buffer.alloc(stackBytes),
    accesses: [],
  };
  const instants = [state];
  let inHandler = false;
  while (state.icount < instructions) {
    const due = state.icount > 0 && state.icount % interruptEvery === 0;
    if (due && !inHandler) {
      inHandler = true;
      state = deliver(state);
    } else {
      if (state.pc === place.iret) inHandler = false;
      state = execute(state);
    }
    instants.push(state);
  }
  return instants;
}

function execute(now: FakeInstant): FakeInstant {
  const next = { ...now, icount: now.icount + 1, accesses: [] };
  const jumped = { ...next, brctr: now.brctr + 1 };
  switch (now.pc) {
    case place.loop:
      return { ...next, pc: place.store, rax: now.rax + 1n };
    case place.store: {
      const data = Buffer.from(now.data);
      data.writeBigUInt64LE(now.rax);
      return { ...next, pc: place.call, data, accesses: [access(dataBase, 8, true, now.pc)] };
    }
    case place.call:
      return push({ ...jumped, pc: place.callee }, [BigInt(place.jump)], now.pc);
    case place.callee:
      return {
        ...next,
        pc: place.ret,
        rbx: now.data.readBigUInt64LE(),
        accesses: [access(dataBase, 8, false, now.pc)],
      };
    case place.ret:
      return { ...jumped, pc: place.jump, rsp: now.rsp + 8n };
    case place.jump:
      return { ...jumped, pc: place.loop };
    case place.handler:
      return { ...next, pc: place.iret };
    case place.iret:
      return { ...jumped, pc: Number(now.stack.readBigUInt64LE(offset(now.rsp))), rsp: now.rsp + 16n };
    default:
      throw new Error(`no instruction at ${now.pc}`);
  }
}

function deliver(now: FakeInstant): FakeInstant {
  const next = { ...now, brctr: now.brctr + 1, pc: place.handler, accesses: [] };
  return push(next, [now.rsp, BigInt(now.pc)], now.pc);
}

function push(state: FakeInstant, values: readonly bigint[], pc: number): FakeInstant {
  const stack = Buffer.from(state.stack);
  let { rsp } = state;
  const accesses: Access[] = [];
  for (const value of values) {
    rsp -= 8n;
    stack.writeBigUInt64LE(value, offset(rsp));
    accesses.push(access(Number(rsp), 8, true, pc));
  }
  return { ...state, rsp, stack, accesses };
}

function offset(rsp: bigint): number {
  return Number(rsp) - stackBase;
}

function access(address: number, length: number, write: boolean, pc: number): Access {
  return {
    address: guestAddress(address) as GuestAddress,
    physical: physicalAddress(address),
    length,
    write,
    pc: guestAddress(pc),
  };
}

/**
 * Two processes after a fork, which in turn write to their own copies of the same address: A 0 → 1, B 0 → 1, B 1 → 1,
 * A 1 → 0, B 1 → 0.
 */
export function runForkedProcesses(): FakeInstant[] {
  const writes: readonly (readonly [process: "A" | "B", value: number])[] = [
    ["A", 1],
    ["B", 1],
    ["B", 1],
    ["A", 0],
    ["B", 0],
  ];
  const values = { A: 0, B: 0 };
  const spaces = { A: 0x1000n, B: 0x2000n };
  const instants: FakeInstant[] = [];
  const stand = (process: "A" | "B", pc: number, accesses: readonly Access[]) => {
    const data = Buffer.alloc(dataBytes);
    data.writeBigUInt64LE(BigInt(values[process]));
    const registers = { rax: 0n, rbx: 0n, rsp: initialRsp, cr3: spaces[process] };
    const stack = Buffer.alloc(stackBytes);
    instants.push({ icount: instants.length, brctr: 0, pc, ...registers, data, stack, accesses });
  };
  for (const [process, value] of writes) {
    stand(process, place.loop, []);
    stand(process, place.store, []);
    values[process] = value;
    stand(process, place.call, [access(dataBase, 8, true, place.store)]);
  }
  stand("B", place.jump, []);
  return instants;
}
