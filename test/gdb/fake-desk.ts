import { VmtapeError } from "../../src/base/errors.js";
import { guestAddress, hex, icount } from "../../src/base/units.js";
import type { MemoryRange, MonitorDesk, NamedMark } from "../../src/gdb/monitor-desk.js";
import { formatPosition, type Position } from "../../src/replay/session/position.js";
import type { Arrival } from "../../src/replay/session/timeline-types.js";
import type { FakeTarget } from "./fake-target.js";

export class FakeDesk implements MonitorDesk {
  readonly staleHint = "the debugger still shows where it was: maintenance flush register-cache";
  private readonly known: NamedMark[] = [];
  constructor(private readonly target: FakeTarget) {}

  describe(position: Position): string {
    return formatPosition(position, "place");
  }

  goTo(text: string): Promise<Arrival> {
    const [, digits] = /^@(\d+)$/.exec(text) ?? [];
    if (digits === undefined) throw new VmtapeError("not-found", `no symbol is named '${text}'`);
    return this.target.goTo({ icount: icount(BigInt(digits)) });
  }

  mark(name = String(this.known.length + 1)): NamedMark {
    const mark = { name, position: this.target.position };
    this.known.push(mark);
    return mark;
  }

  marks(): readonly NamedMark[] {
    return this.known;
  }

  addressOf(text: string) {
    if (!/^0x/.test(text)) throw new VmtapeError("not-found", `no symbol is named '${text}'`);
    return guestAddress(BigInt(text));
  }

  async processFile(process: number | "current", name: string): Promise<Uint8Array | undefined> {
    if (process !== "current" && process !== 1) return undefined;
    if (name === "auxv") {
      const words = [6n, 4096n, 9n, 0x401000n, 0n, 0n];
      return Buffer.from(new BigUint64Array(words).buffer);
    }
    const program = process === 1 ? "/sbin/init" : "/bin/cat";
    if (name === "exe") return Buffer.from(program);
    if (name === "cwd") return Buffer.from("/");
    if (name === "cmdline") return Buffer.from(`${program}\0`);
    return Buffer.from(`00400000-00401000 r-xp 00000000 00:02 7    ${program}\n`);
  }

  async lastChange(what: string): Promise<readonly string[]> {
    return [`${what}: 0x1 -> 0x2`, "  @1"];
  }

  async lastWrite({ space, address, length }: MemoryRange): Promise<string[]> {
    return [`${space} ${hex(address)}, ${length} bytes`];
  }
}
