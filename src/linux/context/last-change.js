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
import { throwIfCancelled } from "../../base/stopping.js";
import { guestAddress, physicalAddress } from "../../base/units.js";
import { x86Register } from "../../qemu/x86-registers.js";
import { printExpression } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import { TapeDebug } from "../names/program-debug.js";
import { contextAt } from "./instant-context.js";
/** Reads of one expression; more of them are no value, but a search. */
const mostReads = 256;
const pageBytes = 4096n;
/**
 * When and by what a register, or the value of an expression over memory, changed last before the instant where the timeline
 * stands, on the whole tape; it stands there again afterwards.
 *
 * An expression means what it means here: its registers, locals and address space are those of this instant, and so is the memory
 * whose past is looked through.
 *
 * Cost: for a register a replay of the stretch at some 3 to 10 times its plain duration; for an expression what
 * {@link pastOf} costs, for each write that left its value as it was.
 *
 * @param what a register of the `g` block (with or without `$`) or an expression
 * @returns undefined when it has not changed since the tape's start
 * @throws `usage` for an expression that reads no memory; everything that `print` throws; `cancelled`
 */
export async function lastChangeOf(instant, guest, what, options = {}) {
    const env_1 = { stack: [], error: void 0, hasError: false };
    try {
        const name = what.replace(/^\$/, "");
        if (x86Register(name))
            return registerChange(instant, name, what, options);
        const debug = __addDisposableResource(env_1, new TapeDebug(instant.tape, instant.symbols), false);
        const { timeline } = instant;
        const here = instantOf(timeline.position);
        const reads = new Map();
        const context = recording(await contextAt(instant, guest, debug), (address, length) => {
            reads.set(`${address} ${length}`, { address, length });
            if (reads.size > mostReads)
                throw tooMany(what);
        });
        const expression = parseExpression(what, context.types);
        const value = () => printExpression(expression, context);
        const now = await value();
        if (reads.size === 0) {
            throw new VmtapeError("usage", `${what} reads no memory: its value changes with registers alone`, { got: what });
        }
        try {
            return await searchBack(instant, what, now, await watch(instant, [...reads.values()]), value, options);
        }
        finally {
            await timeline.goTo(here);
        }
    }
    catch (e_1) {
        env_1.error = e_1;
        env_1.hasError = true;
    }
    finally {
        __disposeResources(env_1);
    }
}
async function registerChange({ timeline }, name, what, options) {
    const found = await timeline.lastRegisterChange(name, options);
    return (found && {
        what,
        position: found.position,
        kind: found.kind,
        before: numberText(found.before),
        after: numberText(found.after),
    });
}
/** Goes from write to write, back, until one changed the value. */
async function searchBack({ timeline }, what, now, points, value, { signal }) {
    const readable = () => value().catch(unreadable);
    for (;;) {
        const meeting = await timeline.lastMeeting(points, 0n, signal);
        throwIfCancelled(await timeline.goTo(meeting?.instant ?? { icount: 0n }, signal));
        const { position } = timeline;
        const before = await readable();
        if (!meeting)
            return before === now ? undefined : { what, position, kind: "unseen", before, after: now };
        await timeline.stepForward(1, signal);
        const after = await readable();
        if (after !== now)
            return { what, position, kind: "unseen", before: after, after: now };
        if (before !== now) {
            const kind = meeting.hits.some(({ access }) => access?.delivery) ? "delivery" : "instruction";
            return { what, position, kind, before, after: now };
        }
        throwIfCancelled(await timeline.goTo(instantOf(position), signal));
    }
}
/** Watchpoints on all that an expression reads, by physical address. */
async function watch({ timeline }, reads) {
    const points = new Map();
    for (const { address, length } of reads) {
        const end = address + BigInt(length);
        for (let at = address; at < end;) {
            const next = at - (at % pageBytes) + pageBytes;
            const stop = next < end ? next : end;
            const physical = await timeline.translate(guestAddress(at));
            if (physical !== undefined) {
                const start = physicalAddress(physical);
                const longest = Math.max(points.get(start)?.length ?? 0, Number(stop - at));
                points.set(start, { kind: "write", space: "physical", address: start, length: longest });
            }
            at = stop;
        }
    }
    return [...points.values()];
}
/** The same context, which tells what is read. */
function recording(context, onRead) {
    const { memory } = context;
    return {
        ...context,
        memory: {
            read(address, length) {
                onRead(address, length);
                return memory.read(address, length);
            },
        },
    };
}
function unreadable(error) {
    if (!isVmtapeError(error) || error.class === "cancelled")
        throw error;
    return undefined;
}
function tooMany(what) {
    return new VmtapeError("limit-exceeded", `${what} reads memory at more than ${mostReads} places`, { got: what });
}
/** Little-endian bytes as a number. */
function numberText(bytes) {
    return `0x${Buffer.from(bytes).reverse().toString("hex").replace(/^0+(?=.)/, "")}`;
}
function instantOf({ icount, pc }) {
    return { icount, pc };
}
//# sourceMappingURL=last-change.js.map