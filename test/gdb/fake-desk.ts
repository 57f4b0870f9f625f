import { VmtapeError } from "../../src/base/errors.js";
import { guestAddress, hex, icount } from "../../src/base/units.js";
import type { MemoryRange, MonitorDesk, NamedMark } from "../../src/gdb/monitor-desk.js";
import { formatPosition, type Position } from "../../src/replay/position.js";
import type { Arrival } from "../../src/replay/timeline-types.js";
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

  async lastWrite({ space, address, length }: MemoryRange): Promise<string[]> {
    return [`${space} ${hex(address)}, ${length} bytes`];
  }
}
