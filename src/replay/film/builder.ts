import { VmtapeError } from "../../base/errors.js";
import {
  filmAccessFlags,
  filmDoubts,
  filmEntries,
  filmInstantFlags,
  filmPointerWord,
  filmShortWords,
} from "../../formats/film-stream.js";
import type { Shot } from "../session/counted-session.js";
import { bytesColumn, longColumn, shortColumn, wordColumn } from "./column.js";
import { Film } from "./film.js";
import { type FilmColumns, type FilmDoubt, filmFlags } from "./model.js";

/** Makes a {@link Film} of what the plugin sends between two ends. */
export class FilmBuilder {
  private readonly from: Shot;
  private readonly columns: FilmColumns;
  /** The instant told last, as differences from the first. */
  private icount = 0;
  private brctr = 0;
  private delivered: number;
  /** Deliveries since the last instant. */
  private pending = 0;
  private readonly doubts: FilmDoubt[] = [];

  constructor(from: Shot) {
    this.from = from;
    this.delivered = Number(from.delivered);
    this.columns = {
      icounts: wordColumn(),
      brctrs: wordColumn(),
      pcs: longColumn(),
      codes: wordColumn(),
      code: [],
      flags: bytesColumn(),
      delivered: shortColumn(),
      reps: new Map(),
      words: Array.from({ length: Math.ceil(from.registers.length / 8) }, () => ({
        at: wordColumn(),
        values: longColumn(),
      })),
      firstAccess: wordColumn(),
      addresses: longColumn(),
      physical: longColumn(),
      lengths: shortColumn(),
      accessFlags: bytesColumn(),
      firstByte: wordColumn(),
      bytes: bytesColumn(),
    };
    this.begin(from.position.pc, 0, from.position.rep);
    this.setAll(0, from.registers);
  }

