import { isVmtapeError } from "../../base/errors.js";
import { type ExpressionContext, evaluate } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import { formatType } from "../../symbols/types/name.js";
import { type ChildrenOptions, childCount, childrenOf } from "../../symbols/values/children.js";
import { printValue } from "../../symbols/values/print.js";
import type { Value } from "../../symbols/values/value.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { TapeDebug } from "../names/program-debug.js";
import type { TapeInstant } from "../names/tape-instant.js";
import { addModuleTypes, contextAt } from "./instant-context.js";

/** A value as a debugger or a page shows it: a line, which unfolds. */
export class ShownValue {
  /** The expression, a member's name, `[3]` of an array, `*` of what a pointer leads to. */
  readonly name: string;
  /** Its type, as C writes it. */
  readonly type: string;
  /** As `print` shows it. */
  readonly text: string;
  /** How many parts it has; 0: it does not unfold. */
  readonly childCount: number;
  private readonly value: Value;
  private readonly context: ExpressionContext;
  private readonly stand: () => Promise<void>;

  private constructor(
    name: string,
    value: Value,
    text: string,
    context: ExpressionContext,
    stand: () => Promise<void>,
  ) {
    this.name = name;
    this.value = value;
    this.text = text;
    this.context = context;
    this.stand = stand;
    this.type = formatType(value.type);
    this.childCount = childCount(value);
  }

  static async of(
    name: string,
    value: Value,
    context: ExpressionContext,
    stand: () => Promise<void>,
  ): Promise<ShownValue> {
    const text = await printValue(value, context).catch((error: Error) => `<${error.message}>`);
    return new ShownValue(name, value, text, context, stand);
  }

  /** Its parts: members, elements, or what it leads to. See `childrenOf`. */
  async children(options: ChildrenOptions = {}): Promise<ShownValue[]> {
    await this.stand();
    const { context } = this;
    const found: ShownValue[] = [];
    for (const { name, value } of await childrenOf(this.value, context.memory, options)) {
      found.push(await ShownValue.of(name, value, context, this.stand));
    }
    return found;
  }
}

/** An expression's value, which unfolds until this is disposed. */
export interface Inspection extends Disposable {
  readonly value: ShownValue;
}

/**
 * The value of an expression where a timeline stands, with the locals of the code that runs there.
 *
 * @param stand has the timeline stand there again, before more is read
 * @throws as `evaluate`
 */
export async function inspectAt(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  text: string,
  stand: () => Promise<void>,
): Promise<Inspection> {
  const debug = new TapeDebug(instant.tape, instant.symbols);
  try {
    const context = await contextAt(instant, guest, debug);
    const look = async () => evaluate(parseExpression(text, context.types), context);
    const value = await look().catch(async (error: unknown) => {
      // A type that the kernel does not know may be a module's.
      if (!isVmtapeError(error) || !guest || !(await addModuleTypes(guest, context))) throw error;
      return look();
    });
    return {
      value: await ShownValue.of(text, value, context, stand),
      [Symbol.dispose]: () => debug[Symbol.dispose](),
    };
  } catch (error) {
    debug[Symbol.dispose]();
    throw error;
  }
}
