import { isVmtapeError, VmtapeError } from "../../base/errors.js";
import type { Stoppable } from "../../base/run-context.js";
import { throwIfCancelled } from "../../base/stopping.js";
import { guestAddress, type PhysicalAddress, physicalAddress } from "../../base/units.js";
import { x86Register } from "../../qemu/x86-registers.js";
import type { Position } from "../../replay/session/position.js";
import type { Instant, Watchpoint } from "../../replay/session/timeline-types.js";
import { type ExpressionContext, printExpression } from "../../symbols/expression/evaluator.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import { TapeDebug } from "../names/program-debug.js";
import type { TapeInstant } from "../names/tape-instant.js";
import { contextAt } from "./instant-context.js";

/** The last change of a register or of an expression's value before an instant. */
export interface LastChange {
  readonly what: string;
  /** The instant before it; of `unseen`, that after which it happened. */
  readonly position: Position;
  /** `unseen`: no instruction did it: a device (DMA), or the page walk. */
  readonly kind: "instruction" | "delivery" | "unseen";
  /** As `print` shows it, registers as numbers; undefined where it could not be read before. */
  readonly before: string | undefined;
  readonly after: string;
}

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
export async function lastChangeOf(
  instant: TapeInstant,
  guest: LinuxGuest | undefined,
  what: string,
  options: Stoppable = {},
): Promise<LastChange | undefined> {
  const name = what.replace(/^\$/, "");
  if (x86Register(name)) return registerChange(instant, name, what, options);
  using debug = new TapeDebug(instant.tape, instant.symbols);
  const { timeline } = instant;
  const here = instantOf(timeline.position);
  const reads = new Map<string, { readonly address: bigint; readonly length: number }>();
  const context = recording(await contextAt(instant, guest, debug), (address, length) => {
    reads.set(`${address} ${length}`, { address, length });
    if (reads.size > mostReads) throw tooMany(what);
  });
  const expression = parseExpression(what, context.types);
  const value = () => printExpression(expression, context);
  const now = await value();
  if (reads.size === 0) {
    throw new VmtapeError("usage", `${what} reads no memory: its value changes with registers alone`, {
      got: what,
    });
  }
  try {
    return await searchBack(instant, what, now, await watch(instant, [...reads.values()]), value, options);
  } finally {
    await timeline.goTo(here);
  }
}

async function registerChange(
  { timeline }: TapeInstant,
  name: string,
  what: string,
  options: Stoppable,
): Promise<LastChange | undefined> {
  const found = await timeline.lastRegisterChange(name, options);
  return (
    found && {
      what,
      position: found.position,
      kind: found.kind,
      before: numberText(found.before),
      after: numberText(found.after),
    }
  );
}

/** Goes from write to write, back, until one changed the value. */
async function searchBack(
  { timeline }: TapeInstant,
  what: string,
  now: string,
  points: readonly Watchpoint[],
  value: () => Promise<string>,
  { signal }: Stoppable,
): Promise<LastChange | undefined> {
  const readable = () => value().catch(unreadable);
  for (;;) {
    const meeting = await timeline.lastMeeting(points, 0n as never, signal);
    throwIfCancelled(await timeline.goTo(meeting?.instant ?? { icount: 0n as never }, signal));
    const { position } = timeline;
    const before = await readable();
    if (!meeting) return before === now ? undefined : { what, position, kind: "unseen", before, after: now };
    await timeline.stepForward(1, signal);
    const after = await readable();
    if (after !== now) return { what, position, kind: "unseen", before: after, after: now };
    if (before !== now) {
      const kind = meeting.hits.some(({ access }) => access?.delivery) ? "delivery" : "instruction";
      return { what, position, kind, before, after: now };
    }
    throwIfCancelled(await timeline.goTo(instantOf(position), signal));
  }
}

/** Watchpoints on all that an expression reads, by physical address. */
async function watch(
  { timeline }: TapeInstant,
  reads: readonly { readonly address: bigint; readonly length: number }[],
): Promise<Watchpoint[]> {
  const points = new Map<PhysicalAddress, Watchpoint>();
  for (const { address, length } of reads) {
    const end = address + BigInt(length);
    for (let at = address; at < end; ) {
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
function recording(
  context: ExpressionContext,
  onRead: (address: bigint, length: number) => void,
): ExpressionContext {
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

function unreadable(error: unknown): undefined {
  if (!isVmtapeError(error) || error.class === "cancelled") throw error;
  return undefined;
}

function tooMany(what: string): VmtapeError {
  return new VmtapeError("limit-exceeded", `${what} reads memory at more than ${mostReads} places`, {
    got: what,
  });
}

/** Little-endian bytes as a number. */
function numberText(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes)
    .reverse()
    .toString("hex")
    .replace(/^0+(?=.)/, "")}`;
}

function instantOf({ icount, pc }: Position): Instant {
  return { icount, pc };
}
