import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { AddressKey } from "../tables/address.js";
import type { FrameDescription } from "./cfi.js";
import { cfaOpcode as opcode, ruleKind } from "./cfi-layout.js";
import type { CfiReader, PointerBases } from "./cfi-reader.js";
import { registerCount } from "./cfi-registers.js";

/** No function's instructions are longer; nor does one remember so many states. */
const mostInstructionBytes = 1 << 20;
const deepestRemember = 256;
const operandMask = 0x3f;

/** How to find the caller's registers at one address. */
export class CfiRow {
  /** The CFA is this register plus `cfaOffset`, unless there is an expression. -1: not said. */
  cfaRegister = -1;
  cfaOffset = 0;
  cfaExpression: Uint8Array | undefined;
  /** `ruleKind` of each register. */
  readonly kinds = new Uint8Array(registerCount);
  /** Offset from the CFA, or a register's number. */
  readonly values = new Float64Array(registerCount);
  /** Where a rule is an expression. */
  expressions: (Uint8Array | undefined)[] = [];
  returnColumn = 16;
  isSignal = false;
  /** First address key after the function. */
  end: AddressKey = Number.NaN;
  /** What the caller pushed for this call (DW_CFA_GNU_args_size). */
  argumentsSize = 0;

  copyRulesFrom(other: CfiRow): void {
    this.cfaRegister = other.cfaRegister;
    this.cfaOffset = other.cfaOffset;
    this.cfaExpression = other.cfaExpression;
    this.kinds.set(other.kinds);
    this.values.set(other.values);
    this.expressions = other.expressions.slice();
  }

  copyRuleFrom(other: CfiRow, register: number): void {
    this.kinds[register] = other.kinds[register]!;
    this.values[register] = other.values[register]!;
    this.expressions[register] = other.expressions[register];
  }

  setRule(register: number, kind: number, value: number, expression?: Uint8Array): void {
    if (register >= registerCount) return; // vector and flag registers are not followed
    this.kinds[register] = kind;
    this.values[register] = value;
    this.expressions[register] = expression;
  }
}

/**
 * Executes the instructions of a frame description up to an address. Cost: as many steps as there are instructions
 * before it, about 1 µs.
 *
 * @throws VmtapeError `bad-file` when they are cut or make no sense, `unsupported` for an instruction that is not
 *   known, `limit-exceeded`
 */
export function rowAt(description: FrameDescription, address: AddressKey, bases: PointerBases): CfiRow {
  const { common, start } = description;
  const row = new CfiRow();
  row.returnColumn = common.returnColumn;
  row.isSignal = common.isSignal;
  row.end = description.end;
  const machine = new RowMachine(row, description, bases);
  machine.run(common.instructions, start, Number.POSITIVE_INFINITY);
  machine.begin();
  machine.run(description.instructions, start, address);
  return row;
}

class RowMachine {
  private readonly row: CfiRow;
  private readonly codeAlignment: number;
  private readonly dataAlignment: number;
  private readonly encoding: number;
  private readonly bases: PointerBases;
  private readonly remembered: CfiRow[] = [];
  /** The rules the common information begins with. */
  private initial: CfiRow | undefined;

  constructor(row: CfiRow, { common }: FrameDescription, bases: PointerBases) {
    this.row = row;
    this.codeAlignment = common.codeAlignment;
    this.dataAlignment = common.dataAlignment;
    this.encoding = common.pointerEncoding;
    this.bases = bases;
  }

  begin(): void {
    this.initial = new CfiRow();
    this.initial.copyRulesFrom(this.row);
  }

  /** Executes until the location passes `address`. */
  run(instructions: CfiReader, start: AddressKey, address: AddressKey): void {
    const reader = instructions;
    const from = reader.at;
    if (reader.end - from > mostInstructionBytes) {
      throw new VmtapeError("limit-exceeded", `a frame description of ${reader.end - from} bytes`, {
        limit: mostInstructionBytes,
      });
    }
    let location = start;
    while (reader.at < reader.end) {
      const code = reader.u8();
      const advanced = this.advance(code, reader, location);
      if (advanced !== undefined) {
        if (advanced > address) break;
        location = advanced;
      } else {
        this.execute(code, reader);
      }
    }
    reader.at = from;
  }

