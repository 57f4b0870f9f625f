import { join } from "node:path";
import { VmtapeError } from "../../base/errors.js";
import { noLinks, readRegular } from "../../base/regular-file.js";
import { replaceFile } from "../../base/replace-file.js";
import { during } from "../../base/run-context.js";
import { guestAddress } from "../../base/units.js";
import { BranchBatch } from "../../formats/branch.js";
import { BranchChunkDecoder } from "../../formats/branch-chunk-decoder.js";
import { chunkHeaderLayout, decodeChunkHeader } from "../../formats/branch-log-layout.js";
import type { PluginChannel, PluginEnd } from "../../qemu/plugin-channel.js";
import type { ProbeChannel } from "../../qemu/probe-channel.js";
import type { HitBatch } from "../../qemu/probe-hits.js";
import { type HitBatchOptions, hitBatches } from "../../replay/session/hit-batches.js";
import type { KernelPlacement } from "../../symbols/kernel/kaslr.js";
import type { Tape } from "../../tape/tape.js";
import { type KernelPlaceOptions, kernelPlace } from "../guest/kernel-place.js";
import type { LinuxKernel } from "../guest/linux-kernel.js";
import { type HistoryTask, type SpaceEvent, TaskHistory } from "../history/task-history.js";
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
  await keepHistory(options.cache, history);
  return history;
}

/** The history in a tape's cache; undefined when there is none yet. */
export async function knownHistory(cache: string): Promise<TaskHistory | undefined> {
  const bytes = await readRegular(join(cache, fileName), noLinks).catch(() => undefined);
  return bytes && TaskHistory.decode(bytes);
}

/** Keeps a history in a tape's cache. A cache that takes nothing costs only time. */
export async function keepHistory(cache: string, history: TaskHistory): Promise<void> {
  await replaceFile(join(cache, fileName), history.encode()).catch(() => {});
}

async function makeHistory(
  tape: Tape,
  kernel: LinuxKernel,
  options: TaskHistoryOptions,
): Promise<TaskHistory> {
  const place = await kernelPlace(tape, kernel.symbols, options);
  if (!place) throw new VmtapeError("not-found", "the tape's Linux kernel never gets to run");
  const learner = new TaskLearner(kernel, place);
  const batches = hitBatches(tape, {
    ...during(options, "following tasks"),
    plugin: options.plugin,
    ...learner.options,
  });
  for await (const batch of batches) {
    for (let i = 0; i < batch.length; i++) learner.take(batch, i);
  }
  return learner.finish(tape);
}

/**
 * Learns who ran when from a pass over the whole tape, beside whatever else the pass is made for: gives the options the
 * pass needs, and takes the hits that are its own.
 */
export class TaskLearner {
  private readonly probes: TaskProbes;
  private readonly recorder: HistoryRecorder;
  private crossed: Promise<PluginEnd> | undefined;
  private brctr = 0;
  private linux: { readonly icount: bigint; readonly brctr: bigint } | undefined;

  /** @throws VmtapeError `not-found` without BTF */
  constructor(kernel: LinuxKernel, place: KernelPlacement) {
    this.probes = new TaskProbes(kernel, place);
    this.recorder = new HistoryRecorder(this.probes);
  }

  /** For `hitBatches`. Whoever has probes of its own sets them in a `prepare` that calls this one's, too. */
  get options(): Required<Pick<HitBatchOptions, "follow" | "prepare" | "arrived">> {
    return {
      follow: true,
      prepare: (probes, channel) => this.prepare(probes, channel),
      arrived: (channel) => this.arrived(channel),
    };
  }

  /** Says whether hit `i` was one of its own. */
  take(batch: HitBatch, i: number): boolean {
    if (!this.probes.owns(batch.id(i))) return false;
    this.recorder.take(batch, i);
    return true;
  }

  /** Once the pass has come to the tape's end. */
  async finish(tape: Tape): Promise<TaskHistory> {
    await this.crossed;
    return this.recorder.finish({ icount: Number(tape.end.at), brctr: this.brctr }, this.linux);
  }

  private async prepare(probes: ProbeChannel, channel: PluginChannel): Promise<void> {
    await this.probes.setAll(probes);
    const begin = this.probes.address(firstFunction);
    if (begin === undefined) return;
    await channel.openWindow({ at: "address", address: guestAddress(begin) }, { at: "never" }, "user");
    this.crossed = this.recorder.takeCrossings(channel);
    this.crossed.catch(() => {}); // awaited in the end, or the machine's failure tells why
  }

  private async arrived(channel: PluginChannel): Promise<void> {
    const closed = this.crossed ? await channel.closeWindow() : await channel.where();
    this.brctr = Number(closed.brctr);
    this.linux = channel.reachedAt("start");
  }
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

  take(batch: HitBatch, i: number): void {
    const event = this.probes.read(batch, i);
    if (event?.kind === "space") this.spaces.push(event.event);
    // A task that is given a name by another is seen with it when it runs.
    else if (event && (event.kind === "switch" || event.task.address === this.current?.address)) {
      const { icount, brctr } = batch.hit(i);
      this.runs(event.task, Number(icount), Number(brctr ?? 0));
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
