/**
 * Lengths of x86-64 instructions, and what they do to the stack pointer: as much as is needed to follow a function to
 * its return. Source: Intel SDM, volume 2, chapter 2 and appendix A.
 */

/** What an instruction does to the flow and the stack. */
export const effect = {
  /** Nothing of interest. */
  none: 0,
  /** rsp moves by `amount`. */
  moveSp: 1,
  /** rsp = rbp + `amount`. */
  spFromBp: 2,
  /** `register` (DWARF number) is popped. */
  pop: 3,
  /** rsp = rbp, then rbp is popped. */
  leave: 4,
  return: 5,
  /** To `amount` bytes from the next instruction; perhaps. */
  branch: 6,
  jump: 7,
  /** Where to is not known, or it never goes on. */
  lost: 8,
  /** rsp becomes something not known. */
  loseSp: 9,
} as const;

/** One decoded instruction; an object used again. */
export interface Instruction {
  length: number;
  effect: number;
  amount: number;
  register: number;
}

const longest = 15;
const hasModrm = 1;
const immediate8 = 2;
const immediate32 = 4;
const immediate16 = 8;
/** imm32, or imm16 with an operand-size prefix, or imm64 with REX.W (only mov). */
const immediateV = 16;
const invalid = 32;
/** A whole address: 8 bytes, 4 with an address-size prefix. */
const wholeAddress = 64;

/** One-byte opcodes: which have a ModRM byte and an immediate. */
const oneByte = new Uint8Array(256);
for (let row = 0; row < 0x40; row += 8) {
  for (let i = 0; i < 4; i++) oneByte[row + i] = hasModrm;
  oneByte[row + 4] = immediate8;
  oneByte[row + 5] = immediate32;
  oneByte[row + 6] = invalid;
  oneByte[row + 7] = invalid;
}
fill(oneByte, 0x60, 0x62, invalid);
oneByte[0x63] = hasModrm;
oneByte[0x68] = immediate32;
oneByte[0x69] = hasModrm | immediate32;
oneByte[0x6a] = immediate8;
oneByte[0x6b] = hasModrm | immediate8;
fill(oneByte, 0x70, 0x80, immediate8);
oneByte[0x80] = oneByte[0x83] = hasModrm | immediate8;
oneByte[0x81] = hasModrm | immediate32;
oneByte[0x82] = invalid;
fill(oneByte, 0x84, 0x90, hasModrm);
oneByte[0x9a] = invalid;
fill(oneByte, 0xa0, 0xa4, wholeAddress);
oneByte[0xa8] = immediate8;
oneByte[0xa9] = immediate32;
fill(oneByte, 0xb0, 0xb8, immediate8);
fill(oneByte, 0xb8, 0xc0, immediateV);
oneByte[0xc0] = oneByte[0xc1] = hasModrm | immediate8;
oneByte[0xc2] = immediate16;
oneByte[0xc6] = hasModrm | immediate8;
oneByte[0xc7] = hasModrm | immediate32;
oneByte[0xc8] = invalid;
oneByte[0xca] = immediate16;
oneByte[0xcd] = immediate8;
oneByte[0xce] = invalid;
fill(oneByte, 0xd0, 0xd4, hasModrm);
fill(oneByte, 0xd4, 0xd7, invalid);
fill(oneByte, 0xd8, 0xe0, hasModrm);
fill(oneByte, 0xe0, 0xe8, immediate8);
oneByte[0xe8] = oneByte[0xe9] = immediate32;
oneByte[0xea] = invalid;
oneByte[0xeb] = immediate8;
oneByte[0xf6] = oneByte[0xf7] = hasModrm;
oneByte[0xfe] = oneByte[0xff] = hasModrm;

/** Two-byte opcodes, behind 0f. */
const twoByte = new Uint8Array(256).fill(hasModrm);
for (const opcode of [0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa]) {
  twoByte[opcode] = 0;
}
fill(twoByte, 0x30, 0x38, 0);
fill(twoByte, 0x80, 0x90, immediate32);
fill(twoByte, 0xc8, 0xd0, 0);
for (const opcode of [0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6]) {
  twoByte[opcode] = hasModrm | immediate8;
}
twoByte[0x0f] = invalid;
twoByte[0x04] = twoByte[0x0a] = twoByte[0x0c] = invalid;

function fill(table: Uint8Array, from: number, to: number, value: number): void {
  table.fill(value, from, to);
}

/** DWARF numbers in the order of instruction encodings: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … */
const dwarfOfEncoding = Uint8Array.of(0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15);
const rsp = 4;
const rbp = 5;

/**
 * Decodes the instruction at `at`.
 *
 * @param byteAt a byte by its distance from `at`, -1 when it cannot be read
 * @returns false when it is none, or a byte cannot be read
 */
