import type { Socket } from "node:net";
import { ByteReader } from "../base/bytes.js";
import { VmtapeError } from "../base/errors.js";
import {
  type Brctr,
  brctr,
  type GuestAddress,
  guestAddress,
  hex,
  type Icount,
  icount,
} from "../base/units.js";
import { chunkHeaderLayout, chunkMagic } from "../formats/branch-log-layout.js";
import {
  longestStreamPayload,
  streamEndLayout,
  streamEndMagic,
  streamEndReasons,
} from "../formats/plugin-stream.js";
import { firstChannelFd } from "./process.js";

/** How many socket pairs a QEMU with the branch plugin inherits: data, control. */
export const pluginChannels = 2;

/** As {@link pluginChannels}, with a {@link ProbeChannel}: data, control, hits. */
export const probeChannels = 3;

/** QEMU's options that load the branch plugin on the first two channels. */
export function pluginArguments(plugin: string): string[] {
  return ["-plugin", `${plugin},data=${firstChannelFd},control=${firstChannelFd + 1}`];
}

/**
 * As {@link pluginArguments}, with hits of probes on the third channel.
 *
 * @param options.follow `false`: branches are neither followed nor counted, so that a run costs no more than a plain
 *   replay. Icounts are exact then, but brctrs are unknown (0 in a {@link PluginPosition}). Default `true`.
 */
export function probeArguments(plugin: string, options: { readonly follow?: boolean } = {}): string[] {
  const [option, value] = pluginArguments(plugin);
  const follow = options.follow === false ? ",follow=off" : "";
  return [option!, `${value},probes=${firstChannelFd + 2}${follow}`];
}

/**
 * An instant at which logging begins or ends. Of a visit, `rep` is the number of iterations done of a `rep`
 * instruction.
 */
export type PluginPoint =
  | { readonly at: "now" | "never" }
  | { readonly at: "icount"; readonly icount: Icount }
  | { readonly at: "brctr"; readonly brctr: Brctr }
  | { readonly at: "address"; readonly address: GuestAddress }
  | { readonly at: "visit"; readonly address: GuestAddress; readonly brctr: Brctr; readonly rep: bigint };

/** Which records are logged. */
export type PluginSelection = "all" | "user" | "kernel" | "none";

/** Counts at an instant. */
export interface PluginCounts {
  readonly icount: Icount;
  readonly brctr: Brctr;
}

/** An instant. `pc` is undefined where the plugin does not know it. */
export interface PluginPosition extends PluginCounts {
  readonly pc: GuestAddress | undefined;
  /** Iterations done of the `rep` instruction at `pc`; 0 at any other. */
  readonly rep: bigint;
  /**
   * How many of the records are deliveries (interrupts, faults) at this icount. A machine may stop before or after
   * them. The first instant of the icount is before them: its brctr is `brctr - delivered`, its address `origin`.
   */
  readonly delivered: bigint;
  /** The address of the next instruction before the deliveries; undefined when there were none. */
  readonly origin: GuestAddress | undefined;
  /** Iterations done of the `rep` instruction at `origin`. */
  readonly originRep: bigint;
}

/** Stretches of first visits (docs/FORMATS.md, "First visits"). */
export interface PluginFirstVisits {
  readonly bytes: Uint8Array;
  /** From the first request for them up to this icount no first visit is missing. */
  readonly to: Icount;
  /** There were too many, and no more are noted. */
  readonly isFull: boolean;
}

/** How often an address was visited that a window waited for, and the visits nearest to the wanted one. */
export interface PluginVisits {
  readonly count: bigint;
  readonly before: PluginCounts | undefined;
  readonly after: PluginCounts | undefined;
}

/** The end marker of the stream of records. */
export interface PluginEnd {
  readonly reason: NonNullable<(typeof streamEndReasons)[number]>;
  readonly brctr: Brctr;
  readonly icount: Icount;
  /** Records logged. */
  readonly records: bigint;
}

/** The fields of an answer, unchecked. */
export type PluginAnswer = Readonly<Record<string, unknown>>;

interface Answer {
  readonly answer?: string;
  readonly error?: string;
  readonly event?: string;
  readonly [field: string]: unknown;
}

/**
 * Speaks to the branch plugin of one QEMU. Commands and answers are lines (plugin/README.md); records arrive as
 * chunks, which a branch log contains byte for byte. For all commands the machine must be stopped.
 */
