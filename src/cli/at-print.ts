import { isVmtapeError, VmtapeError } from "../base/errors.js";
import { firstKernelAddress } from "../base/units.js";
import type { FrameAt } from "../linux/frame-context.js";
import type { LinuxGuest } from "../linux/linux-guest.js";
import type { TapeDebug } from "../linux/program-debug.js";
import type { ExpressionContext } from "../symbols/expression-evaluator.js";
import { exitCodes } from "./failure.js";
import { linuxOf } from "./guest-view.js";
import type { OpenTimeline } from "./open-timeline.js";
import { note, say } from "./output.js";

/** An expression and its value at an instant, or why it has none. */
export interface PrintedValue {
  readonly expression: string;
  /** As GDB's `print` shows it. */
  readonly value: string | undefined;
  readonly error: VmtapeError | undefined;
}

/**
 * The values of expressions where a timeline stands. One that fails does not keep the others from being told.
 *
 * @param notes gets what could not be used of debug information, in words for people
 */
export async function printAt(
  open: OpenTimeline,
  texts: readonly string[],
  notes?: Set<string>,
): Promise<PrintedValue[]> {
  const [{ parseExpression }, { printExpression }, { TapeDebug }] = await Promise.all([
    import("../symbols/expression-parser.js"),
    import("../symbols/expression-evaluator.js"),
    import("../linux/program-debug.js"),
  ]);
  using debug = new TapeDebug(open.tape, open.symbols);
  const guest = await linuxOr(open);
  const context = await contextAt(open, guest, debug);
  const print = async (expression: string): Promise<PrintedValue> => {
    try {
      const value = await printExpression(parseExpression(expression, context.types), context);
      return { expression, value, error: undefined };
    } catch (error) {
      if (!isVmtapeError(error)) throw error;
      return { expression, value: undefined, error: withVariants(error, open) };
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
function withVariants(error: VmtapeError, { symbols }: OpenTimeline): VmtapeError {
  const { got } = error.facts;
  const variants = error.code === "not-found" && typeof got === "string" ? symbols.symbols.variants(got) : [];
  if (variants.length === 0) return error;
  const message = `${error.message}; there are ${variants.slice(0, mostVariants).join(", ")}`;
  return new VmtapeError(error.code, message, { ...error.facts, nearest: variants }, error);
}

const mostVariants = 5;

/** Says whether there were any. */
async function addModuleTypes(guest: LinuxGuest, { types }: ExpressionContext): Promise<boolean> {
  const { readModuleTypes } = await import("../linux/module-types.js");
  const found = guest.kernel.types ? await readModuleTypes(guest) : [];
  for (const source of found) types.add(source);
  return found.length > 0;
}

/** What names mean there: with the guest's Linux, when it runs, and the debug information of the code, when there is. */
async function contextAt(
  open: OpenTimeline,
  guest: LinuxGuest | undefined,
  debug: TapeDebug,
): Promise<ExpressionContext> {
  const [{ plainContext }, { frameContext, innermostFrame }, { presentContext }] = await Promise.all([
    import("../linux/plain-context.js"),
    import("../linux/frame-context.js"),
    import("../linux/task-context.js"),
  ]);
  const { timeline, symbols, tape } = open;
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
    const { stackAt } = await import("./at-stack.js");
    return innermostFrame(registers, context.memory, guest ? await stackAt(open) : undefined, debug);
  };
  const { keyOf } = await import("../symbols/address.js");
  const hasBool = program.variables.isC(keyOf(pc - program.bias)) === false;
  const isRust = program.variables.isRust(keyOf(pc - program.bias));
  return { ...frameContext(context, program, () => (frame ??= findFrame()), isKernel), hasBool, isRust };
}

/** The guest's Linux; undefined, with a note, when none runs there. */
async function linuxOr(open: OpenTimeline): Promise<LinuxGuest | undefined> {
  // Without a banner it is no Linux, and nobody expects one.
  if (!open.symbols.kernel?.banner) return undefined;
  try {
    return await linuxOf(open);
  } catch (error) {
    if (!isVmtapeError(error, "not-found")) throw error;
    note(`nothing is known of the guest's system: ${error.message}`);
    return undefined;
  }
}

/** One line an expression: `current->comm = "sh", '\000' <repeats 13 times>`; why there is none on stderr. */
export function sayValues(values: readonly PrintedValue[]): void {
  for (const { expression, value, error } of values) {
    if (error) note(`vmtape: ${error.message}`);
    else say(`${expression.replace(/^\s*\/[a-z]\s+/, "")} = ${value}`);
  }
}

/** Values as JSON has them. */
export function valueFacts(values: readonly PrintedValue[]) {
  return values.map(({ expression, value, error }) =>
    error ? { expression, value: null, code: error.code, error: error.message } : { expression, value },
  );
}

/** The first failure decides the exit code, once all was told. */
export function failFor(values: readonly PrintedValue[] | undefined): void {
  const failed = values?.find(({ error }) => error);
  if (failed?.error) process.exitCode = exitCodes[failed.error.class];
}
