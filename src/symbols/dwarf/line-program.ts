import { littleEndian, viewOf } from "../elf/elf.js";
import { skip, skipOf, type UnitShape } from "./abbrev.js";
import type { CodeMap } from "./code.js";
import { type LineColumns, statementBit } from "./columns.js";
import { addressAt } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { extendedLineOpcode, form, lineContent, lineOpcode, textHome } from "./layout.js";
import { LineFiles, lineHome } from "./line-files.js";
import type { TextCollector } from "./texts.js";
import type { Unit } from "./unit.js";

const largestColumn = 0x7fff;
const largestLine = 0xffffffff;
/** No header lists more directories and files, or describes them with more fields. */
const mostFiles = 1 << 20;
const mostFields = 32;

/** A line header: how its program is coded. Offsets are in `.debug_line`. */
interface LineHeader {
  readonly files: LineFiles;
  readonly program: number;
  readonly end: number;
  readonly addressSize: number;
  readonly minimumLength: number;
  readonly operationsPerInstruction: number;
  readonly isStatement: boolean;
  readonly lineBase: number;
  readonly lineRange: number;
  /** Number of operands of each standard opcode; the first special opcode is as many and one. */
  readonly operands: Uint8Array;
}

/**
 * Reads line tables (DWARF 2 to 5, chapter 6.2) into columns. Of rows at one address that differ in nothing or in what
 * no breakpoint may stand at, the last is kept.
 *
 * Cost: about 12 M rows a second.
 */
