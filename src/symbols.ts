/// <reference types="node" preserve="true" />
/**
 * Names, lines, types and values from ELF, DWARF, BTF and kallsyms; expressions over them. It needs no tape.
 *
 * ```ts
 * import { loadSymbolSource, parseSymbolSource, Symbols } from "vmtape/symbols";
 *
 * const symbols = new Symbols();
 * symbols.add(loadSymbolSource(parseSymbolSource("/usr/lib/debug/vmlinux")));
 * console.log(symbols.resolve("do_filp_open"));
 * ```
 */

export * from "./facts.js";
export { type BtfTypes, decodeBtf } from "./symbols/btf/types.js";
export type { InlinedAt, SourcePlace } from "./symbols/debug/info.js";
export type { DebugSource, SymbolFileOptions } from "./symbols/debug/source.js";
export { demangle } from "./symbols/demangle/demangle.js";
export { DwarfFile } from "./symbols/dwarf/file.js";
export { DwarfTypes } from "./symbols/dwarf/types.js";
export { type CalledFrame, DwarfVariables, type ScopeVariable } from "./symbols/dwarf/variables.js";
export { ElfFile } from "./symbols/elf/elf.js";
export { type CompileContext, compileExpression } from "./symbols/expression/compiler.js";
export {
  type ExpressionContext,
  type ExpressionSymbol,
  evaluate,
  evaluateTruth,
  printExpression,
} from "./symbols/expression/evaluator.js";
export { parseExpression } from "./symbols/expression/parser.js";
export type { Expression } from "./symbols/expression/syntax.js";
export { readElfBtf, readKernelBtf, readMemoryBtf } from "./symbols/kernel/btf-find.js";
export { type LoadedSource, loadSymbolSource } from "./symbols/names/load-source.js";
export { formatAddress, formatName, formatPlace } from "./symbols/names/symbol-format.js";
export { parseSymbolSource } from "./symbols/names/symbol-source-spec.js";
export {
  type Found,
  type FoundLine,
  type Located,
  type SymbolSource,
  Symbols,
} from "./symbols/names/symbols.js";
export { formatType } from "./symbols/types/name.js";
export { type TypeSource, Types } from "./symbols/types/set.js";
export {
  ArrayType,
  type Enumerator,
  EnumType,
  FunctionType,
  type Member,
  type Place,
  PointerType,
  QualifiedType,
  resolve as resolveType,
  StructType,
  sizeOf,
  type Type,
  TypedefType,
} from "./symbols/types/type.js";
export { type Child, type ChildrenOptions, childCount, childrenOf } from "./symbols/values/children.js";
export { type PrintContext, printValue } from "./symbols/values/print.js";
export { integerValue, loadValue, type Value, valueAt } from "./symbols/values/value.js";
