import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";

/** DW_OP_* that have a meaning without a debugger's context. Source: DWARF 5, sections 2.5 and 7.7.1. */
const op = {
  addr: 0x03,
  deref: 0x06,
  const1u: 0x08,
  const1s: 0x09,
  const2u: 0x0a,
  const2s: 0x0b,
  const4u: 0x0c,
  const4s: 0x0d,
  const8u: 0x0e,
  const8s: 0x0f,
  constu: 0x10,
  consts: 0x11,
  dup: 0x12,
  drop: 0x13,
  over: 0x14,
  pick: 0x15,
  swap: 0x16,
  rot: 0x17,
  abs: 0x19,
  and: 0x1a,
  div: 0x1b,
  minus: 0x1c,
  mod: 0x1d,
  mul: 0x1e,
  neg: 0x1f,
  not: 0x20,
  or: 0x21,
  plus: 0x22,
  plusUconst: 0x23,
  shl: 0x24,
  shr: 0x25,
  shra: 0x26,
  xor: 0x27,
  bra: 0x28,
  eq: 0x29,
  ge: 0x2a,
  gt: 0x2b,
  le: 0x2c,
  lt: 0x2d,
  ne: 0x2e,
  skip: 0x2f,
  lit0: 0x30,
  reg0: 0x50,
  breg0: 0x70,
  regx: 0x90,
  fbreg: 0x91,
  bregx: 0x92,
  derefSize: 0x94,
  nop: 0x96,
  callFrameCfa: 0x9c,
  stackValue: 0x9f,
} as const;

const registersWithOpcode = 32;
/** Operations executed, and values on the stack, at most. */
const mostOperations = 10_000;
const deepestStack = 256;

/** What an expression may ask for. Each gives undefined when it is not known or not mapped. */
export interface ExpressionContext {
  register(number: number): bigint | undefined;
  /** `size` bytes (1 to 8), little-endian, as an unsigned number. */
  memory(address: bigint, size: number): bigint | undefined;
  /** DW_OP_fbreg's base. */
  readonly frameBase?: bigint | undefined;
  /** DW_OP_call_frame_cfa. */
  readonly cfa?: bigint | undefined;
  /** What was added to addresses of the file. */
  readonly loadBias?: bigint | undefined;
}

/**
 * The value a DWARF expression leaves on top of its stack: an address, or what DW_OP_stack_value makes of it. Bounded:
 * an expression that loops is an error.
 *
 * @param initial on the stack at the start (the CFA for rules of registers)
 * @returns undefined when it needs a register that is not known or memory that is not mapped
 * @throws VmtapeError `bad-file` when it is damaged, `unsupported` for an operation that has no meaning here,
 *   `limit-exceeded` when it is too long a computation
 */
export function evaluateExpression(
  bytes: Uint8Array,
  context: ExpressionContext,
  initial?: bigint,
): bigint | undefined {
  const stack: bigint[] = initial === undefined ? [] : [initial];
  const reader = new Operands(bytes);
  for (let operations = 0; reader.at < bytes.length; operations++) {
    if (operations === mostOperations) {
      throw new VmtapeError("limit-exceeded", `a DWARF expression of more than ${mostOperations} steps`, {
        limit: mostOperations,
      });
    }
    const code = reader.u8();
    const value = operate(code, reader, stack, context);
    if (value === false) return undefined;
    if (value !== undefined) push(stack, value);
  }
  return pop(stack);
}

/** Executes one operation; gives what it pushes, undefined when nothing, false when something is not known. */
function operate(
  code: number,
  reader: Operands,
  stack: bigint[],
  context: ExpressionContext,
): bigint | undefined | false {
  if (code >= op.lit0 && code < op.reg0) return BigInt(code - op.lit0);
  if (code >= op.breg0 && code < op.breg0 + registersWithOpcode) {
    return based(context.register(code - op.breg0), reader.sleb());
  }
  switch (code) {
    case op.addr:
      return reader.u64() + (context.loadBias ?? 0n);
    case op.const1u:
      return reader.unsigned(1);
    case op.const1s:
      return reader.signed(1);
    case op.const2u:
      return reader.unsigned(2);
    case op.const2s:
      return reader.signed(2);
    case op.const4u:
      return reader.unsigned(4);
    case op.const4s:
      return reader.signed(4);
    case op.const8u:
    case op.const8s:
      return reader.u64();
    case op.constu:
      return reader.uleb();
    case op.consts:
      return reader.sleb();
    case op.bregx: {
      const register = Number(reader.uleb() & 0xffffn);
      return based(context.register(register), reader.sleb());
    }
    case op.fbreg:
      return based(context.frameBase, reader.sleb());
    case op.callFrameCfa:
      return context.cfa ?? false;
    case op.deref:
      return context.memory(pop(stack), 8) ?? false;
    case op.derefSize: {
      const size = reader.u8();
      if (size < 1 || size > 8) throw damaged(`a read of ${size} bytes`);
      return context.memory(pop(stack), size) ?? false;
    }
    case op.plusUconst:
      return pop(stack) + reader.uleb();
    case op.nop:
    case op.stackValue:
      return undefined;
    case op.skip:
      reader.skip(Number(reader.signed(2)));
      return undefined;
    case op.bra: {
      const offset = Number(reader.signed(2));
      if (pop(stack) !== 0n) reader.skip(offset);
      return undefined;
    }
    case op.drop:
      pop(stack);
      return undefined;
    case op.dup:
      return peek(stack, 0);
    case op.over:
      return peek(stack, 1);
    case op.pick:
      return peek(stack, reader.u8());
    case op.swap:
      move(stack, 1);
      return undefined;
    case op.rot:
      // The top goes below the next two.
      stack.splice(Math.max(0, stack.length - 3), 0, pop(stack));
      return undefined;
    case op.abs: {
      const value = asSigned(pop(stack));
      return value < 0n ? -value : value;
    }
    case op.neg:
      return -pop(stack);
    case op.not:
      return ~pop(stack);
    default: {
      const binary = binaryOperations.get(code);
      if (!binary) {
        throw new VmtapeError("unsupported", `DWARF operation ${hex(code)} has no meaning in unwinding`, {
          operation: code,
        });
      }
      const right = pop(stack);
      return binary(pop(stack), right);
    }
  }
}