export class PluginChannel {
  private readonly data: Socket;
  private readonly control: Socket;
  private readonly waiting: { resolve(answer: Answer): void; reject(error: unknown): void }[] = [];
  private readonly reached = new Map<"start" | "end", PluginPosition>();
  private readonly visited = new Map<string, PluginVisits>();
  private readonly onReached = new Set<(which: "start" | "end", at: PluginPosition) => void>();
  private readonly firsts: Uint8Array[] = [];
  private onMark: ((at: PluginCounts) => void) | undefined;
  private lost: VmtapeError | undefined;
  private markClosed: () => void = () => {};
  /** Resolves when QEMU has closed its end; all events have arrived by then. */
  readonly closed = new Promise<void>((resolve) => {
    this.markClosed = resolve;
  });

  /** @param channels our ends of the pairs, in order: data, control */
  constructor(channels: readonly Socket[]) {
    const [data, control] = channels;
    if (!data || !control)
      throw new VmtapeError("usage", "this QEMU was not started with channels for the plugin");
    this.data = data;
    this.control = control;
    let pending = "";
    control.setEncoding("utf8").on("data", (text: string) => {
      const lines = (pending + text).split("\n");
      pending = lines.pop()!;
      for (const line of lines) this.receive(line);
    });
    control.on("close", () => this.lose());
    control.on("end", () => this.lose());
  }

  /**
   * Tells the plugin where the run begins: before the first instruction, or at a checkpoint with brctr `at` and, when
   * the next instruction is a `rep` one, `rep` of its iterations done. Must be called once, before the machine runs.
   */
  async start(at: Brctr = brctr(0), rep = 0n): Promise<PluginPosition> {
    return readPosition(await this.ask(`start ${at} ${rep}`));
  }

  /**
   * The counts of the stopped machine. QEMU is ended with an error when the plugin's count of instructions differs
   * from QEMU's own.
   */
  async where(): Promise<PluginPosition> {
    return readPosition(await this.ask("where"));
  }

  /** Logs the records between two instants; they come out of {@link chunks}. */
  async openWindow(start: PluginPoint, end: PluginPoint, selection: PluginSelection = "all"): Promise<void> {
    await this.ask(`window ${pointText(start)} ${pointText(end)} ${selection}`);
  }

  /** Ends the window where the stopped machine is. */
  async closeWindow(): Promise<PluginPosition> {
    return readPosition(await this.ask("close"));
  }

  /** The position where the window's start or end was reached; undefined until it is known to have been. */
  reachedAt(which: "start" | "end"): PluginPosition | undefined {
    return this.reached.get(which);
  }

  /**
   * As {@link reachedAt}, but waits until it is known, since records and events arrive over two sockets in any order.
   * Undefined when QEMU ends before.
   */
  whenReached(which: "start" | "end"): Promise<PluginPosition | undefined> {
    const known = this.reached.get(which);
    if (known || this.lost) return Promise.resolve(known);
    return new Promise((resolve) => {
      const unlisten = this.listen((what, at) => {
        if (what === which) settle(at);
      });
      const settle = (at: PluginPosition | undefined) => {
        unlisten();
        resolve(at);
      };
      void this.closed.then(() => settle(this.reached.get(which)));
    });
  }

  /**
   * From now on, reports the counts about every `every` instructions while the machine runs. This costs nothing,
   * because the plugin chooses the instants: the next ones at which it has control anyway.
   *
   * @param listener called with the counts before any delivery at the icount, in rising order
   */
  async marks(every: bigint, listener: (at: PluginCounts) => void): Promise<void> {
    this.onMark = listener;
    await this.ask(`marks ${every}`);
  }

  /** The first visits since the last call. The first call makes the plugin note them. */
  async firstVisits(): Promise<PluginFirstVisits> {
    const answer = await this.ask("first-visits");
    const pieces = this.firsts.splice(0);
    return {
      bytes: Buffer.concat(pieces),
      to: icount(BigInt(String(answer.completeTo))),
      isFull: answer.full === true,
    };
  }

  /** Calls `listener` when the window's start or end is reached. The function that is returned ends that. */
  listen(listener: (which: "start" | "end", at: PluginPosition) => void): () => void {
    this.onReached.add(listener);
    return () => this.onReached.delete(listener);
  }

  /** The visits to the address of the window's start or end; known once QEMU has exited. */
  visits(of: "start" | "end"): PluginVisits | undefined {
    return this.visited.get(of);
  }

  /**
   * Yields the window's chunks as they come, each with header and payload; returns the end marker. While the caller
   * is busy, the guest is held up, so that nothing is lost.
   *
   * @throws `qemu-failed` when the stream breaks off, `inexact` when the plugin met a transfer it cannot explain
   */
  async *chunks(): AsyncGenerator<Uint8Array, PluginEnd> {
    const reader = new StreamReader(this.data);
    for (;;) {
      const header = await reader.take(chunkHeaderLayout.size);
      const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
      const magic = view.getUint32(0, true);
      if (magic === streamEndMagic) return readEnd(header);
      const payload =
        view.getUint32(chunkHeaderLayout.eventsBytes, true) +
        view.getUint32(chunkHeaderLayout.blocksBytes, true);
      if (magic !== chunkMagic || payload > longestStreamPayload) {
        throw new VmtapeError("protocol-error", "the branch plugin sent something that is no chunk", {
          got: hex(magic),
        });
      }
      yield Buffer.concat([header, await reader.take(payload)]);
    }
  }

