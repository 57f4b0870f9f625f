import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VmtapeError } from "../base/errors.js";
import { guestAddress } from "../base/units.js";
import { BranchBatch } from "../formats/branch.js";
import { BranchChunkDecoder } from "../formats/branch-chunk-decoder.js";
import { chunkHeaderLayout, decodeChunkHeader } from "../formats/branch-log-layout.js";
import { PluginChannel, type PluginEnd, probeArguments, probeChannels } from "../qemu/plugin-channel.js";
import { ProbeChannel } from "../qemu/probe-channel.js";
import { Session } from "../replay/session.js";
import type { Tape } from "../tape/tape.js";
import { type KernelPlaceOptions, kernelPlace } from "./kernel-place.js";
import type { LinuxKernel } from "./linux-kernel.js";
import { type HistoryTask, type SpaceEvent, TaskHistory } from "./task-history.js";
import { TaskProbes } from "./task-probes.js";

export interface TaskHistoryOptions extends KernelPlaceOptions {
  /** The built plugin (`buildPlugin`). */
  readonly plugin: string;
}

const fileName = "tasks";
/** Where Linux itself begins; what runs at low addresses before is not user space. */
const firstFunction = "start_kernel";

/**
 * Which task ran when, of a whole tape: from the cache, or by one replay in which the branch plugin tells each switch,
 * each change of an address space, and each entry to user space and back.
 *
 * Cost: one replay at about 1.3 times its plain duration, once for a tape.
 *
 * @throws VmtapeError `not-found` when the kernel cannot be followed (no BTF), or never runs
 */
export async function taskHistory(
  tape: Tape,
  kernel: LinuxKernel,
  options: TaskHistoryOptions,
): Promise<TaskHistory> {
  const known = await knownHistory(options.cache);
  if (known) return known;
  const history = await makeHistory(tape, kernel, options);
  await keep(options.cache, history);
  return history;
}

/** The history in a tape's cache; undefined when there is none yet. */
export async function knownHistory(cache: string): Promise<TaskHistory | undefined> {
  const bytes = await readFile(join(cache, fileName)).catch(() => undefined);
  return bytes && TaskHistory.decode(bytes);
}

/** A cache that takes nothing costs only time. */
async function keep(cache: string, history: TaskHistory): Promise<void> {
  const path = join(cache, fileName);
  const draft = `${path}.${process.pid}`;
  try {
    await mkdir(cache, { recursive: true });
    await writeFile(draft, history.encode());
    await rename(draft, path);
  } catch {
    await rm(draft, { force: true });
  }
}

async function makeHistory(
  tape: Tape,
  kernel: LinuxKernel,
  options: TaskHistoryOptions,
): Promise<TaskHistory> {
  const { signal, plugin, onProgress, qemu, debug } = options;
  const place = await kernelPlace(tape, kernel.symbols, options);
  if (!place) throw new VmtapeError("not-found", "the tape's Linux kernel never gets to run");
  const probes = new TaskProbes(kernel, place);
  await using session = await Session.create(
    tape,
    {
      ...(qemu && { qemu }),
      ...(debug && { debug }),
      ...(onProgress && { onProgress: (report) => onProgress({ ...report, doing: "following tasks" }) }),
      trusted: true,
      attach: { extra: probeArguments(plugin) },
      channels: probeChannels,
    },
    signal,
  );
  await session.start(undefined, signal);
  const channel = new PluginChannel(session.channels);
  await channel.start();
  const hits = new ProbeChannel(channel, session.channels[2]);
  await probes.setAll(hits);
  const begin = probes.address(firstFunction);
  const linux = begin === undefined ? undefined : guestAddress(begin);
  if (linux !== undefined) {
    await channel.openWindow({ at: "address", address: linux }, { at: "never" }, "user");
  }
  const recorder = new HistoryRecorder(probes);
  const taken = recorder.takeHits(hits);
  const crossed = linux === undefined ? undefined : recorder.takeCrossings(channel);
  for (const stream of [taken, crossed]) stream?.catch(() => {}); // awaited below, or the machine's failure tells why
  await session.runToEnd(signal);
  const closed = linux === undefined ? await channel.where() : await channel.closeWindow();
  await crossed;
  await channel.command("hits"); // all have been sent
  const end = { icount: Number(tape.end.at), brctr: Number(closed.brctr) };
  await session.quit(); // which ends their stream
  await taken;
  return recorder.finish(end, channel.reachedAt("start"));
}

