var __addDisposableResource = (this && this.__addDisposableResource) || function (env, value, async) {
    if (value !== null && value !== void 0) {
        if (typeof value !== "object" && typeof value !== "function") throw new TypeError("Object expected.");
        var dispose, inner;
        if (async) {
            if (!Symbol.asyncDispose) throw new TypeError("Symbol.asyncDispose is not defined.");
            dispose = value[Symbol.asyncDispose];
        }
        if (dispose === void 0) {
            if (!Symbol.dispose) throw new TypeError("Symbol.dispose is not defined.");
            dispose = value[Symbol.dispose];
            if (async) inner = dispose;
        }
        if (typeof dispose !== "function") throw new TypeError("Object not disposable.");
        if (inner) dispose = function() { try { inner.call(this); } catch (e) { return Promise.reject(e); } };
        env.stack.push({ value: value, dispose: dispose, async: async });
    }
    else if (async) {
        env.stack.push({ async: true });
    }
    return value;
};
var __disposeResources = (this && this.__disposeResources) || (function (SuppressedError) {
    return function (env) {
        function fail(e) {
            env.error = env.hasError ? new SuppressedError(e, env.error, "An error was suppressed during disposal.") : e;
            env.hasError = true;
        }
        var r, s = 0;
        function next() {
            while (r = env.stack.pop()) {
                try {
                    if (!r.async && s === 1) return s = 0, env.stack.push(r), Promise.resolve().then(next);
                    if (r.dispose) {
                        var result = r.dispose.call(r.value);
                        if (r.async) return s |= 2, Promise.resolve(result).then(next, function(e) { fail(e); return next(); });
                    }
                    else s |= 1;
                }
                catch (e) {
                    fail(e);
                }
            }
            if (s === 1) return env.hasError ? Promise.reject(env.error) : Promise.resolve();
            if (env.hasError) throw env.error;
        }
        return next();
    };
})(typeof SuppressedError === "function" ? SuppressedError : function (error, suppressed, message) {
    var e = new Error(message);
    return e.name = "SuppressedError", e.error = error, e.suppressed = suppressed, e;
});
import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import { firstKernelAddress } from "../../base/units.js";
import { printExpression } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import { keyOf } from "../../symbols/tables/address.js";
import { TapeDebug } from "../names/program-debug.js";
import { readModuleTypes } from "../objects/module-types.js";
import { stackAt } from "../stack/at.js";
import { frameContext, innermostFrame } from "./frame-context.js";
import { plainContext } from "./plain-context.js";
import { presentContext } from "./task-context.js";
/**
 * The values of expressions where a timeline stands, with the locals of the code that runs there. One that fails does
 * not keep the others from being told.
 *
 * @param guest its Linux; undefined where none runs
 * @param notes gets what could not be used of debug information, in words for people
 */
export async function printAt(instant, guest, texts, notes) {
    const env_1 = { stack: [], error: void 0, hasError: false };
    try {
        const debug = __addDisposableResource(env_1, new TapeDebug(instant.tape, instant.symbols), false);
        const context = await contextAt(instant, guest, debug);
        const print = async (expression) => {
            try {
                const value = await printExpression(parseExpression(expression, context.types), context);
                return { expression, value, error: undefined };
            }
            catch (error) {
                if (!isVmtapeError(error))
                    throw error;
                return { expression, value: undefined, error: withVariants(error, instant) };
            }
        };
        const values = [];
        let hasModules = guest === undefined;
        for (const expression of texts) {
            let printed = await print(expression);
            // A type that the kernel does not know may be a module's.
            if (printed.error && !hasModules) {
                hasModules = true;
                if (await addModuleTypes(guest, context))
                    printed = await print(expression);
            }
            values.push(printed);
        }
        for (const text of debug.notes)
            notes?.add(text);
        return values;
    }
    catch (e_1) {
        env_1.error = e_1;
        env_1.hasError = true;
    }
    finally {
        __disposeResources(env_1);
    }
}
/** A function that compilers made several of is called by none of their names: they are told. */
function withVariants(error, { symbols }) {
    const { got } = error.facts;
    const variants = error.code === "not-found" && typeof got === "string" ? symbols.symbols.variants(got) : [];
    if (variants.length === 0)
        return error;
    const message = `${error.message}; there are ${variants.slice(0, mostVariants).join(", ")}`;
    return new VmtapeError(error.code, message, { ...error.facts, nearest: variants }, error);
}
const mostVariants = 5;
/** Says whether there were any. */
async function addModuleTypes(guest, { types }) {
    const found = guest.kernel.types ? await readModuleTypes(guest) : [];
    for (const source of found)
        types.add(source);
    return found.length > 0;
}
/**
 * What names mean where a timeline stands: with the guest's Linux, when it runs, and the debug information of the
 * code, when there is.
 */
export async function contextAt(instant, guest, debug) {
    const { timeline, symbols, tape } = instant;
    const { pc } = timeline.position;
    const { context, task } = guest
        ? await presentContext(tape, guest, pc, symbols.symbols, debug)
        : { context: await plainContext(timeline, symbols.symbols), task: undefined };
    const isKernel = guest !== undefined && pc >= firstKernelAddress;
    const program = await debug.at(pc, task);
    if (!program)
        return context;
    let frame;
    const findFrame = async () => {
        const registers = new Uint8Array(await timeline.registers());
        return innermostFrame(registers, context.memory, guest ? await stackAt(instant) : undefined, debug);
    };
    const hasBool = program.variables.isC(keyOf(pc - program.bias)) === false;
    const isRust = program.variables.isRust(keyOf(pc - program.bias));
    return { ...frameContext(context, program, () => (frame ??= findFrame()), isKernel), hasBool, isRust };
}
//# sourceMappingURL=instant-context.js.map