  /**
   * Sends a command line of plugin/README.md, for commands that this class does not have.
   *
   * @throws `usage` when the plugin refuses it, `qemu-failed` when QEMU has ended
   */
  command(line: string): Promise<PluginAnswer> {
    return this.ask(line);
  }

  private ask(command: string): Promise<Answer> {
    if (this.lost) return Promise.reject(this.lost);
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.control.write(`${command}\n`);
    });
  }

  private receive(line: string): void {
    let message: Answer;
    try {
      message = JSON.parse(line) as Answer;
    } catch {
      this.lose(
        new VmtapeError("protocol-error", "the branch plugin sent a line that is no JSON", { got: line }),
      );
      return;
    }
    if (message.event !== undefined) {
      this.note(message);
      return;
    }
    const waiting = this.waiting.shift();
    if (message.error === undefined) waiting?.resolve(message);
    else waiting?.reject(new VmtapeError("usage", `the branch plugin refused: ${message.error}`));
  }

  private note(message: Answer): void {
    if (message.event === "visits") {
      const { of, count, before, after } = message as {
        of?: string;
        count?: number;
        before?: Answer;
        after?: Answer;
      };
      this.visited.set(String(of), {
        count: BigInt(count ?? 0),
        before: before && readCounts(before),
        after: after && readCounts(after),
      });
    }
    if (message.event === "first-visits") this.firsts.push(Buffer.from(String(message.bytes), "hex"));
    if (message.event === "mark") this.onMark?.(readCounts(message));
    if (message.event !== "start" && message.event !== "end") return;
    const at = readPosition(message);
    this.reached.set(message.event, at);
    for (const listener of [...this.onReached]) listener(message.event, at);
  }

  private lose(error = new VmtapeError("qemu-failed", "QEMU went away with the branch plugin")): void {
    this.lost ??= error;
    this.markClosed();
    for (const waiting of this.waiting.splice(0)) waiting.reject(this.lost);
  }
}

/** Reads pieces of known length from a byte stream. */
class StreamReader {
  private readonly source: AsyncIterator<Buffer>;
  private held: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.source = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  async take(length: number): Promise<Uint8Array> {
    const pieces = [this.held];
    let have = this.held.length;
    while (have < length) {
      const { value, done } = await this.source
        .next()
        .catch(() => ({ value: undefined, done: true as const }));
      if (done || !value) throw new VmtapeError("qemu-failed", "the branch stream broke off before its end");
      pieces.push(value);
      have += value.length;
    }
    const all = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    this.held = all.subarray(length);
    return all.subarray(0, length);
  }
}

function readEnd(bytes: Uint8Array): PluginEnd {
  const reader = new ByteReader(bytes, "the branch stream's end");
  reader.seek(streamEndLayout.reason);
  const reason = streamEndReasons[reader.u32()] ?? "run";
  const end = { reason, brctr: brctr(reader.u64()), icount: icount(reader.u64()), records: reader.u64() };
  const unexplained = reader.u64();
  if (unexplained > 0n) {
    throw new VmtapeError(
      "inexact",
      `the branch plugin met ${unexplained} transfers it cannot explain: the log is not exact`,
    );
  }
  return end;
}

function readCounts(message: Answer): PluginCounts {
  return {
    icount: icount(BigInt(String(message.icount))),
    brctr: brctr(BigInt(String(message.brctr))),
  };
}

function readPosition(message: Answer): PluginPosition {
  const number = (field: string) => BigInt(String(message[field] ?? 0));
  const pc = number("pc");
  return {
    ...readCounts(message),
    pc: pc === 0n ? undefined : guestAddress(pc),
    rep: number("rep"),
    delivered: number("delivered"),
    origin: message.origin === undefined ? undefined : guestAddress(number("origin")),
    originRep: number("originRep"),
  };
}

function pointText(point: PluginPoint): string {
  switch (point.at) {
    case "icount":
      return `icount:${point.icount}`;
    case "brctr":
      return `brctr:${point.brctr}`;
    case "address":
      return `address:${hex(point.address)}`;
    case "visit":
      return `visit:${hex(point.address)}:${point.brctr}:${point.rep}`;
    default:
      return point.at;
  }
}
