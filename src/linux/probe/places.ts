import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import type { Expression } from "../../symbols/expression/syntax.js";
import { constant, register } from "../pass/collect-code.js";
import {
  entryScope,
  type ProbeNames,
  type ProbeScope,
  plainScope,
  returnScope,
} from "../pass/probe-names.js";
import { nearestOf } from "./check.js";

/** One address that a probe watches. */
export interface ProbeAddress {
  readonly address: bigint;
  /** What is there: a function's name, a line, a system call. */
  readonly label: string;
  /** What names mean there. */
  readonly scope: ProbeScope;
  /** What they mean where the function has returned; undefined where nothing returns. */
  readonly returns: ProbeScope | undefined;
  /** What is collected for {@link describe}. */
  readonly items: readonly ProbeItem[];
  /** What the event is by itself, from what was collected; null for one that is not meant. */
  describe(pieces: readonly HitPiece[]): string | undefined | null;
  /** Only where this is not zero, whatever else is asked. */
  readonly narrow?: Expression;
  /** Where it returns to, when that is one place for all its calls: a system call's. */
  readonly end?: ProbeAddress;
  /** Where it began, of a call's end that has lost what it was given. */
  readonly begin?: ProbeAddress;
  /** Only where this file is mapped at the address: another program may lie there another time. */
  readonly program?: ProbedProgram;
}

/** The program a place is of. */
export interface ProbedProgram {
  readonly path: string;
  readonly inode: bigint;
  /** It is nowhere before this icount. */
  readonly since: number;
  /** Is it where a function begins? */
  readonly isEntry: boolean;
  /** Does its debug information tell of types and variables? */
  readonly hasDebug: boolean;
}

/** Is it something that happens, not a place that has a name? */
export function isEvent(where: string): boolean {
  return Object.hasOwn(events, where) || /^(task|sys_enter|sys_exit):/.test(where);
}

/** A glob that means more places than this means too many. */
const mostPlaces = 2000;

/**
 * The addresses that WHERE means: a symbol, a pattern of symbols, FILE:LINE, an address, or one of the events `task:fork`,
 * `task:exec`, `task:exit`, `task:switch`, `irq`, `page-fault`, which are places in the kernel. System calls are told by
 * `syscallAddresses`.
 *
 * @throws VmtapeError `not-found` with the nearest names; `limit-exceeded`
 */
