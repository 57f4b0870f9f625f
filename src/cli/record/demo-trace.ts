import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pc from "picocolors";
import { TapeSymbols } from "../../linux/names/tape-symbols.js";
import type { PluginPoint } from "../../qemu/plugin-channel.js";
import { tapeCache } from "../../replay/session/tape-cache.js";
import type { Places } from "../../tape/home.js";
import type { Tape } from "../../tape/tape.js";
import { batchesOf } from "../../trace/batches.js";
import { formatCall } from "../../trace/call-text.js";
import { CallTracker } from "../../trace/calls.js";
import { openBranches } from "../../trace/open-branches.js";
import { traceWindow } from "../../trace/segments.js";
import { grouped, say, sayStyled } from "../shell/output.js";
import type { Progress } from "../shell/progress.js";

/**
 * A system call that the guest's workload makes, and functions through which it returns to user space; the second is
 * for Linux 6.16 and later.
 */
const systemCall = "__x64_sys_pipe2";
const waysBack = ["syscall_exit_to_user_mode", "fpregs_assert_state_consistent"];
const shownLines = 48;

/** Traces the guest's first `pipe2` and prints its call tree. */
export async function traceSystemCall(
  places: Places,
  tape: Tape,
  options: { readonly plugin: string; readonly qemu: readonly string[]; readonly signal: AbortSignal },
  progress: Progress,
): Promise<void> {
  const cache = tapeCache(places, tape);
  const common = { cache, qemu: options.qemu, onProgress: progress.sink, signal: options.signal };
  const symbols = await TapeSymbols.load(tape, common);
  const wayBack = waysBack.find((name) => symbols.symbols.find(name).length > 0) ?? waysBack[0]!;
  const directory = await mkdtemp(join(tmpdir(), "vmtape-demo-"));
  try {
    const output = join(directory, "pipe2.branches");
    const trace = await traceWindow(
      tape,
      { start: place(symbols, systemCall), end: place(symbols, wayBack) },
      { ...common, plugin: options.plugin, output, jobs: 1, atEnd: (session) => symbols.seeModules(session) },
    );
    progress[Symbol.dispose]();
    const { start, end, records } = trace;
    sayStyled(pc.dim(`vmtape trace ${tape.name} ${systemCall} ${wayBack}`));
    say(
      `${grouped(records)} branches in ${grouped(end.icount - start.icount)} instructions from @${start.icount}:\n`,
    );
    const lines = await callTree(output, symbols);
    for (const line of lines.slice(0, shownLines)) say(line);
    if (lines.length > shownLines) sayStyled(pc.dim(`… and ${lines.length - shownLines} more lines`));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function place(symbols: TapeSymbols, name: string): PluginPoint {
  return { at: "address", address: symbols.addressOf(name) as never };
}

async function callTree(path: string, symbols: TapeSymbols): Promise<string[]> {
  const lines: string[] = [];
  const name = (address: bigint) => symbols.describe(address) ?? `0x${address.toString(16)}`;
  const tracker = new CallTracker((event) => lines.push(formatCall(event, name)), symbols.symbols);
  await using reader = await openBranches(path);
  for await (const batch of batchesOf(reader)) tracker.feed(batch);
  return lines;
}
