import type { FakeInstant } from "./fake-machine.js";

/** Evaluates an agent expression, with the opcodes that these tests need. GDB manual, "Bytecode Descriptions". */
export function evaluate(code: Uint8Array, now: FakeInstant): boolean {
  const view = Buffer.from(code);
  const stack: bigint[] = [];
  const pop = () => stack.pop() ?? 0n;
  for (let i = 0; i < code.length; ) {
    const operation = view[i++]!;
    switch (operation) {
      case 0x02:
        stack.push(BigInt.asUintN(64, pop() + pop()));
        break;
      case 0x0e:
        stack.push(pop() === 0n ? 1n : 0n);
        break;
      case 0x0f:
        stack.push(pop() & pop());
        break;
      case 0x13: {
        const second = pop();
        stack.push(pop() === second ? 1n : 0n);
        break;
      }
      case 0x16: // sign extension; values here are small, so it changes nothing
        i++;
        break;
      case 0x1a: {
        const offset = Number(pop()) - 0x8000;
        stack.push(now.data.readBigUInt64LE(offset));
        break;
      }
      case 0x22:
        stack.push(BigInt(view[i]!));
        i += 1;
        break;
      case 0x23:
        stack.push(BigInt(view.readUInt16BE(i)));
        i += 2;
        break;
      case 0x24:
        stack.push(BigInt(view.readUInt32BE(i)));
        i += 4;
        break;
      case 0x25:
        stack.push(view.readBigUInt64BE(i));
        i += 8;
        break;
      case 0x26:
        stack.push(registerOf(view.readUInt16BE(i), now));
        i += 2;
        break;
      case 0x27:
        return pop() !== 0n;
      default:
        throw new Error(`operation ${operation} is not known here`);
    }
  }
  return true;
}

function registerOf(number: number, now: FakeInstant): bigint {
  const known: Record<number, bigint> = { 0: now.rax, 1: now.rbx, 7: now.rsp, 16: BigInt(now.pc) };
  return known[number] ?? 0n;
}
