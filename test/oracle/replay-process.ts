import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GdbRemote, littleEndian } from "./gdb-remote.js";

/**
 * A plain QEMU that replays a tape, stopped, whose GDB stub and monitor the oracle uses. No code of the project is
 * involved: the argument list is the tape's own `replayCommand`.
 */
export class ReplayProcess implements AsyncDisposable {
  readonly gdb: GdbRemote;
  private readonly child: ChildProcess;
  private readonly monitor: Socket;
  private readonly directory: string;
  private received = "";
  private answer: ((reply: unknown) => void) | undefined;

  private constructor(child: ChildProcess, gdb: GdbRemote, monitor: Socket, directory: string) {
    this.child = child;
    this.gdb = gdb;
    this.monitor = monitor;
    this.directory = directory;
    monitor.setEncoding("utf8").on("data", (text: string) => {
      const lines = (this.received + text).split("\n");
      this.received = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line);
        if ("return" in message || "error" in message) this.answer?.(message);
      }
    });
    monitor.on("error", () => {});
  }

  /** Starts `argv` (program first) paused before its first instruction. */
  static async start(argv: readonly string[]): Promise<ReplayProcess> {
    const directory = await mkdtemp(join(tmpdir(), "vmtape-oracle-"));
    const gdbPath = join(directory, "gdb");
    const monitorPath = join(directory, "qmp");
    const options = ["-S", "-gdb", `unix:${gdbPath},server=on,wait=off`];
    options.push("-qmp", `unix:${monitorPath},server=on,wait=off`);
    // When the oracle is killed, the kernel ends its QEMU.
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...argv, ...options], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    let failed: Error | undefined;
    child.once("error", (error) => {
      failed = error;
    });
    for (let tries = 0; tries < 1000; tries++) {
      await sleep(20);
      if (failed || child.exitCode !== null) break;
      try {
        const gdb = await GdbRemote.connect(gdbPath);
        const monitor = await connected(monitorPath);
        const process = new ReplayProcess(child, gdb, monitor, directory);
        await process.execute("qmp_capabilities");
        return process;
      } catch {
        // its sockets are not there yet
      }
    }
    child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
    throw new Error(`${argv[0]} did not start: ${failed?.message ?? errors.trim()}`);
  }

  /** Runs a QMP command. */
  async execute(command: string, parameters: object = {}): Promise<unknown> {
    const reply = await new Promise<unknown>((resolve, reject) => {
      this.answer = resolve;
      this.monitor.once("close", () => reject(new Error("QEMU closed its monitor")));
      this.monitor.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    });
    this.monitor.removeAllListeners("close");
    const message = reply as { return?: unknown; error?: { desc: string } };
    if (message.error) throw new Error(`QMP ${command}: ${message.error.desc}`);
    return message.return;
  }

  /** The number of instructions executed. */
  async icount(): Promise<number> {
    return ((await this.execute("query-replay")) as { icount: number }).icount;
  }

  /** The instruction pointer. */
  async address(): Promise<bigint> {
    return littleEndian(await this.gdb.request("p10"));
  }

  /** Runs forward to exactly `icount`. */
  async runTo(icount: number): Promise<void> {
    if ((await this.icount()) === icount) return;
    await this.execute("replay-break", { icount });
    await this.gdb.request("c");
    const reached = await this.icount();
    if (reached !== icount) throw new Error(`asked to stop at ${icount}, stopped at ${reached}`);
  }

  /** Runs forward until the instruction at `address` is next. @throws Error when the machine ends before */
  async runToAddress(address: bigint): Promise<void> {
    const point = `${address.toString(16)},1`;
    await this.gdb.request(`Z0,${point}`);
    const reply = await this.gdb.request("c");
    if (!reply.startsWith("T05")) throw new Error(`0x${address.toString(16)} is never reached: ${reply}`);
    await this.gdb.request(`z0,${point}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gdb.close();
    this.monitor.destroy();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const closed = new Promise((resolve) => this.child.once("close", resolve));
      this.child.kill("SIGKILL");
      await closed;
    }
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}