const binaryOperations: ReadonlyMap<number, (left: bigint, right: bigint) => bigint> = new Map<
  number,
  (left: bigint, right: bigint) => bigint
>([
  [op.and, (a, b) => a & b],
  [op.or, (a, b) => a | b],
  [op.xor, (a, b) => a ^ b],
  [op.plus, (a, b) => a + b],
  [op.minus, (a, b) => a - b],
  [op.mul, (a, b) => a * b],
  [op.div, (a, b) => asSigned(a) / divisor(asSigned(b))],
  [op.mod, (a, b) => a % divisor(b)],
  [op.shl, (a, b) => (b > 63n ? 0n : a << b)],
  [op.shr, (a, b) => (b > 63n ? 0n : a >> b)],
  [op.shra, (a, b) => asSigned(a) >> (b > 63n ? 63n : b)],
  [op.eq, (a, b) => truth(a === b)],
  [op.ne, (a, b) => truth(a !== b)],
  [op.ge, (a, b) => truth(asSigned(a) >= asSigned(b))],
  [op.gt, (a, b) => truth(asSigned(a) > asSigned(b))],
  [op.le, (a, b) => truth(asSigned(a) <= asSigned(b))],
  [op.lt, (a, b) => truth(asSigned(a) < asSigned(b))],
]);

const asSigned = (value: bigint) => BigInt.asIntN(64, value);
const truth = (is: boolean) => (is ? 1n : 0n);

function divisor(value: bigint): bigint {
  if (value === 0n) throw damaged("a division by zero");
  return value;
}

function based(base: bigint | undefined, offset: bigint): bigint | false {
  return base === undefined ? false : base + offset;
}

function push(stack: bigint[], value: bigint): void {
  if (stack.length >= deepestStack) {
    throw new VmtapeError("limit-exceeded", `a DWARF expression with more than ${deepestStack} values`, {
      limit: deepestStack,
    });
  }
  stack.push(BigInt.asUintN(64, value));
}

function pop(stack: bigint[]): bigint {
  const value = stack.pop();
  if (value === undefined) throw damaged("more values taken than put");
  return value;
}

function peek(stack: readonly bigint[], depth: number): bigint {
  const value = stack[stack.length - 1 - depth];
  if (value === undefined) throw damaged(`a value ${depth} below the top`);
  return value;
}

/** Takes the value `depth` below the top out and puts it on top. */
function move(stack: bigint[], depth: number): void {
  const value = peek(stack, depth);
  stack.splice(stack.length - 1 - depth, 1);
  stack.push(value);
}

function damaged(what: string): VmtapeError {
  return new VmtapeError("bad-file", `a damaged DWARF expression: ${what}`, {});
}

/** The operands after an operation; whatever leaves the expression throws. */
class Operands {
  at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }

  unsigned(size: 1 | 2 | 4): bigint {
    const at = this.take(size);
    if (size === 1) return BigInt(this.view.getUint8(at));
    return BigInt(size === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true));
  }

  signed(size: 1 | 2 | 4): bigint {
    return BigInt.asIntN(size * 8, this.unsigned(size));
  }

  uleb(): bigint {
    return this.leb(false);
  }

  sleb(): bigint {
    return this.leb(true);
  }

  skip(offset: number): void {
    const to = this.at + offset;
    if (to < 0 || to > this.bytes.length) throw damaged(`a jump to byte ${to} of ${this.bytes.length}`);
    this.at = to;
  }

  private leb(signed: boolean): bigint {
    let value = 0n;
    let shift = 0n;
    for (;;) {
      const byte = this.u8();
      if (shift < 64n) value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte & 0x80) continue;
      return signed && byte & 0x40 && shift < 64n ? value - (1n << shift) : value;
    }
  }

  private take(length: number): number {
    if (this.at + length > this.bytes.length) throw damaged(`it ends at byte ${this.bytes.length}`);
    const at = this.at;
    this.at += length;
    return at;
  }
}