export class LineReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private position = 0;
  private limit = 0;
  /** Programs may overlap in a hostile file: so many bytes of them are read, and then no more. */
  private bytesLeft: number;
  private readonly read = new Set<number>();
  private readonly headers = new Map<number, LineHeader>();

  constructor(
    private readonly file: DwarfFile,
    private readonly texts: TextCollector,
    private readonly code: CodeMap,
    private readonly lines: LineColumns,
  ) {
    this.bytes = file.section(".debug_line");
    this.view = viewOf(this.bytes);
    this.bytesLeft = this.bytes.length * 2 + 1024;
  }

  /** Reads the rows that a unit names, unless another unit has named them before; gives back its files. */
  collect(unit: Unit): LineFiles | undefined {
    const offset = unit.lines;
    if (!(offset >= 0 && offset < this.bytes.length)) return undefined;
    let header = this.headers.get(offset);
    if (!header) {
      header = this.readHeader(unit, offset);
      if (!header) return undefined;
      // Type and partial units share the header of the unit before them.
      if (this.headers.size >= 8) this.headers.delete(this.headers.keys().next().value!);
      this.headers.set(offset, header);
    }
    if (!this.read.has(offset)) {
      this.read.add(offset);
      this.bytesLeft -= header.end - header.program;
      if (this.bytesLeft < 0)
        this.file.note(`${this.file.name} names the same lines too many times: it is damaged`);
      else this.run(header);
    }
    return header.files;
  }

  private readHeader(unit: Unit, start: number): LineHeader | undefined {
    this.position = start;
    this.limit = this.bytes.length;
    let offsetSize = 4;
    let length = this.number(4);
    if (length === 0xffffffff) {
      length = this.number(8);
      offsetSize = 8;
    }
    const end = this.position + length;
    if (!(end <= this.bytes.length)) return this.damaged(start);
    this.limit = end;
    const version = this.number(2);
    if (version < 2 || version > 5) {
      this.file.note(`${this.file.name} has a line table of version ${version}, which is not read`);
      return undefined;
    }
    let { addressSize } = unit;
    if (version >= 5) {
      addressSize = this.number(1);
      this.position++;
    }
    const headerLength = this.number(offsetSize);
    const program = this.position + headerLength;
    const minimumLength = this.number(1);
    const operationsPerInstruction = version >= 4 ? this.number(1) : 1;
    const isStatement = this.number(1) !== 0;
    const lineBase = (this.number(1) << 24) >> 24;
    const lineRange = this.number(1);
    const opcodeBase = this.number(1);
    const operands = this.bytes.subarray(this.position, this.position + Math.max(0, opcodeBase - 1));
    this.position += operands.length;
    if (!(program <= end) || lineRange === 0 || (addressSize !== 4 && addressSize !== 8))
      return this.damaged(start);
    const files = new LineFiles(this.file, this.texts, version < 5, unit.directory);
    this.limit = program;
    if (version >= 5) this.readTables(files, { version, addressSize, offsetSize });
    else this.readOldTables(files);
    return {
      files,
      program,
      end,
      addressSize,
      minimumLength,
      operationsPerInstruction: Math.max(1, operationsPerInstruction),
      isStatement,
      lineBase,
      lineRange,
      operands,
    };
  }

  private readOldTables(files: LineFiles): void {
    while (this.position < this.limit && this.bytes[this.position] !== 0) {
      files.addDirectory(this.position, lineHome);
      this.passString();
    }
    this.position++;
    while (this.position < this.limit && this.bytes[this.position] !== 0) this.readOldFile(files);
  }

  private readOldFile(files: LineFiles): void {
    const name = this.position;
    this.passString();
    const directory = this.unsigned();
    this.unsigned();
    this.unsigned();
    files.addFile(name, lineHome, directory);
  }

  private readTables(files: LineFiles, shape: UnitShape): void {
    for (const areFiles of [false, true]) {
      const fields = Math.min(this.number(1), mostFields);
      const contents: number[] = [];
      const forms: number[] = [];
      for (let i = 0; i < fields; i++) {
        contents.push(this.unsigned());
        forms.push(this.unsigned());
      }
      const count = Math.min(this.unsigned(), mostFiles);
      for (let i = 0; i < count && this.position < this.limit; i++) {
        let path = 0;
        let home: number = textHome.none;
        let directory = 0;
        for (let f = 0; f < fields; f++) {
          const code = forms[f]!;
          if (contents[f] === lineContent.path) {
            home = homeOf(code);
            path = code === form.string ? this.position : this.peek(shape.offsetSize);
          } else if (contents[f] === lineContent.directory) {
            directory = this.peekDirectory(code);
          }
          this.pass(code, shape);
        }
        if (areFiles) files.addFile(path, home, directory);
        else files.addDirectory(path, home);
      }
    }
  }

  private run(header: LineHeader): void {
    const { bytes, view, lines, code } = this;
    const { files, end, addressSize, minimumLength, lineBase, lineRange, operands } = header;
    const perInstruction = header.operationsPerInstruction;
    const opcodeBase = operands.length + 1;
    const constantAdvance = Math.floor((255 - opcodeBase) / lineRange);
    let first = lines.count;
    let address = 0;
    let operation = 0;
    let fileNumber = 1;
    let file = -1;
    let line = 1;
    let column = 0;
    let statement = header.isStatement ? statementBit : 0;
    this.position = header.program;
    this.limit = end;
    while (this.position < end) {
      const opcode = bytes[this.position++]!;
      let advance = 0;
      let isRow = false;
      if (opcode >= opcodeBase) {
        const adjusted = opcode - opcodeBase;
        advance = (adjusted / lineRange) | 0;
        line += lineBase + (adjusted - advance * lineRange);
        isRow = true;
      } else if (opcode === lineOpcode.extended) {
        const length = this.unsigned();
        const next = this.position + length;
        if (!(length >= 1 && next <= end)) break;
        const extended = bytes[this.position++]!;
        if (extended === extendedLineOpcode.endSequence) {
          lines.push(address, 0, 0, 0);
          this.close(first, code);
          first = lines.count;
          address = 0;
          operation = 0;
          fileNumber = 1;
          file = -1;
          line = 1;
          column = 0;
          statement = header.isStatement ? statementBit : 0;
        } else if (extended === extendedLineOpcode.setAddress) {
          const size = length - 1 === 4 || length - 1 === 8 ? length - 1 : addressSize;
          if (this.position + size <= end) address = addressAt(view, this.position, size);
          operation = 0;
        } else if (extended === extendedLineOpcode.defineFile) {
          this.readOldFile(files);
        }
        this.position = next;
      } else {
        switch (opcode) {
          case lineOpcode.copy:
            isRow = true;
            break;
          case lineOpcode.advancePc:
            advance = this.unsigned();
            break;
          case lineOpcode.advanceLine:
            line += this.signed();
            break;
          case lineOpcode.setFile:
            fileNumber = this.unsigned();
            file = -1;
            break;
          case lineOpcode.setColumn:
            column = Math.min(this.unsigned(), largestColumn);
            break;
          case lineOpcode.negateStatement:
            statement ^= statementBit;
            break;
          case lineOpcode.constAddPc:
            advance = constantAdvance;
            break;
          case lineOpcode.fixedAdvancePc:
            address += this.number(2);
            operation = 0;
            break;
          case lineOpcode.setBasicBlock:
          case lineOpcode.setPrologueEnd:
          case lineOpcode.setEpilogueBegin:
            break;
          default:
            for (let i = operands[opcode - 1]!; i > 0; i--) this.unsigned();
        }
      }
      if (advance !== 0) {
        if (perInstruction === 1) {
          address += advance * minimumLength;
        } else {
          address += minimumLength * Math.floor((operation + advance) / perInstruction);
          operation = (operation + advance) % perInstruction;
        }
      }
      if (!isRow) continue;
      if (file < 0) file = files.idOf(fileNumber);
      const at = lines.count - 1;
      if (at >= first) {
        const before = lines.starts[at]!;
        if (address < before) continue;
        const isSame = lines.files[at] === file && lines.lines[at] === line;
        if (isSame && lines.columns[at] === (column | statement)) continue;
        if (address === before && isSame) {
          // The place is that of the last; a breakpoint may stand there if it may at one of them.
          lines.columns[at] = column | (lines.columns[at]! & statementBit) | statement;
          continue;
        }
        if (address === before && !(lines.columns[at]! & statementBit)) lines.count--;
      }
      lines.push(address, file, line >= 0 && line <= largestLine ? line : 0, column | statement);
    }
    // Rows of a sequence that does not end are none.
    lines.count = first;
  }

  /** Keeps the sequence that begins at a row when it is of code that is there. */
  private close(first: number, code: CodeMap): void {
    const { lines } = this;
    const last = lines.count - 1;
    if (last > first && code.holds(lines.starts[first]!) && lines.starts[last]! > lines.starts[first]!) {
      lines.closeSequence(first);
    } else {
      lines.count = first;
    }
  }

  private peek(size: number): number {
    return this.position + size <= this.limit ? littleEndian(this.view, this.position, size) : 0;
  }

  private peekDirectory(code: number): number {
    const start = this.position;
    if (code === form.data1) return this.peek(1);
    if (code === form.data2) return this.peek(2);
    if (code === form.data4) return this.peek(4);
    const value = this.unsigned();
    this.position = start;
    return value;
  }

  private pass(code: number, shape: UnitShape): void {
    const step = skipOf(code, shape);
    if (step >= 0) this.position += step;
    else if (step === skip.leb) this.unsigned();
    else if (step === skip.string) this.passString();
    else if (step === skip.block) this.advance(this.unsigned());
    else if (step === skip.block1) this.advance(this.number(1));
    else this.position = this.limit;
    if (this.position > this.limit) this.position = this.limit;
  }

  private advance(length: number): void {
    this.position = length <= this.limit - this.position ? this.position + length : this.limit;
  }

  private passString(): void {
    const { bytes, limit } = this;
    while (this.position < limit && bytes[this.position++]! !== 0);
  }

  private number(size: number): number {
    const value = this.peek(size);
    this.position = Math.min(this.position + size, this.limit);
    return value;
  }

  private unsigned(): number {
    const { bytes, limit } = this;
    if (this.position < limit && bytes[this.position]! < 128) return bytes[this.position++]!;
    let result = 0;
    for (let scale = 1; this.position < limit; scale *= 128) {
      const byte = bytes[this.position++]!;
      if (scale <= 2 ** 63) result += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return result;
  }

  private signed(): number {
    let result = 0;
    for (let scale = 1; this.position < this.limit; scale *= 128) {
      const byte = this.bytes[this.position++]!;
      if (scale <= 2 ** 63) result += (byte & 127) * scale;
      if (byte < 128) return byte & 64 ? result - scale * 128 : result;
    }
    return result;
  }

  private damaged(offset: number): undefined {
    this.file.noteDamage(".debug_line", offset);
    return undefined;
  }
}

function homeOf(code: number): number {
  switch (code) {
    case form.string:
      return lineHome;
    case form.lineStrp:
      return textHome.lineStr;
    case form.strp:
      return textHome.str;
    default:
      return textHome.none;
  }
}
