import { field } from "./abbrev.js";
import { EntryReader } from "./entry.js";
import type { DwarfFile } from "./file.js";
import { attribute, form, tag, textHome } from "./layout.js";
import type { TextCollector } from "./texts.js";
import type { Unit } from "./unit.js";
import { textAt, unitAt } from "./unit-list.js";

/** No entry stands for another over more steps: a concrete copy, its abstract one, the declaration, one to spare. */
const mostSteps = 8;

/**
 * The names of function entries, found along DW_AT_abstract_origin and DW_AT_specification, into other units and into
 * the shared file of dwz. The linkage name is preferred, as it holds the whole name of a C++ or Rust function.
 */
export class EntryNames {
  /** Name of each entry asked for so far. */
  private readonly known = new Map<number, number>();
  private readonly reader: EntryReader;
  /** Names, with their namespaces, of entries that have no linkage name. */
  private readonly qualified = new Map<number, number>();
  /** Names of namespaces and types asked for so far. */
  private readonly spaces = new Map<number, string>();
  /** Names of entries in the shared file. */
  private shared: EntryNames | undefined;

  constructor(
    private readonly file: DwarfFile,
    private readonly units: readonly Unit[],
    private readonly texts: TextCollector,
    private readonly readSharedUnits: (file: DwarfFile) => readonly Unit[],
  ) {
    this.reader = new EntryReader(
      () => file.section(".debug_str_offsets"),
      () => file.section(".debug_addr"),
    );
  }

  /**
   * The name id of what a reference attribute leads to; 0 when it leads nowhere.
   *
   * @param value the attribute's value as `EntryReader.number` reads it
   */
  byReference(unit: Unit, code: number, value: number, steps = 0): number {
    switch (code) {
      case form.ref1:
      case form.ref2:
      case form.ref4:
      case form.ref8:
      case form.refUdata:
        return this.at(unit, unit.start + value, steps);
      case form.refAddress:
        return this.at(value >= unit.start && value < unit.end ? unit : undefined, value, steps);
      case form.gnuRefAlt:
      case form.refSup4:
      case form.refSup8: {
        const { alt } = this.file;
        if (!alt) return 0;
        this.shared ??= new EntryNames(alt, this.readSharedUnits(alt), this.texts, () => []);
        return this.shared.at(undefined, value, steps);
      }
      default:
        return 0;
    }
  }

  /** Says what the entry at an offset is called in full: it has no linkage name. */
  qualify(offset: number, name: number): void {
    this.qualified.set(offset, name);
  }

  /** The name of the namespace or type at an offset; empty for a type without one. */
  spaceAt(unit: Unit, offset: number): string {
    const known = this.spaces.get(offset);
    if (known !== undefined) return known;
    const { reader, file } = this;
    const open = reader.open(file, unit, offset);
    let name = "";
    if (open) {
      const { pool, position, first, end } = open;
      if (pool[position + field.tag] === tag.namespace) name = "(anonymous namespace)";
      for (let i = first; i < end; i += 3) {
        const code = pool[i + 1]!;
        if (pool[i] !== attribute.name) reader.skip(code);
        else name = textAt(file, reader.text(code, pool[i + 2]!), reader.home);
      }
    }
    this.spaces.set(offset, name);
    return name;
  }

  private at(unit: Unit | undefined, offset: number, steps: number): number {
    const known = this.known.get(offset);
    if (known !== undefined) return known;
    const owner = unit ?? unitAt(this.units, offset);
    if (!owner || steps > mostSteps || !(offset >= owner.entries && offset < owner.end)) return 0;
    const name = this.read(owner, offset, steps);
    this.known.set(offset, name);
    return name;
  }

  private read(unit: Unit, offset: number, steps: number): number {
    const { reader, file } = this;
    const open = reader.open(file, unit, offset);
    if (!open) return 0;
    const { pool, first, end } = open;
    let name = 0;
    let linkage = 0;
    let origin = 0;
    let originForm = 0;
    for (let i = first; i < end; i += 3) {
      const code = pool[i + 1]!;
      switch (pool[i]!) {
        case attribute.name:
          name = this.text(code, pool[i + 2]!);
          break;
        case attribute.linkageName:
        case attribute.mipsLinkageName:
          linkage = this.text(code, pool[i + 2]!);
          break;
        case attribute.abstractOrigin:
        case attribute.specification:
          origin = reader.number(code, pool[i + 2]!);
          originForm = code;
          break;
        default:
          reader.skip(code);
      }
    }
    if (linkage > 0) return linkage;
    const full = this.qualified.get(offset) ?? name;
    if (originForm === 0) return full;
    // The reader may be moved from here on.
    return this.byReference(unit, originForm, origin, steps + 1) || full;
  }

  private text(code: number, constant: number): number {
    const offset = this.reader.text(code, constant);
    return this.reader.home === textHome.none ? 0 : this.texts.at(this.file, offset, this.reader.home);
  }
}
