import { VmtapeError } from "../../base/errors.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { parseExpression } from "../../symbols/expression/parser.js";
import type { Node } from "../../symbols/expression/syntax.js";
import { globTest } from "../../symbols/tables/name-search.js";
import { builtin } from "../../symbols/types/builtin.js";
import type { Type } from "../../symbols/types/type.js";
import { type ProbeNames, type ProbeScope, plainScope, probeExpression } from "../pass/probe-names.js";
import { type CallEntry, compatStatus, SyscallPlaces } from "../syscall/places.js";
import { CallShape } from "../syscall/shapes.js";
import type { Syscall, SyscallTable } from "../syscall/syscalls.js";
import { nearestOf } from "./check.js";
import type { ProbeAddress } from "./places.js";

/** `sys_enter:NAME` or `sys_exit:NAME`, NAME a call's or a pattern; undefined for another place. */
export function parseSyscallPlace(
  where: string,
): { readonly isExit: boolean; readonly pattern: string } | undefined {
  const match = /^sys_(enter|exit):(.*)$/.exec(where);
  return match ? { isExit: match[1] === "exit", pattern: match[2]! } : undefined;
}

/**
 * The places of the system calls that a pattern means, where they begin or where they have their results. Arguments are
 * known by the names the kernel declares them with, at their end `$retval`, too.
 *
 * @throws VmtapeError `not-found` with the nearest names, or when the kernel's calls cannot be followed
 */
export function syscallAddresses(
  where: string,
  names: ProbeNames,
  calls: SyscallTable,
  release: string | undefined,
): ProbeAddress[] {
  const { isExit, pattern } = parseSyscallPlace(where)!;
  const fits = globTest(pattern);
  if (!calls.names.some(fits)) {
    const nearest = nearestOf(pattern, calls.names);
    const hint = nearest.length > 0 ? `; there are ${nearest.join(", ")}` : "";
    throw new VmtapeError("not-found", `no system call is named '${pattern}'${hint}`, {
      got: pattern,
      nearest,
    });
  }
  const places = new SyscallPlaces(names, release, calls.exits);
  return distinctEntries(places.entries, isExit).flatMap((entry) => {
    const maker = new PlaceMaker(names, places, entry);
    return [...(entry.isCompat ? calls.compat : calls).values()]
      .filter(({ name }) => fits(name))
      .map((call) => (isExit ? maker.atExit(call) : maker.atEntry(call)));
  });
}

/** Calls of a kind may end at one place. */
function distinctEntries(entries: readonly CallEntry[], isExit: boolean): readonly CallEntry[] {
  if (!isExit) return entries;
  const isFirst = ({ isCompat, exit }: CallEntry, i: number) =>
    entries.findIndex((one) => one.isCompat === isCompat && one.exit.address === exit.address) === i;
  return entries.filter(isFirst);
}

/** Calls that return with other registers than they were made with: what they were given is known at their beginning. */
const replacing: ReadonlySet<string> = new Set(["execve", "execveat"]);

class PlaceMaker {
  private readonly names: ProbeNames;
  private readonly places: SyscallPlaces;
  private readonly entry: CallEntry;

  constructor(names: ProbeNames, places: SyscallPlaces, entry: CallEntry) {
    this.names = names;
    this.places = places;
    this.entry = entry;
  }

  atEntry(call: Syscall): ProbeAddress {
    const { address, pointer, number } = this.entry;
    return { ...this.at(call, address, pointer, number, false), end: this.atExit(call) };
  }

  atExit(call: Syscall): ProbeAddress {
    const { exit } = this.entry;
    const at = this.at(call, exit.address, exit.pointer, "orig_ax", true);
    if (!replacing.has(call.name)) return at;
    const { address, pointer, number } = this.entry;
    return { ...at, begin: this.at(call, address, pointer, number, false) };
  }

  private at(
    call: Syscall,
    address: bigint,
    pointer: string,
    number: CallEntry["number"],
    isExit: boolean,
  ): ProbeAddress {
    const { isCompat } = this.entry;
    const shape = new CallShape(call);
    return {
      address,
      label: call.name,
      scope: this.scope(call, pointer, isExit),
      returns: isExit ? undefined : this.scope(call, this.entry.exit.pointer, true),
      items: [this.places.block(pointer), ...shape.items(this.places.place(pointer, isCompat, isExit))],
      describe: ([block, ...pieces]: readonly HitPiece[]) => {
        const read = this.places.read(block, isCompat, number);
        if (!read) return null;
        const numbers = { arguments: read.arguments, result: isExit ? read.result : undefined };
        return shape.text(numbers, isExit ? [] : pieces, isExit ? pieces : []);
      },
      narrow: this.narrow(call.number, pointer, number, isExit),
    };
  }

  /** Is it this call? At the end a 32-bit one is told by its task's state. */
  private narrow(wanted: number, pointer: string, member: string, isExit: boolean) {
    const number = `(int)((struct pt_regs *)$${pointer})->${member} == ${wanted}`;
    const compat = `(current->thread_info.status & ${compatStatus})`;
    const own = `${compat} ${this.entry.isCompat ? "!=" : "=="} 0`;
    return probeExpression(isExit ? `${number} && ${own}` : number, this.names, plainScope);
  }

  private scope({ name, parameters = [] }: Syscall, pointer: string, isExit: boolean): ProbeScope {
    const { isCompat } = this.entry;
    const members = this.places.members(isCompat);
    const known = parameters.map((parameter) => parameter.name);
    return {
      name,
      names: isExit ? [...known, "$retval"] : known,
      shown: [],
      find: (wanted, column) => {
        if (wanted === "$retval") {
          return isExit ? cast(builtin.long, this.saved("ax", pointer, column), column) : undefined;
        }
        const index = known.indexOf(wanted);
        const member = members[index];
        if (member === undefined) return undefined;
        const word = this.saved(member, pointer, column);
        const narrow = isCompat ? cast(builtin.unsignedInt, word, column) : word;
        return cast(this.typeOf(parameters[index]!.type), narrow, column);
      },
    };
  }

  /** One of the caller's registers. */
  private saved(member: string, pointer: string, column: number): Node {
    const { root } = parseExpression(`((struct pt_regs *)$${pointer})->${member}`, this.names.types);
    return { ...root, column };
  }

  /** A type of a kernel that BTF does not have is an address or a number. */
  private typeOf(text: string): Type {
    try {
      return this.names.types.type(text);
    } catch (error) {
      if (error instanceof VmtapeError) return builtin.unsignedLong;
      throw error;
    }
  }
}

function cast(type: Type, operand: Node, column: number): Node {
  return { kind: "cast", column, type, operand };
}