/** Gathers what both streams tell. */
class HistoryRecorder {
  private readonly probes: TaskProbes;
  private readonly icounts: number[] = [];
  private readonly brctrs: number[] = [];
  private readonly numbers: number[] = [];
  private readonly tasks: HistoryTask[] = [];
  private readonly numberOf = new Map<string, number>();
  private readonly spaces: SpaceEvent[] = [];
  private readonly crossings: number[] = [];
  private current: HistoryTask | undefined;

  constructor(probes: TaskProbes) {
    this.probes = probes;
  }

  async takeHits(channel: ProbeChannel): Promise<void> {
    for await (const batch of channel.hits()) {
      for (let i = 0; i < batch.length; i++) {
        const event = this.probes.read(batch, i);
        if (event?.kind === "space") this.spaces.push(event.event);
        // A task that is given a name by another is seen with it when it runs.
        else if (event && (event.kind === "switch" || event.task.address === this.current?.address)) {
          const { icount, brctr } = batch.hit(i);
          this.runs(event.task, Number(icount), Number(brctr ?? 0));
        }
      }
    }
  }

  /** Where user space is entered and left. */
  async takeCrossings(channel: PluginChannel): Promise<PluginEnd> {
    const decoder = new BranchChunkDecoder();
    const batch = new BranchBatch();
    const chunks = channel.chunks();
    for (;;) {
      const { value, done } = await chunks.next();
      if (done) return value;
      const header = decodeChunkHeader(value, "the branch plugin's chunk", 0);
      decoder.start(header, value.subarray(chunkHeaderLayout.size), "the branch plugin's chunk");
      while (decoder.remaining > 0) {
        batch.clear();
        decoder.read(batch);
        this.cross(batch);
      }
    }
  }

  finish(
    end: { icount: number; brctr: number },
    linux: { icount: bigint; brctr: bigint } | undefined,
  ): TaskHistory {
    const before = this.numberFor(beforeLinux);
    const idle = this.numberFor({ ...beforeLinux, pid: 0, tgid: 0, name: "swapper/0" });
    const first = linux ? [Number(linux.icount)] : [];
    return new TaskHistory({
      icounts: Float64Array.from([0, ...first, ...this.icounts]),
      brctrs: Float64Array.from([0, ...(linux ? [Number(linux.brctr)] : []), ...this.brctrs]),
      numbers: Int32Array.from([before, ...(linux ? [idle] : []), ...this.numbers]),
      tasks: this.tasks,
      crossings: Float64Array.from(this.crossings),
      spaces: this.spaces,
      end,
    });
  }

  private cross({ fromWords, toWords, icount, length }: BranchBatch): void {
    const { crossings } = this;
    for (let i = 0; i < length; i++) {
      const fromKernel = fromWords[2 * i + 1]! >>> 31;
      const toKernel = toWords[2 * i + 1]! >>> 31;
      if (fromKernel === toKernel) continue;
      // They take turns: entered at even places, left at odd ones.
      if (crossings.length % 2 === (fromKernel ? 0 : 1)) crossings.push(icount[i]!);
    }
  }

  private runs(task: HistoryTask, icount: number, brctr: number): void {
    this.current = task;
    const number = this.numberFor(task);
    if (this.numbers.at(-1) === number) return;
    this.icounts.push(icount);
    this.brctrs.push(brctr);
    this.numbers.push(number);
  }

  private numberFor(task: HistoryTask): number {
    const key = `${task.address}:${task.pid}:${task.mm}:${task.name}`;
    let number = this.numberOf.get(key);
    if (number === undefined) {
      number = this.tasks.push(task) - 1;
      this.numberOf.set(key, number);
    }
    return number;
  }
}

const beforeLinux: HistoryTask = { pid: -1, tgid: -1, name: "before Linux", address: 0n, mm: 0n };
