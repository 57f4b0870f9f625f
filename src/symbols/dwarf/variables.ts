import type { AddressKey } from "../tables/address.js";
import { builtin } from "../types/builtin.js";
import { sizeOf, type Type } from "../types/type.js";
import { bytesOf, optimizedOut, toInteger, type Value } from "../values/value.js";
import type { DwarfEntries, DwarfEntry } from "./entries.js";
import { cLanguages } from "./layout.js";
import { computedBase, locatedValue, type VariableFrame } from "./location.js";
import { locationAt } from "./location-list.js";
import { locationOp, typeAttribute, typeTag } from "./type-layout.js";
import type { DwarfTypes } from "./types.js";

/** A parameter or local variable that is in scope at an address. */
export interface ScopeVariable {
  readonly name: string;
  readonly type: Type;
  readonly isParameter: boolean;
  /** How many functions are around it: 0 in the innermost inlined copy, and so on out. */
  readonly level: number;
  readonly entry: DwarfEntry;
  /** The function with code of its own around it, whose frame its location is about. */
  readonly owner: DwarfEntry;
}

/** A frame with the one that called it, as far as the stack could be walked. */
export interface CalledFrame extends Omit<VariableFrame, "entry" | "memory" | "loadBias"> {
  readonly caller?: CallerFrame | undefined;
}

export interface CallerFrame extends CalledFrame {
  /** Link address that the call returns to. */
  readonly key: AddressKey;
}

/** `DW_LANG_Rust`. */
const rustLanguage = 0x1c;
/** Scopes within scopes: more is damage. */
const deepestScopes = 256;
const keptAddresses = 1024;
/** Callers of callers that are asked what they passed on. */
const deepestCalls = 8;
const word = builtin.unsignedLong;

/**
 * The variables of a program's functions, by address: what `print` means by a local name.
 *
 * Cost: the first question reads the ranges of all units (20 ms for a kernel); each new address the entries of one
 * unit's functions, some milliseconds at worst.
 */
export class DwarfVariables {
  private units: UnitRanges | undefined;
  private readonly known = new Map<AddressKey, readonly ScopeVariable[]>();

  constructor(private readonly types: DwarfTypes) {}

  private get entries(): DwarfEntries {
    return this.types.entries;
  }

  /**
   * Parameters and variables in scope at a link address, the innermost first. Of two of one name the first is the one
   * that is meant.
   */
  at(key: AddressKey): readonly ScopeVariable[] {
    const known = this.known.get(key);
    if (known) return known;
    const path = this.scopesAt(key);
    const found: ScopeVariable[] = [];
    const owner = path[0];
    let level = 0;
    for (let i = path.length - 1; i >= 0 && owner; i--) {
      const scope = path[i]!;
      this.collect(scope, owner, level, found);
      if (scope.tag === typeTag.inlinedSubroutine) level++;
    }
    if (this.known.size >= keptAddresses) this.known.clear();
    this.known.set(key, found);
    return found;
  }

  /** Is the code at a link address of C; undefined when its language is not known. */
  isC(key: AddressKey): boolean | undefined {
    this.units ??= new UnitRanges(this.entries);
    const language = this.units.at(key)[0]?.unit.language;
    return language ? cLanguages.has(language) : undefined;
  }

  /** Is the code at a link address of Rust? */
  isRust(key: AddressKey): boolean {
    this.units ??= new UnitRanges(this.entries);
    return this.units.at(key)[0]?.unit.language === rustLanguage;
  }

  /**
   * The value of a variable at a link address in a frame; one that is nowhere there has `missing`.
   *
   * @throws VmtapeError `bad-file` for a damaged location, `not-mapped` where finding it needs memory that is missing
   */
  async value(
    variable: ScopeVariable,
    key: AddressKey,
    called: CalledFrame & Pick<VariableFrame, "memory" | "loadBias">,
  ): Promise<Value> {
    const { entry, type, owner } = variable;
    const constant = this.constant(entry, type);
    if (constant) return constant;
    const block = locationAt(this.entries, entry, typeAttribute.location, key);
    if (!block) return { type, missing: optimizedOut };
    return this.evaluate(block, type, owner, key, called, 0);
  }

  private async evaluate(
    block: Uint8Array,
    type: Type,
    owner: DwarfEntry,
    key: AddressKey,
    called: CalledFrame & Pick<VariableFrame, "memory" | "loadBias">,
    depth: number,
  ): Promise<Value> {
    const { memory, loadBias, caller } = called;
    const frame: VariableFrame = {
      ...called,
      entry: async (register) =>
        caller && depth < deepestCalls
          ? this.entryValue(register, owner, { ...caller, memory, loadBias }, depth + 1)
          : undefined,
    };
    const base = locationAt(this.entries, owner, typeAttribute.frameBase, key);
    return locatedValue(block, type, frame, base && (await computedBase(base, frame)));
  }

  /** What a register held when a function was called, as the caller's code at the call says. */
  private async entryValue(
    register: number,
    callee: DwarfEntry,
    caller: CallerFrame & Pick<VariableFrame, "memory" | "loadBias">,
    depth: number,
  ): Promise<bigint | undefined> {
    const { entries } = this;
    const owner = this.scopesAt(caller.key - 1)[0];
    const site = owner && this.callSite(owner, caller.key, 0);
    if (!site || !this.mayCall(site, callee)) return undefined;
    let block: Uint8Array | undefined;
    entries.children(site, (child) => {
      const place = entries.block(child, typeAttribute.location);
      if (place?.length !== 1 || place[0] !== locationOp.reg0 + register) return false;
      block =
        entries.block(child, typeAttribute.callValue) ?? entries.block(child, typeAttribute.gnuCallValue);
      return true;
    });
    if (!block) return undefined;
    // The block computes the value itself, not where it is.
    const code = Buffer.concat([block, Uint8Array.of(locationOp.stackValue)]);
    const value = await this.evaluate(code, word, owner, caller.key - 1, caller, depth);
    return value.bytes && toInteger(word, value.bytes);
  }

