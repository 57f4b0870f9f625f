import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";

/** How a packaging tool ended, and what it printed. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly signal?: AbortSignal | undefined;
  /** The search path, in place of the caller's. */
  readonly path?: string;
}

/** The most bytes that are kept of a tool's output. The description of a package has a few kB. */
const maxOutput = 16 << 20;

/**
 * The environment in which packaging tools run. It has only the caller's search path, home, temporary directory,
 * proxies and `APT_CONFIG`, so that the tools print English and use apt's own configuration of this machine.
 */
export function packagingEnvironment(from: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = ["PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "APT_CONFIG"];
  const environment: NodeJS.ProcessEnv = { LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  for (const name of kept) if (from[name] !== undefined) environment[name] = from[name];
  return environment;
}

/**
 * Runs a packaging tool, without a shell, and waits until it has ended, also when cancelled: its files can be removed
 * afterwards. A non-zero exit is a result, not an error.
 *
 * @throws VmtapeError `missing-tool` when the program is not there, `cancelled` on abort
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const [result] = await runPipeline([[program, args]], options);
  return result!;
}

/**
 * Runs programs with the output of each as the input of the next; the output of the last one is kept. Resolves when
 * all have ended.
 *
 * @throws VmtapeError as `runCommand`
 */
export async function runPipeline(
  stages: readonly (readonly [program: string, args: readonly string[]])[],
  options: CommandOptions = {},
): Promise<CommandResult[]> {
  throwIfAborted(options.signal);
  // Each program has a process group of its own, so that stopping it stops its helpers, such as apt's downloaders,
  // too.
  const common: SpawnOptions = {
    detached: true,
    env: { ...packagingEnvironment(), ...(options.path !== undefined && { PATH: options.path }) },
    ...(options.cwd && { cwd: options.cwd }),
  };
  const children: ChildProcess[] = [];
  const ends: Promise<CommandResult>[] = [];
  for (const [index, [program, args]] of stages.entries()) {
    const child = spawn(program, args, {
      ...common,
      stdio: [index === 0 ? "ignore" : "pipe", "pipe", "pipe"],
    });
    const last = index === stages.length - 1;
    ends.push(finished(child, program, last));
    const before = children.at(-1);
    if (before?.stdout && child.stdin) {
      child.stdin.on("error", () => {}); // the reader ended first: its exit code says why
      before.stdout.pipe(child.stdin);
    }
    children.push(child);
  }
  using _stopped = whenAborted(options.signal, () => {
    for (const child of children) killGroup(child);
  });
  const results = await Promise.allSettled(ends);
  throwIfAborted(options.signal);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/** Advice for a host without apt, since the default guest is made of Debian's packages. */
const withoutApt = "where there is no apt, name a kernel: vmtape record NAME --kernel FILE";

function finished(child: ChildProcess, program: string, keepOutput: boolean): Promise<CommandResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  if (keepOutput) collect(child, "stdout", stdout);
  collect(child, "stderr", stderr);
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      if (errnoOf(error) !== "ENOENT") return reject(fileError(error, program, "running"));
      const mend = program.startsWith("apt") ? withoutApt : `install ${program}`;
      reject(new VmtapeError("missing-tool", `${program} is not installed`, { tool: program, mend }, error));
    });
    child.once("close", (code) => {
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGTERM");
  } catch {
    // it has ended already
  }
}

function collect(child: ChildProcess, stream: "stdout" | "stderr", into: Buffer[]): void {
  let length = 0;
  child[stream]?.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= maxOutput) into.push(chunk);
  });
}

/** The last line that a tool printed to stderr, which usually gives the reason of a failure. */
export function lastLine(result: CommandResult): string {
  return result.stderr.trim().split("\n").at(-1) || `exit code ${result.code}`;
}
