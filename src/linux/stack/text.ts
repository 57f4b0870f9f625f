import { hex } from "../../base/units.js";
import type { SourcePlace } from "../../symbols/debug/info.js";
import { formatName, formatPlace } from "../../symbols/names/symbol-format.js";
import type { Located } from "../../symbols/names/symbols.js";
import type { Frame, StackEnd } from "./frame.js";
import type { NamedStack } from "./tape.js";

/** What stands after the name of a frame that is no plain function. */
const kindNotes: Record<Frame["kind"], (frame: Frame) => string> = {
  function: () => "",
  syscall: ({ syscall }) => `  <system call${syscall === undefined ? "" : ` ${syscall}`}>`,
  interrupt: () => "  <interrupt>",
  exception: () => "  <exception>",
  signal: () => "  <signal handler called>",
  guess: () => "",
};

const endNotes: Record<StackEnd, string | undefined> = {
  outermost: undefined,
  limit: "(more frames follow)",
  "not-mapped": "(the stack cannot be read further: it is not mapped)",
  "no-information": "(nothing tells how to go on from here)",
  corrupt: "(the stack is damaged here)",
  compat: "(a 32-bit program: its stack is not followed)",
};

/**
 * A stack as GDB's `backtrace` prints it: one line a function, inlined copies too. A `?` stands after the number of a
 * frame that is not certain.
 */
export function stackLines(stack: NamedStack): string[] {
  const lines = stack.frames.flatMap((frame) => linesOf(stack, frame));
  const numbered = lines.map((line, number) => `#${String(number).padEnd(3)}${line}`);
  const note = endNotes[stack.end];
  if (!note) return numbered;
  return [
    ...numbered,
    stack.endAddress === undefined ? note : `${note.slice(0, -1)}: ${hex(stack.endAddress)})`,
  ];
}

function linesOf(stack: NamedStack, frame: Frame): string[] {
  const located = stack.locate(frame);
  const mark = frame.reliable ? " " : "?";
  const inlined = located?.inlined ?? [];
  let place = located?.place;
  const lines = inlined.map(({ name, call }) => {
    const line = `${mark}${"".padEnd(18)}    ${name} (inlined)${at(place)}`;
    place = call;
    return line;
  });
  const file = stack.fileOf(frame);
  const name = nameOf(frame, located);
  const from = file && !place ? ` from ${file}` : "";
  const pc = `0x${frame.pc.toString(16).padStart(16, "0")}`;
  lines.push(`${mark}${pc} in ${name}${at(place)}${from}${kindNotes[frame.kind](frame)}`);
  return lines;
}

/** Named by what is called there, at the distance of the address that is printed. */
function nameOf({ pc, callSite }: Frame, located: Located | undefined): string {
  if (!located) return "??";
  const past = Number(pc - (callSite ?? pc));
  const { declared, offset } = located;
  const moved = declared && { declared: { ...declared, offset: declared.offset + past } };
  return formatName({ ...located, offset: offset + past, ...moved });
}

function at(place: SourcePlace | undefined): string {
  return place ? ` at ${formatPlace(place)}` : "";
}

/** A stack as JSON has it. */
export function stackFacts(stack: NamedStack) {
  return {
    frames: stack.frames.map((frame) => {
      const located = stack.locate(frame);
      return {
        pc: hex(frame.pc),
        callSite: orNull(frame.callSite),
        sp: orNull(frame.sp),
        cfa: orNull(frame.cfa),
        kind: frame.kind,
        space: frame.space,
        by: frame.by,
        reliable: frame.reliable,
        syscall: frame.syscall ?? null,
        symbol: located ? nameOf(frame, located) : null,
        file: stack.fileOf(frame) ?? null,
        place: located?.place ?? null,
        inlined: located?.inlined?.map(({ name, call }) => ({ name, call: call ?? null })) ?? [],
      };
    }),
    end: stack.end,
    endAddress: orNull(stack.endAddress),
  };
}

function orNull(address: bigint | undefined): string | null {
  return address === undefined ? null : hex(address);
}