export function probePlaces(where: string, names: ProbeNames): ProbeAddress[] {
  const event = Object.hasOwn(events, where) ? events[where] : undefined;
  if (event) return event(names);
  if (/^0x[0-9a-f]{1,16}$/i.test(where)) return [plainPlace(BigInt(where), where, names)];
  if (/^task:/.test(where)) {
    throw new VmtapeError(
      "not-found",
      `'${where}' is no event; there are ${Object.keys(events).join(", ")}`,
      {
        got: where,
      },
    );
  }
  const found = names.symbols.resolve(where);
  if (found.length === 0) {
    const nearest = [...nearestOf(where, Object.keys(events)), ...names.symbols.nearestNames(where, 5)];
    const hint = nearest.length > 0 ? `; there are ${nearest.join(", ")}` : "";
    throw new VmtapeError("not-found", `nothing is named '${where}'${hint}`, { got: where, nearest });
  }
  const isPattern = found.length > 1 && /[*?[]/.test(where);
  const code = found.filter((one) => !("kind" in one) || /^[tTwWi]$/.test(String(one.kind)));
  const places = (isPattern ? code : found).map((one) =>
    plainPlace(one.address, "name" in one ? String(one.name) : where, names),
  );
  const distinct = [...new Map(places.map((place) => [place.address, place])).values()];
  if (distinct.length > mostPlaces) {
    throw new VmtapeError(
      "limit-exceeded",
      `'${where}' means ${distinct.length} places, more than ${mostPlaces}`,
      {
        limit: mostPlaces,
      },
    );
  }
  return distinct;
}

function plainPlace(address: bigint, label: string, names: ProbeNames): ProbeAddress {
  return { ...scopesOf(label, names), address, label, items: [], describe: () => undefined };
}

/** A function without a known prototype may be asked for its returns all the same. */
function scopesOf(label: string, { types }: ProbeNames): Pick<ProbeAddress, "scope" | "returns"> {
  const type = types.findFunction(label);
  if (type) return { scope: entryScope(label, type), returns: returnScope(label, type) };
  return { scope: plainScope, returns: plainScope };
}

type Event = (names: ProbeNames) => ProbeAddress[];

const commBytes = 16;

/** Events, as calls of kernel functions with what matters in their arguments. */
const events: Readonly<Record<string, Event>> = {
  "task:switch": (names) => [
    at(
      names,
      "__switch_to",
      [...taskItems(names, "rdi"), ...taskItems(names, "rsi")],
      (pieces) => `${taskText(pieces)} -> ${taskText(pieces.slice(2))}`,
    ),
  ],
  "task:fork": (names) => [
    at(names, "wake_up_new_task", taskItems(names, "rdi"), (pieces) => `new ${taskText(pieces)}`),
  ],
  "task:exec": (names) => [
    at(names, "begin_new_exec", [text(pointerAt(names, "linux_binprm", "filename"))], ([name]) =>
      name && name.state !== "unreadable" ? JSON.stringify(string(name)) : undefined,
    ),
  ],
  "task:exit": (names) => [
    at(names, "do_exit", [{ collect: "some-registers", names: ["rdi"] }], ([code]) => exitText(word(code))),
  ],
  irq: (names) =>
    names.symbols
      .glob("sysvec_*")
      .map(({ name }) => name)
      .concat("common_interrupt")
      .map((name) =>
        at(names, name, [{ collect: "some-registers", names: ["rsi"] }], ([vector]) =>
          name === "common_interrupt"
            ? `vector ${(word(vector) ?? 0n) & 0xffn}`
            : name.replace("sysvec_", ""),
        ),
      ),
  "page-fault": (names) => [
    at(
      names,
      "exc_page_fault",
      [
        { collect: "some-registers", names: ["rsi"] },
        { collect: "some-registers", names: ["cr2"] },
        savedPc(names),
      ],
      ([error, address, pc]) => faultText(word(error) ?? 0n, word(address) ?? 0n, word(pc)),
    ),
  ],
};

function at(
  names: ProbeNames,
  symbol: string,
  items: readonly ProbeItem[],
  describe: ProbeAddress["describe"],
): ProbeAddress {
  const address = names.address(symbol);
  if (address === undefined) {
    throw new VmtapeError("not-found", `the kernel has no symbol '${symbol}', where this event is`, {
      got: symbol,
    });
  }
  // What it is called with is told already.
  const scopes = scopesOf(symbol, names);
  return { ...scopes, scope: { ...scopes.scope, shown: [] }, address, label: symbol, items, describe };
}

function taskItems({ types }: ProbeNames, pointer: string): ProbeItem[] {
  const type = types.struct("task_struct");
  const member = (name: string) => register(pointer).plus(type.member(name).byteOffset).bytes;
  return [
    { collect: "memory", address: member("pid"), length: constant(4).bytes, most: 4 },
    { collect: "text", address: member("comm"), most: commBytes },
  ];
}

function pointerAt({ types }: ProbeNames, struct: string, member: string): Uint8Array {
  return register("rdi").plus(types.struct(struct).member(member).byteOffset).follow().bytes;
}

function text(address: Uint8Array): ProbeItem {
  return { collect: "text", address, most: 255 };
}

function savedPc({ types }: ProbeNames): ProbeItem {
  const offset = types.struct("pt_regs").member("ip").byteOffset;
  const address = register("rdi").plus(offset).bytes;
  return { collect: "memory", address, length: constant(8).bytes, most: 8 };
}

function taskText([pid, name]: readonly HitPiece[]): string {
  return `${pid?.bytes.length === 4 ? new DataView(pid.bytes.buffer, pid.bytes.byteOffset).getInt32(0, true) : "?"} ${name ? string(name) : "?"}`;
}

/** As wait(2) gives it: a status, or a signal. */
function exitText(code = 0n): string {
  const signal = Number(code & 0x7fn);
  return signal === 0 ? `status ${(code >> 8n) & 0xffn}` : `signal ${signal}`;
}

/** Source: Intel SDM, volume 3, section 4.7. */
function faultText(error: bigint, address: bigint, pc: bigint | undefined): string {
  const what = error & 16n ? "fetch" : error & 2n ? "write" : "read";
  const why = error & 1n ? "not allowed" : "not mapped";
  const who = error & 4n ? "user" : "kernel";
  return `${what} of ${hex(address)} by the ${who}${pc === undefined ? "" : ` at ${hex(pc)}`}: ${why}`;
}

function string({ bytes }: HitPiece): string {
  return Buffer.from(bytes).toString("utf8");
}

function word(piece: HitPiece | undefined): bigint | undefined {
  if (!piece || piece.bytes.length < 8) return undefined;
  return new DataView(piece.bytes.buffer, piece.bytes.byteOffset, 8).getBigUint64(0, true);
}