export function decodeInstruction(byteAt: (offset: number) => number, into: Instruction): boolean {
  into.effect = effect.none;
  into.amount = 0;
  into.register = -1;
  let at = 0;
  let rex = 0;
  let wide = true; // operands of more than 16 bits
  let isShort = false; // addresses of 32 bits
  let opcode = byteAt(at++);
  for (; at < longest; opcode = byteAt(at++)) {
    if (opcode === 0x66) wide = false;
    else if (opcode === 0x67) isShort = true;
    else if (!isPrefix(opcode)) break;
  }
  if (opcode >= 0x40 && opcode < 0x50) {
    rex = opcode;
    opcode = byteAt(at++);
  }
  if (opcode < 0) return false;
  if (opcode === 0xc4 || opcode === 0xc5 || opcode === 0x62) return decodeVector(opcode, at, byteAt, into);
  let kind: number;
  let map = 0;
  if (opcode === 0x0f) {
    opcode = byteAt(at++);
    if (opcode < 0) return false;
    map = 1;
    if (opcode === 0x38 || opcode === 0x3a) {
      kind = opcode === 0x38 ? hasModrm : hasModrm | immediate8;
      if (byteAt(at++) < 0) return false;
      map = 2;
    } else {
      kind = twoByte[opcode]!;
    }
  } else {
    kind = oneByte[opcode]!;
  }
  if (kind === invalid) return false;
  const modrmAt = at;
  let modrm = -1;
  if (kind & hasModrm) {
    modrm = byteAt(at);
    const size = modrm < 0 ? -1 : modrmSize(modrm, byteAt(at + 1));
    if (size < 0) return false;
    at += size;
    if (map === 0 && (opcode & 0xfe) === 0xf6 && ((modrm >> 3) & 6) === 0) {
      kind |= opcode === 0xf6 ? immediate8 : immediate32;
    }
  }
  const immediateAt = at;
  if (kind & immediate8) at += 1;
  else if (kind & immediate16) at += 2;
  else if (kind & immediate32) at += wide || isNearBranch(map, opcode) ? 4 : 2;
  else if (kind & wholeAddress) at += isShort ? 4 : 8;
  else if (kind & immediateV) at += rex & 8 ? 8 : wide ? 4 : 2;
  if (at > longest || byteAt(at - 1) < 0) return false;
  into.length = at;
  if (map === 0) tellEffect(opcode, rex, modrm, modrmAt, immediateAt, wide, byteAt, into);
  else if (map === 1) tellTwoByteEffect(opcode, immediateAt, byteAt, into);
  return true;
}

function isPrefix(byte: number): boolean {
  return (
    byte === 0xf2 ||
    byte === 0xf3 ||
    byte === 0xf0 ||
    byte === 0x2e ||
    byte === 0x3e ||
    byte === 0x64 ||
    byte === 0x65 ||
    byte === 0x26 ||
    byte === 0x36
  );
}

function isNearBranch(map: number, opcode: number): boolean {
  return map === 0 ? opcode === 0xe8 || opcode === 0xe9 : opcode >= 0x80 && opcode < 0x90;
}

/** VEX and EVEX: the opcode map decides about the immediate, and all but vzeroupper have a ModRM byte. */
function decodeVector(
  prefix: number,
  from: number,
  byteAt: (offset: number) => number,
  into: Instruction,
): boolean {
  const payload = { 197: 1, 196: 2, 98: 3 }[prefix]!;
  const map = prefix === 0xc5 ? 1 : byteAt(from) & (prefix === 0x62 ? 7 : 31);
  let at = from + payload;
  const opcode = byteAt(at++);
  if (opcode < 0) return false;
  if (!(map === 1 && opcode === 0x77)) {
    const modrm = byteAt(at);
    const size = modrm < 0 ? -1 : modrmSize(modrm, byteAt(at + 1));
    if (size < 0) return false;
    at += size;
    if (map === 3 || (map === 1 && (twoByte[opcode]! & immediate8) !== 0)) at += 1;
  }
  if (at > longest || byteAt(at - 1) < 0) return false;
  into.length = at;
  return true;
}

/** Bytes of ModRM, SIB and displacement; -1 when the SIB byte is needed and cannot be read. */
function modrmSize(modrm: number, sib: number): number {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  if (mod === 3) return 1;
  let size = 1;
  let base = rm;
  if (rm === 4) {
    if (sib < 0) return -1;
    size++;
    base = sib & 7;
  }
  if (mod === 1) return size + 1;
  if (mod === 2) return size + 4;
  return base === 5 ? size + 4 : size;
}