  /**
   * Takes a piece of the stream: whole entries.
   *
   * @throws `protocol-error` when it is none
   */
  add(piece: Uint8Array): void {
    const bytes = piece.byteOffset % 8 === 0 ? piece : piece.slice();
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    const longs = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 3);
    for (let at = 0; at < longs.length; ) {
      const low = words[2 * at]!;
      const high = words[2 * at + 1]!;
      switch (high >>> 28) {
        case filmEntries.instant:
          at = this.instant(longs, at, low, high & 0xffff);
          break;
        case filmEntries.access:
          at = this.access(longs, at, low, bytes);
          break;
        case filmEntries.delivery:
          this.delivery();
          at += 3;
          break;
        case filmEntries.unsure:
          this.doubts.push({
            index: this.columns.pcs.length - 1,
            why: filmDoubts[low] ?? "device",
            address: longs[at + 1]!,
          });
          at += 2;
          break;
        case filmEntries.code:
          this.code(longs[at]!, longs[at + 1]!, bytes, at);
          at += 4;
          break;
        default:
          throw broken();
      }
    }
  }

  /** @throws `inexact` when the last instant does not lead to `to` */
  end(to: Shot): Film {
    const { position } = to;
    const last = this.columns.pcs.length - 1;
    const ahead = Number(position.icount - this.from.position.icount);
    const isLast = ahead === this.icount && position.pc === this.columns.pcs.at(last);
    if (!isLast) {
      if (ahead !== this.icount && ahead !== this.icount + 1) throw inexact(position.icount);
      this.advance(ahead);
      this.brctr = Number(position.brctr - this.from.position.brctr);
      this.begin(position.pc, 0, position.rep);
      this.setAll(last + 1, to.registers);
    }
    this.columns.firstAccess.push(this.columns.addresses.length);
    return new Film(this.from.position, this.columns, this.doubts);
  }

  private instant(longs: BigUint64Array, start: number, flags: number, values: number): number {
    const { columns } = this;
    let at = start + 2;
    const { position } = this.from;
    let ahead = this.icount + 1;
    const code = Number(longs[start + 1]!);
    const pc = flags & filmInstantFlags.pc ? longs[at++]! : columns.code[code - 1]?.address;
    if (pc === undefined) throw broken();
    if (flags & filmInstantFlags.icount) ahead = Number(longs[at++]! - position.icount);
    if (flags & filmInstantFlags.brctr) {
      const branches = longs[at++]!;
      this.brctr = Number(branches - position.brctr);
    }
    const rep = flags & filmInstantFlags.rep ? longs[at++]! : 0n;
    let index = columns.pcs.length - 1;
    if (ahead === this.icount && pc === columns.pcs.at(index)) {
      this.again(index);
    } else {
      if (ahead !== this.icount && ahead !== this.icount + 1) throw inexact(position.icount + BigInt(ahead));
      this.advance(ahead);
      const inferred = flags & filmInstantFlags.inferred ? filmFlags.inferred : 0;
      const vague = flags & filmInstantFlags.vague ? filmFlags.vague : 0;
      this.begin(pc, inferred | vague, rep);
      index++;
    }
    columns.codes.set(index, code);
    if (flags & filmInstantFlags.many) {
      at = this.named(longs, at + 2, longs[at]!, longs[at + 1]!, index);
    } else {
      for (let left = flags & ((1 << filmShortWords) - 1); left !== 0; left &= left - 1) {
        this.setWord(31 - Math.clz32(left & -left), index, longs[at++]!);
      }
    }
    if (at > longs.length || at - start > values + 9) throw broken();
    return at;
  }

  /** Sets the words that two masks name. */
  private named(longs: BigUint64Array, start: number, low: bigint, high: bigint, index: number): number {
    let at = start;
    for (let i = 0; i < this.columns.words.length; i++) {
      const mask = i < 64 ? low : high;
      if ((mask >> BigInt(i & 63)) & 1n) this.setWord(i, index, longs[at++]!);
    }
    return at;
  }

  private begin(pc: bigint, flags: number, rep: bigint): void {
    const { columns } = this;
    const index = columns.pcs.length;
    columns.icounts.push(this.icount);
    columns.brctrs.push(this.brctr);
    columns.pcs.push(pc);
    columns.codes.push(0);
    columns.flags.push(flags);
    columns.delivered.push(this.delivered);
    columns.firstAccess.push(columns.addresses.length);
    if (rep > 0n) columns.reps.set(index, rep);
  }

  /** QEMU abandoned an instruction that it had begun, and begins it anew. */
  private again(index: number): void {
    const { columns } = this;
    const first = columns.firstAccess.at(index);
    columns.bytes.length =
      first < columns.firstByte.length ? columns.firstByte.at(first) : columns.bytes.length;
    for (const column of [
      columns.addresses,
      columns.physical,
      columns.lengths,
      columns.accessFlags,
    ] as const) {
      column.length = Math.min(column.length, first);
    }
    columns.firstByte.length = Math.min(columns.firstByte.length, first);
    columns.brctrs.set(index, this.brctr);
  }

  private setAll(index: number, registers: Uint8Array): void {
    const view = new DataView(registers.buffer, registers.byteOffset, registers.byteLength);
    for (let i = 0; i < this.columns.words.length; i++) {
      const left = registers.length - 8 * i;
      const value = left >= 8 ? view.getBigUint64(8 * i, true) : BigInt(view.getUint32(8 * i, true));
      if (i !== filmPointerWord || value !== this.columns.pcs.at(index)) this.setWord(i, index, value);
    }
  }

  private setWord(word: number, index: number, value: bigint): void {
    const column = this.columns.words[word];
    if (!column) throw broken();
    const last = column.at.length - 1;
    if (last >= 0 && column.at.at(last) === index) {
      column.values.set(last, value);
    } else if (last < 0 || word === filmPointerWord || column.values.at(last) !== value) {
      column.at.push(index);
      column.values.push(value);
    }
  }

  private code(head: bigint, address: bigint, bytes: Uint8Array, at: number): void {
    const { code } = this.columns;
    const size = Number(head & 0xffn);
    const width = Number((head >> 8n) & 0xffn);
    if (Number((head >> 16n) & 0xffffffn) !== code.length + 1 || size > 15) throw broken();
    const start = 8 * (at + 2);
    code.push({
      address,
      bytes: bytes.slice(start, start + size),
      width: width === 16 || width === 32 ? width : 64,
    });
  }

  /** To the next instant. Of a trap, whose instruction has run, the delivery counts at the next icount, as the plugin counts it. */
  private advance(ahead: number): void {
    this.delivered = this.pending + (ahead === this.icount ? this.delivered : 0);
    this.pending = 0;
    this.icount = ahead;
  }

  private delivery(): void {
    this.pending++;
    const { flags } = this.columns;
    flags.set(flags.length - 1, flags.at(flags.length - 1) | filmFlags.delivery);
  }

  private access(longs: BigUint64Array, start: number, head: number, bytes: Uint8Array): number {
    const { columns } = this;
    const length = head & 0xffff;
    columns.addresses.push(longs[start + 1]!);
    columns.physical.push(longs[start + 2]!);
    columns.lengths.push(length);
    columns.accessFlags.push(head >>> 16);
    columns.firstByte.push(columns.bytes.length);
    const holds = (head & filmAccessFlags.write) !== 0 && (head & filmAccessFlags.device) === 0;
    if (!holds) return start + 3;
    const from = 8 * (start + 3);
    if (from + length > bytes.length) throw broken();
    columns.bytes.extend(length).set(bytes.subarray(from, from + length));
    return start + 3 + ((length + 7) >>> 3);
  }
}

const broken = () => new VmtapeError("protocol-error", "the branch plugin sent something that is no film");

function inexact(at: bigint): VmtapeError {
  return new VmtapeError("inexact", `a film does not follow the machine at icount ${at}`, { icount: at });
}
