import { LinuxGuest } from "../../src/linux/guest/linux-guest.js";
import type { KernelSymbols } from "../../src/symbols/kernel/symbols.js";
import { keyOf } from "../../src/symbols/tables/address.js";
import { NameList } from "../../src/symbols/tables/name-list.js";
import { Types } from "../../src/symbols/types/set.js";
import {
  ArrayType,
  type IntType,
  type Member,
  PointerType,
  StructType,
  type Type,
  voidType,
} from "../../src/symbols/types/type.js";

const int = (size: number, signed = false): IntType => ({
  kind: "int",
  name: `u${size * 8}`,
  size,
  signed,
  style: "number",
});
export const u8 = int(1);
export const u32 = int(4);
export const i32 = int(4, true);
export const u64 = int(8);
export const pointer = new PointerType(8, () => voidType);
export const array = (count: number, element: Type) => new ArrayType(count, () => element);
export const char: IntType = { ...u8, name: "char", style: "char" };

const pageBytes = 4096n;

/**
 * A guest made by a test: some structures, some symbols, and memory, which is mapped where something was written.
 * Kernel and user space are the same.
 */
export class ModelGuest {
  readonly structs = new Map<string, StructType>();
  readonly symbols = new Map<string, bigint>();
  private readonly pages = new Map<bigint, Uint8Array>();

  struct(name: string, members: Readonly<Record<string, readonly [offset: number, type: Type]>>): StructType {
    const list: Member[] = Object.entries(members).map(([member, [byteOffset, type]]) => ({
      name: member,
      byteOffset,
      type,
    }));
    const size = Math.max(0, ...Object.values(members).map(([offset, type]) => offset + roomOf(type)));
    const type = new StructType("struct", name, size, () => list);
    this.structs.set(name, type);
    return type;
  }

  put(address: bigint, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const at = address + BigInt(i);
      this.page(at)[Number(at % pageBytes)] = byte;
    });
  }

  word(address: bigint, value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
    this.put(address, bytes);
  }

  text(address: bigint, text: string): void {
    this.put(address, Buffer.from(`${text}\0`));
  }

  /** A structure's members: words, or numbers of 4 bytes. */
  fill(name: string, address: bigint, values: Readonly<Record<string, bigint | number>>): void {
    const type = this.structs.get(name)!;
    this.put(address, new Uint8Array(type.size));
    for (const [path, value] of Object.entries(values)) {
      const at = address + BigInt(type.member(path).byteOffset);
      if (typeof value === "bigint") this.word(at, value);
      else this.put(at, new Uint8Array(Int32Array.of(value).buffer));
    }
  }

  read(address: bigint, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const at = BigInt.asUintN(64, address + BigInt(i));
      const page = this.pages.get(at / pageBytes);
      if (!page) return undefined;
      bytes[i] = page[Number(at % pageBytes)]!;
    }
    return bytes;
  }

  guest(release = "6.1.0"): LinuxGuest {
    const names = [...this.symbols.keys()];
    const starts = Float64Array.from(this.symbols.values(), (address) => keyOf(address));
    const table = {
      names: NameList.from(names),
      starts,
      kinds: new Uint8Array(names.length),
    };
    const read = async (address: bigint, length: number) => this.read(address, length);
    const translate = async (address: bigint) => ({ physical: address, left: 1, entry: 1n });
    return LinuxGuest.over(
      { physical: { size: 0, read }, register: () => undefined },
      {
        symbols: { table, release } as unknown as KernelSymbols,
        types: new Types({
          name: "model",
          find: (kind, name) => (kind === "struct" ? this.structs.get(name) : undefined),
          findFunction: () => undefined,
          findVariable: () => undefined,
          findEnumerator: () => undefined,
        }),
      },
      { slide: 0n, physicalOffset: 0n },
      { levels: 4, read, translate },
    );
  }

  private page(address: bigint): Uint8Array {
    const number = address / pageBytes;
    let page = this.pages.get(number);
    if (!page) {
      page = new Uint8Array(Number(pageBytes));
      this.pages.set(number, page);
    }
    return page;
  }
}

function roomOf(type: Type): number {
  if (type.kind === "array") return (type.count ?? 0) * roomOf(type.element);
  return "size" in type ? type.size : 0;
}

/** All values of an iterator. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