  /** The new location, when the instruction moves it. */
  private advance(code: number, reader: CfiReader, location: AddressKey): AddressKey | undefined {
    if ((code & ~operandMask) === opcode.advanceLoc) {
      return location + (code & operandMask) * this.codeAlignment;
    }
    switch (code) {
      case opcode.advanceLoc1:
        return location + reader.u8() * this.codeAlignment;
      case opcode.advanceLoc2:
        return location + reader.u16() * this.codeAlignment;
      case opcode.advanceLoc4:
        return location + reader.u32() * this.codeAlignment;
      case opcode.mipsAdvanceLoc8:
        return location + reader.u64() * this.codeAlignment;
      case opcode.setLoc:
        return reader.pointer(this.encoding, this.bases);
      default:
        return undefined;
    }
  }

  private execute(code: number, reader: CfiReader): void {
    const { row } = this;
    const low = code & operandMask;
    switch (code & ~operandMask) {
      case opcode.offset:
        row.setRule(low, ruleKind.offset, reader.uleb() * this.dataAlignment);
        return;
      case opcode.restore:
        this.restore(low);
        return;
    }
    switch (code) {
      case opcode.nop:
      case opcode.gnuWindowSave:
        return;
      case opcode.undefined:
        row.setRule(reader.uleb(), ruleKind.undefined, 0);
        return;
      case opcode.sameValue:
        row.setRule(reader.uleb(), ruleKind.sameValue, 0);
        return;
      case opcode.offsetExtended:
        row.setRule(reader.uleb(), ruleKind.offset, reader.uleb() * this.dataAlignment);
        return;
      case opcode.offsetExtendedSf:
        row.setRule(reader.uleb(), ruleKind.offset, reader.sleb() * this.dataAlignment);
        return;
      case opcode.gnuNegativeOffsetExtended:
        row.setRule(reader.uleb(), ruleKind.offset, -reader.uleb() * this.dataAlignment);
        return;
      case opcode.valOffset:
        row.setRule(reader.uleb(), ruleKind.valOffset, reader.uleb() * this.dataAlignment);
        return;
      case opcode.valOffsetSf:
        row.setRule(reader.uleb(), ruleKind.valOffset, reader.sleb() * this.dataAlignment);
        return;
      case opcode.register:
        row.setRule(reader.uleb(), ruleKind.register, reader.uleb());
        return;
      case opcode.expression:
        row.setRule(reader.uleb(), ruleKind.expression, 0, reader.slice(reader.uleb()));
        return;
      case opcode.valExpression:
        row.setRule(reader.uleb(), ruleKind.valExpression, 0, reader.slice(reader.uleb()));
        return;
      case opcode.restoreExtended:
        this.restore(reader.uleb());
        return;
      case opcode.rememberState:
        this.remember();
        return;
      case opcode.restoreState:
        this.recall();
        return;
      case opcode.gnuArgsSize:
        row.argumentsSize = reader.uleb();
        return;
      default:
        this.defineCfa(code, reader);
    }
  }

  private defineCfa(code: number, reader: CfiReader): void {
    const { row } = this;
    switch (code) {
      case opcode.defCfa:
        row.cfaRegister = reader.uleb();
        row.cfaOffset = reader.uleb();
        break;
      case opcode.defCfaSf:
        row.cfaRegister = reader.uleb();
        row.cfaOffset = reader.sleb() * this.dataAlignment;
        break;
      case opcode.defCfaRegister:
        row.cfaRegister = reader.uleb();
        break;
      case opcode.defCfaOffset:
        row.cfaOffset = reader.uleb();
        return;
      case opcode.defCfaOffsetSf:
        row.cfaOffset = reader.sleb() * this.dataAlignment;
        return;
      case opcode.defCfaExpression:
        row.cfaExpression = reader.slice(reader.uleb());
        return;
      default:
        throw new VmtapeError("unsupported", `frame instruction ${hex(code)} is not known`, { opcode: code });
    }
    row.cfaExpression = undefined;
  }

  private restore(register: number): void {
    if (register >= registerCount) return;
    if (this.initial) this.row.copyRuleFrom(this.initial, register);
    else this.row.setRule(register, ruleKind.unspecified, 0);
  }

  private remember(): void {
    if (this.remembered.length >= deepestRemember) {
      throw new VmtapeError("limit-exceeded", `more than ${deepestRemember} frame states are remembered`, {
        limit: deepestRemember,
      });
    }
    const state = new CfiRow();
    state.copyRulesFrom(this.row);
    this.remembered.push(state);
  }

  private recall(): void {
    const state = this.remembered.pop();
    if (!state) throw new VmtapeError("bad-file", "a frame state is restored that none remembered", {});
    this.row.copyRulesFrom(state);
  }
}
