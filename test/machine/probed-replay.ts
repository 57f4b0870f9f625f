import { connectMonitor } from "../../src/qemu/connect.js";
import { GdbStub } from "../../src/qemu/gdb-stub.js";
import { PluginChannel, probeArguments, probeChannels } from "../../src/qemu/plugin-channel.js";
import { ProbeChannel } from "../../src/qemu/probe-channel.js";
import type { ProbeHit } from "../../src/qemu/probe-hits.js";
import { firstChannelFd, monitorFd, QemuProcess } from "../../src/qemu/process.js";
import type { Qmp } from "../../src/qemu/qmp.js";

/** A hit with what was collected. */
export interface CollectedHit extends ProbeHit {
  readonly pieces: readonly Buffer[];
}

/** A replaying QEMU with probes, started from a plain command line, and stopped before its first instruction. */
export class ProbedReplay implements AsyncDisposable {
  private readonly qemu: QemuProcess;
  readonly qmp: Qmp;
  readonly plugin: PluginChannel;
  readonly probes: ProbeChannel;
  readonly stub: GdbStub | undefined;
  private readonly seen: CollectedHit[] = [];
  private keeping = true;
  private counted = 0;

  private constructor(qemu: QemuProcess, qmp: Qmp, plugin: PluginChannel, stub: GdbStub | undefined) {
    this.qemu = qemu;
    this.qmp = qmp;
    this.plugin = plugin;
    this.probes = new ProbeChannel(plugin, qemu.channels[2]);
    this.stub = stub;
    void this.read();
  }

  static async start(
    argv: readonly string[],
    plugin: string,
    options: { readonly follow?: boolean; readonly stub?: boolean } = {},
  ): Promise<ProbedReplay> {
    const [program, ...args] = argv;
    args.push("-S", "-no-shutdown", "-chardev", `socket,fd=${monitorFd},id=test-monitor`);
    args.push("-mon", "chardev=test-monitor,mode=control", ...probeArguments(plugin, options));
    const stubFd = firstChannelFd + probeChannels;
    if (options.stub) args.push("-chardev", `socket,fd=${stubFd},id=test-stub`, "-gdb", "chardev:test-stub");
    const channels = probeChannels + (options.stub ? 1 : 0);
    const qemu = await QemuProcess.start(program!, args, { deathSignal: "KILL", channels });
    const qmp = await connectMonitor(qemu);
    const channel = new PluginChannel(qemu.channels);
    await channel.start();
    const stub = options.stub ? await GdbStub.connect(qemu.channels[probeChannels]!) : undefined;
    return new ProbedReplay(qemu, qmp, channel, stub);
  }

  /** Runs until the machine stops: at `icount`, at a probe, or at its end. Returns the hits on the way. */
  async run(icount?: number): Promise<CollectedHit[]> {
    await this.advance(icount);
    await this.probes.settled();
    return this.seen.splice(0);
  }

  /** As {@link run}, but only counts the hits, for benches. */
  async count(icount?: number): Promise<number> {
    this.keeping = false;
    const before = this.counted;
    await this.advance(icount);
    await this.probes.settled();
    this.keeping = true;
    return this.counted - before;
  }

  private async advance(icount?: number): Promise<void> {
    if (icount !== undefined) await this.qmp.execute("replay-break", { icount });
    const stopped = new Promise<void>((resolve, reject) => {
      this.qmp.onEvent(({ event }) => {
        if (event === "STOP") resolve();
      });
      void this.qemu.ended.then(() => reject(new Error(`QEMU ended: ${this.qemu.errorOutput}`)));
    });
    stopped.catch(() => {});
    await this.qmp.execute("cont");
    // An idle guest's replay goes on only when QEMU is asked something.
    const asking = setInterval(() => void this.qmp.execute("query-status").catch(() => {}), 5);
    await stopped.finally(() => clearInterval(asking));
  }

  /** Keeps the hits as they come. */
  private async read(): Promise<void> {
    for await (const batch of this.probes.hits()) {
      this.counted += batch.length;
      if (!this.keeping) continue;
      for (let i = 0; i < batch.length; i++) {
        this.seen.push({ ...batch.hit(i), pieces: batch.pieces(i).map(({ bytes }) => Buffer.from(bytes)) });
      }
    }
  }

  async icount(): Promise<number> {
    return ((await this.qmp.execute("query-replay")) as { icount: number }).icount;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.qemu[Symbol.asyncDispose]();
  }
}