  /** The call that returns to an address. */
  private callSite(scope: DwarfEntry, key: AddressKey, depth: number): DwarfEntry | undefined {
    const { entries } = this;
    let found: DwarfEntry | undefined;
    if (depth > deepestScopes) return undefined;
    entries.children(scope, (child) => {
      if (child.tag === typeTag.callSite || child.tag === typeTag.gnuCallSite) {
        const returnsTo =
          entries.address(child, typeAttribute.callReturnPc) ?? entries.address(child, typeAttribute.lowPc);
        if (returnsTo === key) found = child;
      } else if (child.tag === typeTag.lexicalBlock || child.tag === typeTag.inlinedSubroutine) {
        found = this.callSite(child, key, depth + 1);
      }
      return found !== undefined;
    });
    return found;
  }

  /** Not when the call names another function, which went on into this one by a jump. */
  private mayCall(site: DwarfEntry, callee: DwarfEntry): boolean {
    const { entries } = this;
    const target =
      entries.reference(site, typeAttribute.callOrigin) ??
      entries.reference(site, typeAttribute.abstractOrigin);
    if (target === undefined) return true;
    const called = entries.at(target);
    const names = [called, callee].map((entry) => {
      const named = entry && entries.withAttribute(entry, typeAttribute.name);
      return named && entries.name(named);
    });
    return names[0] === names[1];
  }

  /** DW_AT_const_value: the variable is nowhere, but always the same. */
  private constant(entry: DwarfEntry, type: Type): Value | undefined {
    const owner = this.entries.withAttribute(entry, typeAttribute.constValue);
    if (!owner) return undefined;
    const value = this.entries.wide(owner, typeAttribute.constValue);
    if (value !== undefined) return { type, bytes: bytesOf(value, sizeOf(type)) };
    const block = this.entries.block(owner, typeAttribute.constValue);
    if (!block) return undefined;
    const bytes = new Uint8Array(sizeOf(type));
    bytes.set(block.subarray(0, bytes.length));
    return { type, bytes };
  }

  /** The function at an address and the blocks and inlined copies in it that hold the address, outermost first. */
  private scopesAt(key: AddressKey): DwarfEntry[] {
    this.units ??= new UnitRanges(this.entries);
    for (const root of this.units.at(key)) {
      const function_ = this.functionAt(root, key, 0);
      if (!function_) continue;
      const path = [function_];
      for (let scope: DwarfEntry | undefined = function_; scope && path.length < deepestScopes; ) {
        scope = this.scopeIn(scope, key);
        if (scope) path.push(scope);
      }
      return path;
    }
    return [];
  }

  private functionAt(scope: DwarfEntry, key: AddressKey, depth: number): DwarfEntry | undefined {
    let found: DwarfEntry | undefined;
    if (depth > deepestScopes) return undefined;
    this.entries.children(scope, (child) => {
      if (child.tag === typeTag.subprogram && this.entries.hasCode(child) && this.entries.holds(child, key)) {
        found = child;
      } else if (holdsFunctions.has(child.tag)) {
        found = this.functionAt(child, key, depth + 1);
      }
      return found !== undefined;
    });
    return found;
  }

  private scopeIn(scope: DwarfEntry, key: AddressKey): DwarfEntry | undefined {
    let found: DwarfEntry | undefined;
    this.entries.children(scope, (child) => {
      const isScope = child.tag === typeTag.lexicalBlock || child.tag === typeTag.inlinedSubroutine;
      if (isScope && this.entries.holds(child, key)) found = child;
      return found !== undefined;
    });
    return found;
  }

  private collect(scope: DwarfEntry, owner: DwarfEntry, level: number, found: ScopeVariable[]): void {
    const { entries } = this;
    const origins = new Set<number>();
    const add = (entry: DwarfEntry) => {
      const isParameter = entry.tag === typeTag.formalParameter;
      if (!isParameter && entry.tag !== typeTag.variable) return;
      if (entries.flag(entry, typeAttribute.declaration)) return;
      const named = entries.withAttribute(entry, typeAttribute.name);
      const name = named && entries.name(named);
      if (name) found.push({ name, type: this.types.typeOf(entry), isParameter, level, entry, owner });
    };
    entries.children(scope, (child) => {
      const origin = entries.reference(child, typeAttribute.abstractOrigin);
      if (origin !== undefined) origins.add(origin);
      add(child);
      return false;
    });
    // What the copy does not mention is optimized out of it.
    const abstract = entries.origin(scope);
    if (!abstract) return;
    entries.children(abstract, (child) => {
      if (!origins.has(child.offset)) add(child);
      return false;
    });
  }
}

const holdsFunctions: ReadonlySet<number> = new Set([
  typeTag.namespace,
  typeTag.class,
  typeTag.structure,
  typeTag.union,
]);

/** Which units have code at an address. */
class UnitRanges {
  private readonly roots: DwarfEntry[] = [];
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  constructor(entries: DwarfEntries) {
    for (const unit of entries.units) {
      const root = entries.at(unit.entries, unit);
      if (!root) continue;
      entries.ranges(root, (start, end) => {
        this.roots.push(root);
        this.starts.push(start);
        this.ends.push(end);
      });
    }
  }

  at(key: AddressKey): DwarfEntry[] {
    const found: DwarfEntry[] = [];
    for (let i = 0; i < this.starts.length; i++) {
      if (key >= this.starts[i]! && key < this.ends[i]!) found.push(this.roots[i]!);
    }
    return found;
  }
}
