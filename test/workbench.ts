import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Places, placesFrom } from "../src/tape/home.js";

/** The built command line. */
export const program = join(dirname(fileURLToPath(import.meta.url)), "../dist/cli/main.js");

/** The cache of the user who runs the tests, so that downloaded guests and built plugins are used again. */
export const sharedCache = placesFrom(process.env).cache;

/**
 * What of that cache a bench's own one shares: what depends on no tape. What is learned of tapes is the bench's, and goes with it.
 */
const commonCaches = ["busybox", "kernels", "pins", "plugins", "resolved", "symbols"];

/** How a child ended, and all it printed. */
export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes for stdin; without it stdin is empty. */
  readonly input?: string | Buffer;
  readonly cwd?: string;
}

/**
 * A place to work in that leaves no trace: a temporary directory with a home, a runtime directory and a cache of its own, in
 * which kernels and plugins are the user's, and every child started here. Disposal ends the children and removes the directory.
 */
export class Workbench implements AsyncDisposable {
  readonly directory: string;
  private readonly children = new Set<Child>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(parent = tmpdir()): Promise<Workbench> {
    const bench = new Workbench(await realpath(await mkdtemp(join(parent, "vmtape-test-"))));
    await mkdir(bench.places.cache, { recursive: true });
    for (const name of commonCaches) {
      await mkdir(join(sharedCache, name), { recursive: true });
      await symlink(join(sharedCache, name), join(bench.places.cache, name));
    }
    return bench;
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  get places(): Places {
    return {
      home: this.path("home"),
      cache: this.path("cache", "vmtape"),
      runtime: this.path("runtime", "vmtape"),
    };
  }

  get environment(): Record<string, string> {
    const { PATH = "", HOME = "", VMTAPE_TEST_QEMU } = process.env;
    return {
      PATH,
      HOME,
      VMTAPE_HOME: this.places.home,
      XDG_CACHE_HOME: this.path("cache"),
      XDG_RUNTIME_DIR: this.path("runtime"),
      ...(VMTAPE_TEST_QEMU !== undefined && { VMTAPE_QEMU: VMTAPE_TEST_QEMU }),
    };
  }

  /** Starts a program here. */
  spawn(command: string, args: readonly string[], options: RunOptions = {}): Child {
    const child = new Child(
      spawn(command, args, {
        cwd: options.cwd ?? this.directory,
        env: { ...this.environment, ...options.env },
        stdio: ["pipe", "pipe", "pipe"],
      }),
    );
    this.children.add(child);
    void child.ended.then(() => this.children.delete(child));
    return child;
  }

  /** Starts vmtape; stdin stays open. */
  start(args: readonly string[], options: RunOptions = {}): Child {
    return this.spawn(process.execPath, [program, ...args], options);
  }

  /** Runs vmtape to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const child = this.start(args, options);
    child.process.stdin?.end(options.input ?? "");
    return child.ended;
  }

  /** Runs vmtape with `--json`, and gives back what it printed; it must end with exit code 0. */
  async json<T = Record<string, never>>(args: readonly string[], options: RunOptions = {}): Promise<T> {
    const { code, stdout, stderr } = await this.run([...args, "--json"], options);
    if (code !== 0) throw new Error(`vmtape ${args.join(" ")} ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** Ids of the running processes whose command line names this directory, QEMUs and others. */
  async processes(part = ""): Promise<number[]> {
    const ids: number[] = [];
    for (const entry of await readdir("/proc")) {
      if (!/^\d+$/.test(entry)) continue;
      const line = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
      if (line.includes(this.directory) && line.includes(part)) ids.push(Number(entry));
    }
    return ids;
  }

  /** What a command has left over that it must not: processes and sockets. Empty when all is well. */
  async leftovers(): Promise<string[]> {
    const sockets = await readdir(this.places.runtime).catch(() => [] as string[]);
    const processes = await this.processes();
    return [...sockets, ...processes.map((id) => `process ${id}`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) child.kill("SIGKILL");
    for (const id of await this.processes()) tryKill(id);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A running program with all it prints. */
export class Child {
  readonly process: ChildProcess;
  readonly ended: Promise<Outcome>;
  stdout = "";
  stderr = "";

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    child.stdin?.on("error", () => {});
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        resolve({ code, signal, stdout: this.stdout, stderr: withoutProgress(this.stderr) });
      });
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  type(text: string): void {
    this.process.stdin?.write(text);
  }

  /** Waits until it has printed this on stdout or stderr. */
  async prints(text: string | RegExp): Promise<void> {
    const seen = () => {
      const all = this.stdout + this.stderr;
      return typeof text === "string" ? all.includes(text) : text.test(all);
    };
    const ended = this.ended.then(() => true);
    await until(async () => seen() || (await Promise.race([ended, delay(0, false)])), `printing ${text}`);
    if (!seen()) throw new Error(`ended without printing ${text}: ${this.stdout}${this.stderr}`);
  }
}

/**
 * Removes progress lines, since on a busy host any work may take long enough to print some. They have the form of
 * `Progress`, as `test/cli/progress.test.ts` proves.
 */
export function withoutProgress(text: string): string {
  return text.replace(
    /^[a-z][\w .+~-]*: (?: *\d+ % {2})?[\d.]+(?: [kMGT])? [a-z]+, [\d.]+(?: [kMGT])?\/s(?:, \d+:\d\d(?: left)?)?\n/gm,
    "",
  );
}

/**
 * Waits for a condition, which is checked every 10 ms. Fails after 5 minutes; nothing takes that long, even on a busy
 * host.
 */
export async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 300_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited 5 minutes for ${what}`);
    await delay(10);
  }
}

function tryKill(id: number): void {
  try {
    process.kill(id, "SIGKILL");
  } catch {
    // it has ended meanwhile
  }
}
