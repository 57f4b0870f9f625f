import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { firstKernelAddress } from "../../base/units.js";
import { type ExpressionContext, printExpression } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import { keyOf } from "../../symbols/tables/address.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { TapeDebug } from "../names/program-debug.js";
import type { TapeInstant } from "../names/tape-instant.js";
import { readModuleTypes } from "../objects/module-types.js";
import { stackAt } from "../stack/at.js";
import { type FrameAt, frameContext, innermostFrame } from "./frame-context.js";
import { plainContext } from "./plain-context.js";
import { presentContext } from "./task-context.js";

/** An expression and its value at an instant, or why it has none. */
export interface PrintedValue {
  readonly expression: string;
  /** As GDB's `print` shows it. */
  readonly value: string | undefined;
  readonly error: VmtapeError | undefined;
}

/**
 * The values of expressions where a timeline stands, with the locals of the code that runs there. One that fails does
 * not keep the others from being told.
 *
 * @param guest its Linux; undefined where none runs
 * @param notes gets what could not be used of debug information, in words for people
 */
export async function printAt(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  texts: readonly string[],
  notes?: Set<string>,
): Promise<PrintedValue[]> {
  using debug = new TapeDebug(instant.tape, instant.symbols);
  const context = await contextAt(instant, guest, debug);
  const print = async (expression: string): Promise<PrintedValue> => {
    try {
      const value = await printExpression(parseExpression(expression, context.types), context);
      return { expression, value, error: undefined };
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      return { expression, value: undefined, error: withVariants(error, instant) };
    }
  };
  const values: PrintedValue[] = [];
  let hasModules = guest === undefined;
  for (const expression of texts) {
    let printed = await print(expression);
    // A type that the kernel does not know may be a module's.
    if (printed.error && !hasModules) {
      hasModules = true;
      if (await addModuleTypes(guest!, context)) printed = await print(expression);
    }
    values.push(printed);
  }
  for (const text of debug.notes) notes?.add(text);
  return values;
}

/** A function that compilers made several of is called by none of their names: they are told. */
function withVariants(error: VmtapeError, { symbols }: TapeInstant): VmtapeError {
  const { got } = error.facts;
  const variants = error.code === "not-found" && typeof got === "string" ? symbols.symbols.variants(got) : [];
  if (variants.length === 0) return error;
  const message = `${error.message}; there are ${variants.slice(0, mostVariants).join(", ")}`;
  return new VmtapeError(error.code, message, { ...error.facts, nearest: variants }, error);
}

const mostVariants = 5;

/** Adds the types of the guest's modules; says whether there were any. */
export async function addModuleTypes(guest: LinuxGuest, { types }: ExpressionContext): Promise<boolean> {
  const found = guest.kernel.types ? await readModuleTypes(guest) : [];
  for (const source of found) types.add(source);
  return found.length > 0;
}

/**
 * What names mean where a timeline stands: with the guest's Linux, when it runs, and the debug information of the
 * code, when there is.
 */
export async function contextAt(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  debug: TapeDebug,
): Promise<ExpressionContext> {
  const { timeline, symbols, tape } = instant;
  const { pc } = timeline.position;
  const { context, task } = guest
    ? await presentContext(tape, guest, pc, symbols.symbols, debug)
    : { context: await plainContext(timeline, symbols.symbols), task: undefined };
  const isKernel = guest !== undefined && pc >= firstKernelAddress;
  const program = await debug.at(pc, task);
  if (!program) return context;
  let frame: Promise<FrameAt> | undefined;
  const findFrame = async () => {
    const registers = new Uint8Array(await timeline.registers());
    return innermostFrame(registers, context.memory, guest ? await stackAt(instant) : undefined, debug);
  };
  const hasBool = program.variables.isC(keyOf(pc - program.bias)) === false;
  const isRust = program.variables.isRust(keyOf(pc - program.bias));
  return { ...frameContext(context, program, () => (frame ??= findFrame()), isKernel), hasBool, isRust };
}
