import { VmtapeError } from "../base/errors.js";
import { type GuestAddress, guestAddress, hex } from "../base/units.js";
import type { MemoryRange, MonitorDesk, NamedMark } from "../gdb/monitor-desk.js";
import { comparePositions, type Position } from "../replay/position.js";
import type { Arrival, Instant } from "../replay/timeline-types.js";
import type { OpenTimeline } from "./open-timeline.js";

const lookAgain = "gdb still shows where it was, until: maintenance flush register-cache";
const markName = /^[A-Za-z_][\w.-]{0,99}$|^\d{1,6}$/;

/** What monitor commands need of a tape: names, positions, marks, the past of a byte. */
export class TapeDesk implements MonitorDesk {
  readonly staleHint: string | undefined;
  private readonly open: OpenTimeline;
  private readonly known = new Map<string, Position>();

  /** @param looksAgain the debugger was told to read everything anew after monitor commands */
  constructor(open: OpenTimeline, looksAgain: boolean) {
    this.open = open;
    this.staleHint = looksAgain ? undefined : lookAgain;
  }

  describe(position: Position): string {
    return this.open.describe(position);
  }

  async goTo(text: string, signal?: AbortSignal): Promise<Arrival> {
    const mark = this.known.get(text);
    const instant = mark ? instantOf(mark) : await this.open.locate(text, signal);
    return this.open.timeline.goTo(instant, signal);
  }

  mark(name = this.freeNumber()): NamedMark {
    if (!markName.test(name)) throw new VmtapeError("usage", `'${name.slice(0, 100)}' cannot name a mark`);
    const { position } = this.open.timeline;
    this.known.set(name, position);
    return { name, position };
  }

  private freeNumber(): string {
    let number = 1;
    while (this.known.has(String(number))) number++;
    return String(number);
  }

  marks(): readonly NamedMark[] {
    return [...this.known]
      .map(([name, position]) => ({ name, position }))
      .sort((a, b) => comparePositions(a.position, b.position));
  }

  addressOf(text: string): GuestAddress {
    if (/^(0x[0-9a-f]{1,16}|\d{1,19})$/i.test(text)) return guestAddress(BigInt(text));
    const [, name = text, offset = "0"] = /^(.+)\+(0x[0-9a-f]{1,16}|\d{1,10})$/i.exec(text) ?? [];
    return guestAddress(this.open.symbols.addressOf(name) + BigInt(offset));
  }

  async lastWrite(range: MemoryRange, signal: AbortSignal): Promise<readonly string[]> {
    const { timeline } = this.open;
    const here = timeline.position;
    const point = timeline.addPoint({ kind: "write", ...range });
    try {
      const arrival = await timeline.run("back", signal);
      return this.explain(range, arrival, await this.around(range, arrival));
    } finally {
      timeline.removePoint(point);
      await timeline.goTo(instantOf(here));
    }
  }

  /** The bytes before and after the write. */
  private async around(range: MemoryRange, { why }: Arrival): Promise<[string, string] | undefined> {
    if (why !== "point") return undefined;
    const before = await this.bytes(range);
    await this.open.timeline.stepForward(1);
    return [before, await this.bytes(range)];
  }

  private async bytes({ space, address, length }: MemoryRange): Promise<string> {
    const shown = Math.min(length, 32);
    const bytes =
      space === "virtual"
        ? await this.open.timeline.readMemory(address, shown)
        : await this.open.timeline.readPhysical(address, shown);
    return bytes ? Buffer.from(bytes).toString("hex") : "not mapped";
  }

  private explain(range: MemoryRange, arrival: Arrival, values: [string, string] | undefined): string[] {
    const what = `${hex(range.address)}, ${range.length} bytes (${range.space})`;
    if (arrival.why === "cancelled") return [`interrupted while looking for the last write to ${what}`];
    if (!values) return [`no instruction of the tape wrote ${what} before this position; a device may have`];
    return [
      `${what} was written last by`,
      `  ${this.describe(arrival.position)}`,
      `  old ${values[0]}`,
      `  new ${values[1]}`,
    ];
  }
}

function instantOf({ icount, pc }: Position): Instant {
  return { icount, pc };
}
