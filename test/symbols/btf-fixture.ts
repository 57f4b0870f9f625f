import { btfHeader, btfInfo, btfKind, btfMember } from "../../src/symbols/btf/layout.js";

/** Writes BTF as a compiler does: the encoder to the reader. Ids are given in the order of the calls. */
export class BtfBuilder {
  private readonly words: number[] = [];
  private text: string;
  private next: number;
  private readonly firstString: number;

  /** @param base what a module's types go on from: ids and strings already given */
  constructor(base: { readonly types: number; readonly strings: number } = { types: 0, strings: 0 }) {
    this.next = base.types + 1;
    this.firstString = base.strings;
    // Only a kernel's own strings start with the empty one.
    this.text = base.strings === 0 ? "\0" : "";
  }

  get counts(): { readonly types: number; readonly strings: number } {
    return { types: this.next - 1, strings: this.firstString + Buffer.byteLength(this.text) };
  }

  name(text: string): number {
    if (text === "") return 0;
    const at = this.firstString + Buffer.byteLength(this.text);
    this.text += `${text}\0`;
    return at;
  }

  add(
    kind: keyof typeof btfKind,
    name: string,
    third: number,
    extra: readonly number[] = [],
    count = 0,
    flag = false,
  ) {
    const info = ((flag ? 1 << btfInfo.flagShift : 0) | (btfKind[kind] << btfInfo.kindShift) | count) >>> 0;
    this.words.push(this.name(name), info, third, ...extra);
    return this.next++;
  }

  int(name: string, size: number, encoding = 0): number {
    return this.add("int", name, size, [((encoding << 24) | (size * 8)) >>> 0]);
  }

  struct(
    kind: "struct" | "union",
    name: string,
    size: number,
    members: readonly {
      readonly name?: string;
      readonly type: number;
      readonly bit: number;
      readonly width?: number;
    }[],
  ): number {
    const flag = members.some(({ width }) => width !== undefined);
    const extra = members.flatMap(({ name: member = "", type, bit, width = 0 }) => [
      this.name(member),
      type,
      flag ? ((width << btfMember.bitSizeShift) | bit) >>> 0 : bit,
    ]);
    return this.add(kind, name, size, extra, members.length, flag);
  }

  enum(name: string, values: Readonly<Record<string, number>>, signed = false): number {
    const extra = Object.entries(values).flatMap(([key, value]) => [this.name(key), value >>> 0]);
    return this.add("enum", name, 4, extra, extra.length / 2, signed);
  }

  prototype(result: number, parameters: readonly (readonly [name: string, type: number])[]): number {
    const extra = parameters.flatMap(([name, type]) => [this.name(name), type]);
    return this.add("prototype", "", result, extra, parameters.length);
  }

  bytes(): Uint8Array {
    const strings = Buffer.from(this.text);
    const types = new Uint8Array(Uint32Array.from(this.words).buffer);
    const header = Buffer.alloc(btfHeader.size);
    header.writeUInt16LE(btfHeader.magicValue, btfHeader.magic);
    header.writeUInt8(btfHeader.versionValue, btfHeader.version);
    header.writeUInt32LE(btfHeader.size, btfHeader.length);
    header.writeUInt32LE(0, btfHeader.typesOffset);
    header.writeUInt32LE(types.length, btfHeader.typesLength);
    header.writeUInt32LE(types.length, btfHeader.stringsOffset);
    header.writeUInt32LE(strings.length, btfHeader.stringsLength);
    return new Uint8Array(Buffer.concat([header, types, strings]));
  }
}
