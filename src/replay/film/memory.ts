import { eachTable, eachTableBelow } from "../../base/x86-paging.js";
import { PagedMemory } from "../../qemu/machine-memory.js";
import { pagingState } from "../../qemu/x86-paging.js";
import type { Film } from "./film.js";
import type { FilmAccess } from "./model.js";

/** Thrown when a film does not know what memory contains. The caller then reads the machine itself. */
export class UnsureError extends Error {
  override readonly name = "UnsureError";
}

/** Physical memory at a film's first instant. */
export type FirstMemory = (address: bigint, length: number) => Promise<Uint8Array | undefined>;

const pageBytes = 4096;
/** So many pages of the first instant are kept. */
const mostPages = 1024;
/** Pages of screen and firmware: what is read there may differ from what was written. */
const shadowed = { from: 0xa0, to: 0x100 } as const;

/**
 * Memory at the instants of a film: its contents at the first one, with the writes since. It does not answer where
 * its contents are not certain:
 *
 * - in page tables, in which the processor sets bits (accessed, dirty) without an instruction that writes them;
 * - anywhere, from the first instant on at which a device may have written ({@link Film.doubts}, and events of the
 *   log).
 *
 * Everything else that changes memory is an instruction or a delivery, which the film has.
 */
export class FilmMemory {
  private readonly film: Film;
  private readonly first: FirstMemory;
  private readonly unsureFrom: number;
  private readonly writes = new Map<number, FilmAccess[]>();
  private readonly pages = new Map<number, Promise<Uint8Array | undefined>>();
  private tables: Promise<ReadonlyMap<number, number>> | undefined;

  /**
   * @param first reads memory at the film's first instant; it must work as long as this object is used
   * @param unsureFrom the index of the first instant at which a device may have changed memory
   */
  constructor(film: Film, first: FirstMemory, unsureFrom: number) {
    this.film = film;
    this.first = first;
    let sure = Math.min(unsureFrom, film.doubts[0] ? film.doubts[0].index + 1 : Number.POSITIVE_INFINITY);
    for (const access of film.allAccesses()) {
      if (!access.write) continue;
      if (!access.bytes || access.physical === undefined) {
        if (!access.device) sure = Math.min(sure, access.index + 1);
        continue;
      }
      const page = Number(access.physical / BigInt(pageBytes));
      const known = this.writes.get(page);
      if (known) known.push(access);
      else this.writes.set(page, [access]);
    }
    this.unsureFrom = sure;
  }

  /** Is anything known of memory at this instant? */
  isSure(index: number): boolean {
    return index < this.unsureFrom;
  }

  /**
   * Memory at an instant. All its methods reject with {@link UnsureError} where the film does not know the contents.
   */
  at(index: number): PagedMemory {
    return new MemoryAt(
      (address, length) => this.read(address, length, index),
      (address, length) => this.readTable(address, length, index),
    );
  }

  private async read(address: bigint, length: number, index: number): Promise<Uint8Array | undefined> {
    if (!this.isSure(index)) throw new UnsureError();
    const tables = await this.tablePages();
    const last = Number((address + BigInt(Math.max(length, 1)) - 1n) / BigInt(pageBytes));
    for (let page = Number(address / BigInt(pageBytes)); page <= last; page++) {
      if (tables.has(page)) throw new UnsureError();
    }
    return this.plain(address, length, index);
  }

  private async readTable(address: bigint, length: number, index: number): Promise<Uint8Array | undefined> {
    if (!this.isSure(index)) throw new UnsureError();
    return this.plain(address, length, index);
  }

  /** Memory at the film's first instant, as a copy: as many bytes as there are. Pages are read once. */
  private async atStart(address: bigint, length: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const at = Number(address) + done;
      const page = await this.pageAtStart(Math.floor(at / pageBytes));
      const piece = page?.subarray(at % pageBytes, (at % pageBytes) + length - done);
      if (!piece || piece.length === 0) break;
      bytes.set(piece, done);
      done += piece.length;
    }
    return done === 0 && length > 0 ? undefined : bytes.subarray(0, done);
  }

  private pageAtStart(page: number): Promise<Uint8Array | undefined> {
    let read = this.pages.get(page);
    if (!read) {
      if (this.pages.size >= mostPages) this.pages.clear();
      read = this.first(BigInt(page) * BigInt(pageBytes), pageBytes);
      read.catch(() => this.pages.delete(page)); // whoever asked is told
      this.pages.set(page, read);
    }
    return read;
  }

  /** The contents after the writes of instructions, also for page tables. */
  private async plain(address: bigint, length: number, index: number): Promise<Uint8Array | undefined> {
    const bytes = await this.atStart(address, length);
    if (!bytes) return undefined;
    const first = Number(address);
    const last = Math.floor((first + bytes.length - 1) / pageBytes);
    for (let page = Math.floor(first / pageBytes); page <= last; page++) {
      const writes = this.writes.get(page);
      if (!writes) continue;
      if (page >= shadowed.from && page < shadowed.to) throw new UnsureError();
      for (const write of writes) {
        if (write.index >= index) break;
        overlay(bytes, first, write);
      }
    }
    return bytes;
  }

  /** All pages that contain page tables at any instant of the film, with the number of levels below each. */
  private tablePages(): Promise<ReadonlyMap<number, number>> {
    this.tables ??= this.findTables();
    return this.tables;
  }

  private async findTables(): Promise<Map<number, number>> {
    const { film } = this;
    const found = new Map<number, number>();
    const visit = (table: bigint, below: number) => {
      const page = Number(table / BigInt(pageBytes));
      if (found.has(page)) return false;
      found.set(page, below);
      return true;
    };
    const reader = (index: number) => (table: bigint, bytes: number) => this.plain(table, bytes, index);
    const roots = [0, ...film.changesOf("cr3")].filter((index) => this.isSure(index));
    let state = pagingState(film.registers(0));
    const root = async (index: number) => {
      state = pagingState(film.registers(index));
      await eachTable(state, reader(index), visit);
    };
    for (const access of film.allAccesses()) {
      if (!this.isSure(access.index)) break;
      while (roots[0] !== undefined && roots[0] <= access.index) await root(roots.shift()!);
      if (!access.write || access.physical === undefined || !access.bytes) continue;
      const below = found.get(Number(access.physical / BigInt(pageBytes)));
      if (below === undefined || below === 0) continue;
      // The write changed an entry of a table, or a part of one.
      const size = state.mode === "32-bit" ? 4 : 8;
      const from = access.physical - (access.physical % BigInt(size));
      const written = await this.plain(from, access.length + size, access.index + 1);
      for (let at = 0; written && at + size <= written.length; at += size) {
        const view = new DataView(written.buffer, written.byteOffset + at, size);
        const entry = size === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
        await eachTableBelow(state, entry, below, reader(access.index + 1), visit);
      }
    }
    for (const index of roots) await root(index);
    return found;
  }
}

class MemoryAt extends PagedMemory {
  readonly readPhysical: FirstMemory;
  protected override readonly readTable: FirstMemory;

  constructor(readPhysical: FirstMemory, readTable: FirstMemory) {
    super();
    this.readPhysical = readPhysical;
    this.readTable = readTable;
  }
}

/** Applies a write to bytes that begin at a physical address. */
function overlay(bytes: Uint8Array, first: number, { physical, bytes: written }: FilmAccess): void {
  const at = Number(physical!) - first;
  const from = Math.max(0, -at);
  const to = Math.min(written!.length, bytes.length - at);
  if (from < to) bytes.set(written!.subarray(from, to), at + from);
}
