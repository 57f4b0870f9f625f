/**
 * What a kernel module says about itself: the `.modinfo` section of its ELF file, a row of NUL-ended
 * `key=value` strings. Source: `MODULE_INFO` in the kernel's include/linux/moduleparam.h; ELF-64 by elf(5).
 */
import { ByteReader } from "../base/bytes.js";
import { VmtapeError } from "../base/errors.js";

/** The facts about a module that decide what is loaded before it. */
export interface ModuleInfo {
  /** Modules whose symbols it uses: the kernel refuses it without them. */
  readonly depends: readonly string[];
  /** Modules or aliases that should be loaded before it (`softdep=pre: …`): without them it may fail later. */
  readonly wants: readonly string[];
  /** Its other names; `*` and `?` are wildcards. */
  readonly aliases: readonly string[];
}

const elfMagic = 0x464c457f;
const class64 = 2;
const littleEndian = 1;
const header = { class: 4, data: 5, sections: 0x28, entrySize: 0x3a, entries: 0x3c, names: 0x3e } as const;
const section = { name: 0, offset: 0x18, size: 0x20, length: 0x40 } as const;

/** @throws VmtapeError `bad-file` when it is no 64-bit little-endian ELF file, is cut, or has no `.modinfo` */
export function readModuleInfo(bytes: Uint8Array, file = "module"): ModuleInfo {
  return parseModuleInfo(Buffer.from(modinfoSection(bytes, file)).toString("latin1"));
}

/** Reads NUL-ended `key=value` strings. */
export function parseModuleInfo(text: string): ModuleInfo {
  const depends: string[] = [];
  const wants: string[] = [];
  const aliases: string[] = [];
  for (const line of text.split("\0")) {
    const equals = line.indexOf("=");
    const value = line.slice(equals + 1);
    switch (line.slice(0, Math.max(equals, 0))) {
      case "depends":
        depends.push(...value.split(",").filter(Boolean));
        break;
      case "softdep":
        wants.push(...wordsBefore(value));
        break;
      case "alias":
        aliases.push(value);
        break;
    }
  }
  return { depends, wants, aliases };
}

/** The names after `pre:` in `pre: a b post: c`. */
function wordsBefore(softdep: string): string[] {
  const found: string[] = [];
  let before = false;
  for (const word of softdep.split(/\s+/).filter(Boolean)) {
    if (word.endsWith(":")) before = word === "pre:";
    else if (before) found.push(word);
  }
  return found;
}

function modinfoSection(bytes: Uint8Array, file: string): Uint8Array {
  const reader = new ByteReader(bytes, file);
  const isElf =
    reader.u32() === elfMagic && at(header.class).u8() === class64 && at(header.data).u8() === littleEndian;
  if (!isElf) throw new VmtapeError("bad-file", `${file} is not a 64-bit ELF file`, { file, offset: 0 });

  const table = Number(at(header.sections).u64());
  const entrySize = at(header.entrySize).u16();
  const entries = at(header.entries).u16();
  const namesIndex = at(header.names).u16();
  if (entrySize < section.length || namesIndex >= entries) {
    throw new VmtapeError("bad-file", `${file} has a damaged section table`, { file, offset: table });
  }
  const names = Buffer.from(contents(namesIndex));
  for (let index = 0; index < entries; index++) {
    const name = at(table + index * entrySize + section.name).u32();
    if (names.toString("latin1", name, name + ".modinfo\0".length) === ".modinfo\0") return contents(index);
  }
  throw new VmtapeError("bad-file", `${file} is not a kernel module: it has no .modinfo`, { file });

  function at(offset: number): ByteReader {
    reader.seek(offset);
    return reader;
  }
  function contents(index: number): Uint8Array {
    const entry = table + index * entrySize;
    const offset = Number(at(entry + section.offset).u64());
    const size = Number(at(entry + section.size).u64());
    return at(offset).slice(size);
  }
}