function tellEffect(
  opcode: number,
  rex: number,
  modrm: number,
  modrmAt: number,
  immediateAt: number,
  wide: boolean,
  byteAt: (offset: number) => number,
  into: Instruction,
): void {
  const word = wide ? 8 : 2;
  const move = (amount: number) => {
    into.effect = effect.moveSp;
    into.amount = amount;
  };
  if (opcode >= 0x50 && opcode < 0x58) {
    move(-word);
    return;
  }
  if (opcode >= 0x58 && opcode < 0x60) {
    into.effect = effect.pop;
    into.amount = word;
    into.register = dwarfOfEncoding[(opcode & 7) | ((rex & 1) << 3)]!;
    if (into.register === 7) into.effect = effect.loseSp;
    return;
  }
  if (opcode >= 0x70 && opcode < 0x80) {
    branchTo(effect.branch, signed8(byteAt(immediateAt)), into);
    return;
  }
  const field = (modrm >> 3) & 7;
  const reg = field | ((rex & 4) << 1);
  const rm = (modrm & 7) | ((rex & 1) << 3);
  const toRegister = modrm >> 6 === 3;
  switch (opcode) {
    case 0x68:
    case 0x6a:
    case 0x9c:
      move(-word);
      return;
    case 0x9d:
      move(word);
      return;
    case 0x8f:
      move(word);
      return;
    case 0x81:
    case 0x83:
      if (toRegister && rm === rsp) {
        const amount = opcode === 0x83 ? signed8(byteAt(immediateAt)) : signed32(immediateAt, byteAt);
        if (field === 0) {
          move(amount);
          return;
        }
        if (field === 5) {
          move(-amount);
          return;
        }
        if (field !== 7) into.effect = effect.loseSp;
      }
      return;
    case 0x01:
    case 0x21:
    case 0x29:
      if (toRegister && rm === rsp) into.effect = effect.loseSp;
      return;
    case 0x89:
    case 0x8b: {
      const [to, from] = opcode === 0x89 ? [rm, reg] : [reg, rm];
      if (opcode === 0x89 && !toRegister) return;
      if (to !== rsp) return;
      if (toRegister && from === rbp) into.effect = effect.spFromBp;
      else into.effect = effect.loseSp;
      return;
    }
    case 0x8d:
      if (reg === rsp) tellLea(modrm, rex, modrmAt, byteAt, into);
      return;
    case 0xc2:
    case 0xc3:
      into.effect = effect.return;
      return;
    case 0xc9:
      into.effect = effect.leave;
      return;
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xcf:
    case 0xf4:
      into.effect = effect.lost;
      return;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
      branchTo(effect.branch, signed8(byteAt(immediateAt)), into);
      return;
    case 0xe9:
      branchTo(effect.jump, signed32(immediateAt, byteAt), into);
      return;
    case 0xeb:
      branchTo(effect.jump, signed8(byteAt(immediateAt)), into);
      return;
    case 0xff:
      if (field === 6) {
        move(-word);
        return;
      }
      if (field === 4 || field === 5) into.effect = effect.lost;
      return;
  }
}

function tellTwoByteEffect(
  opcode: number,
  immediateAt: number,
  byteAt: (offset: number) => number,
  into: Instruction,
): void {
  if (opcode >= 0x80 && opcode < 0x90) branchTo(effect.branch, signed32(immediateAt, byteAt), into);
  else if (opcode === 0x0b || opcode === 0x07)
    into.effect = effect.lost; // ud2, sysret
  else if (opcode === 0xa0 || opcode === 0xa8) {
    into.effect = effect.moveSp;
    into.amount = -8;
  } else if (opcode === 0xa1 || opcode === 0xa9) {
    into.effect = effect.moveSp;
    into.amount = 8;
  }
}

/** `lea disp(%rsp), %rsp` and `lea disp(%rbp), %rsp`; any other makes the stack pointer something not known. */
function tellLea(
  modrm: number,
  rex: number,
  modrmAt: number,
  byteAt: (offset: number) => number,
  into: Instruction,
): void {
  const mod = modrm >> 6;
  const sib = byteAt(modrmAt + 1);
  const isSp = (modrm & 7) === 4 && (sib & 0x3f) === 0x24 && (rex & 3) === 0;
  const isBp = (modrm & 7) === 5 && (rex & 1) === 0 && mod !== 0;
  into.effect = isSp ? effect.moveSp : isBp ? effect.spFromBp : effect.loseSp;
  const at = modrmAt + (isSp ? 2 : 1);
  into.amount = mod === 1 ? signed8(byteAt(at)) : mod === 2 ? signed32(at, byteAt) : 0;
}

function branchTo(kind: number, amount: number, into: Instruction): void {
  into.effect = kind;
  into.amount = amount;
}

function signed8(byte: number): number {
  return (byte << 24) >> 24;
}

function signed32(at: number, byteAt: (offset: number) => number): number {
  return byteAt(at) | (byteAt(at + 1) << 8) | (byteAt(at + 2) << 16) | (byteAt(at + 3) << 24);
}
