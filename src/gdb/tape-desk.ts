import { VmtapeError } from "../base/errors.js";
import type { Stoppable } from "../base/run-context.js";
import { type GuestAddress, hex } from "../base/units.js";
import type { LinuxGuest } from "../linux/guest/linux-guest.js";
import type { TapeInstant } from "../linux/names/tape-instant.js";
import { comparePositions, type Position } from "../replay/session/position.js";
import type { Arrival, Instant } from "../replay/session/timeline-types.js";
import { pastOf } from "../replay/timeline/last-write.js";
import { pastLines } from "../replay/timeline/past-text.js";
import type { MemoryRange, MonitorDesk, NamedMark } from "./monitor-desk.js";

const lookAgain = "gdb still shows where it was, until: maintenance flush register-cache";
const markName = /^[A-Za-z_][\w.-]{0,99}$|^\d{1,6}$/;

/** A timeline, with the names of its tape. */
export interface NamedTimeline extends TapeInstant {
  /** The instant that a written position means. */
  locate(text: string, options?: Stoppable): Promise<Instant>;
  /** A position as text, with the name of its place. */
  describe(position: Position): string;
  /** The address of a text that a user wrote; see {@link MonitorDesk.addressOf}. */
  addressOf(text: string): GuestAddress;
}

/** The desk of a timeline. */
export class TapeDesk implements MonitorDesk {
  readonly staleHint: string | undefined;
  private readonly open: NamedTimeline;
  /** The guest at the instant for which it was last asked, since a debugger reads several files in a row. */
  private seen: { readonly key: string; readonly guest: LinuxGuest } | undefined;

  /** @param looksAgain true when the debugger reads everything anew after monitor commands */
  constructor(open: NamedTimeline, looksAgain: boolean) {
    this.open = open;
    this.staleHint = looksAgain ? undefined : lookAgain;
  }

  describe(position: Position): string {
    return this.open.describe(position);
  }

  async goTo(text: string, signal?: AbortSignal): Promise<Arrival> {
    const mark = this.open.timeline.marks.get(text);
    const instant = mark ? instantOf(mark) : await this.open.locate(text, { signal });
    return this.open.timeline.goTo(instant, signal);
  }

  mark(name = this.freeNumber()): NamedMark {
    if (!markName.test(name)) throw new VmtapeError("usage", `'${name.slice(0, 100)}' cannot name a mark`);
    return { name, position: this.open.timeline.mark(name) };
  }

  private freeNumber(): string {
    let number = 1;
    while (this.open.timeline.marks.has(String(number))) number++;
    return String(number);
  }

  marks(): readonly NamedMark[] {
    return [...this.open.timeline.marks]
      .map(([name, position]) => ({ name, position }))
      .sort((a, b) => comparePositions(a.position, b.position));
  }

  addressOf(text: string): GuestAddress {
    return this.open.addressOf(text);
  }

  async processFile(
    process: number | "current",
    name: "maps" | "cmdline" | "exe" | "cwd" | "auxv",
  ): Promise<Uint8Array | undefined> {
    const [{ linuxOf }, { taskAt, taskByPid }, { currentTask }, { isMissing, readProcessFile }] =
      await Promise.all([
        import("../linux/names/tape-instant.js"),
        import("../linux/objects/task-list.js"),
        import("../linux/guest/current-task.js"),
        import("../linux/objects/process-file.js"),
      ]);
    try {
      const { icount, brctr } = this.open.timeline.position;
      const key = `${icount} ${brctr}`;
      if (this.seen?.key !== key) this.seen = { key, guest: await linuxOf(this.open) };
      const { guest } = this.seen;
      const task =
        process === "current"
          ? await taskAt(guest, await currentTask(guest))
          : await taskByPid(guest, process);
      return await readProcessFile(guest, task, name);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async lastChange(what: string, signal: AbortSignal): Promise<readonly string[]> {
    const [{ findLinux }, { lastChangeOf }, { changeLines, unchanged }] = await Promise.all([
      import("../linux/names/tape-instant.js"),
      import("../linux/context/last-change.js"),
      import("../linux/context/change-text.js"),
    ]);
    const change = await lastChangeOf(this.open, await findLinux(this.open), what, { signal });
    if (!change) throw unchanged(what);
    return changeLines(change, (at) => this.describe(at));
  }

  async lastWrite(range: MemoryRange, signal: AbortSignal): Promise<readonly string[]> {
    return pastLines(await pastOf(this.open.timeline, range, {}, signal), hex(range.address), (at) =>
      this.describe(at),
    );
  }
}

function instantOf({ icount, pc }: Position): Instant {
  return { icount, pc };
}
