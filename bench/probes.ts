/**
 * What do probes cost? A tiny guest calls one function a million times among 60 million other instructions; the same
 * stretch is replayed with each kind of probe, several times over, the least of each:
 *
 * - plain: QEMU alone, and with the plugin (branches not followed; followed);
 * - a breakpoint that is never met; one that is met a million times, told each time; with a false condition on the
 *   count of hits, on a register, on memory; with registers collected;
 * - a watchpoint for writes on bytes that are never written, and on ones written a million times;
 * - beside them QEMU's own stub with a breakpoint whose condition its client evaluates (some hits of it).
 *
 *     node test/oracle/run.mjs bench/probes.ts [--qemu PROGRAM] [--rounds N]
 *
 * Half a minute a round; a busy machine spoils the ratios.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runTool } from "../src/base/tool.js";
import { guestAddress } from "../src/base/units.js";
import { buildPlugin } from "../src/qemu/plugin-build.js";
import type { ProbeOptions, ProbePlace } from "../src/qemu/probe-channel.js";
import { assembleExpression } from "../test/formats/agent-expression.js";
import { buildGuest, guestLabels } from "../test/guests/build.js";
import { recordGuest } from "../test/guests/record.js";
import { ProbedReplay } from "../test/machine/probed-replay.js";
import { ReplayProcess } from "../test/oracle/replay-process.js";

const { values } = parseArgs({
  options: {
    qemu: { type: "string", default: "qemu-system-x86_64" },
    rounds: { type: "string", default: "3" },
  },
});
const calls = 1_000_000;
/** Of the stub, whose every stop takes as long as the one before. */
const stubStops = 2000;

interface Way {
  readonly name: string;
  readonly follow?: boolean;
  readonly place?: ProbePlace;
  readonly options?: ProbeOptions;
}

const directory = await mkdtemp(join(tmpdir(), "vmtape-probes-"));
try {
  await measure();
} finally {
  await rm(directory, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const guest = await buildGuest("busy");
  const labels = await guestLabels(guest);
  const at = (name: string) => guestAddress(labels.get(name)!);
  const argv = await recordGuest(guest, directory, values.qemu);
  const { stdout } = await runTool(values.qemu, ["--version"]);
  const qemuVersion = /version (\S+)/.exec(stdout)![1]!;
  const plugin = await buildPlugin({ cacheDir: directory, qemuVersion });
  const leaf: ProbePlace = { at: "execute", address: at("leaf") };
  const write = (name: string): ProbePlace => ({
    at: "write",
    space: "virtual",
    address: at(name),
    length: 4,
  });
  const when = (text: string) => ({ when: assembleExpression(text) });
  const ways: Way[] = [
    { name: "plugin, branches not followed" },
    { name: "plugin, branches followed", follow: true },
    { name: "breakpoint never met", place: { at: "execute", address: at("never") } },
    {
      name: "met 1e6 times, false condition on hits",
      place: leaf,
      options: when("hit; const 0; equal; end"),
    },
    { name: "  on icount", place: leaf, options: when("icount; const 5; less_unsigned; end") },
    { name: "  on a register", place: leaf, options: when("reg 5; ext 32; const 0; equal; end") },
    { name: "  on memory", place: leaf, options: when("reg 7; ref64; const 0; equal; end") },
    {
      name: "  on a register, branches followed",
      follow: true,
      place: leaf,
      options: when("reg 5; const 0; equal; end"),
    },
    { name: "1e6 hits told", place: leaf },
    {
      name: "1e6 hits, one register collected",
      place: leaf,
      options: { collect: [{ collect: "some-registers", names: ["rdi"] }] },
    },
    {
      name: "1e6 hits, all registers collected",
      place: leaf,
      options: { collect: [{ collect: "registers" }] },
    },
    { name: "write watch, never met", place: write("never") },
    { name: "write watch, branches followed", follow: true, place: write("never") },
    { name: "write watch, met 1e6 times", place: write("last") },
  ];
  const window = await edges(argv, plugin, at("window_begin"), at("window_end"));
  const least = new Map<string, number>();
  for (let round = 0; round < Number(values.rounds); round++) {
    note(least, "plain replay", await plain(argv, window));
    for (const way of ways) note(least, way.name, await probed(argv, plugin, window, way));
  }
  const base = least.get("plain replay")!;
  console.log(`${window.last - window.first} instructions, ${calls} calls, QEMU ${qemuVersion}`);
  for (const [name, seconds] of least) {
    console.log(`${name.padEnd(40)} ${seconds.toFixed(3)} s  ${(seconds / base).toFixed(2)} x`);
  }
  const rate = await stubRate(argv, at("leaf"));
  console.log(`QEMU's stub, condition in its client      ${rate.toFixed(0)} hits a second`);
}

interface Window {
  readonly first: number;
  readonly last: number;
}

/** The counts at the first visits of two places. */
async function edges(argv: readonly string[], plugin: string, ...places: bigint[]): Promise<Window> {
  await using replay = await ProbedReplay.start(argv, plugin, { follow: false });
  for (const [id, address] of places.entries()) {
    await replay.probes.place(id, { at: "execute", address: guestAddress(address) });
  }
  const [first, last] = (await replay.run()).map(({ icount }) => Number(icount));
  return { first: first!, last: last! };
}

function note(least: Map<string, number>, name: string, seconds: number): void {
  least.set(name, Math.min(seconds, least.get(name) ?? Number.POSITIVE_INFINITY));
}

/** Seconds of the stretch without a plugin. */
async function plain(argv: readonly string[], { first, last }: Window): Promise<number> {
  await using process = await ReplayProcess.start(argv);
  await process.runTo(first);
  const begun = performance.now();
  await process.runTo(last);
  return (performance.now() - begun) / 1000;
}

async function probed(
  argv: readonly string[],
  plugin: string,
  { first, last }: Window,
  way: Way,
): Promise<number> {
  await using replay = await ProbedReplay.start(argv, plugin, { follow: way.follow ?? false });
  await replay.run(first);
  if (way.place) await replay.probes.place(1, way.place, way.options);
  const begun = performance.now();
  await replay.count(last);
  return (performance.now() - begun) / 1000;
}

/** Stops a second of a client that asks for a register at each breakpoint, and goes on. */
async function stubRate(argv: readonly string[], leaf: bigint): Promise<number> {
  await using process = await ReplayProcess.start(argv);
  await process.runToAddress(leaf);
  await process.gdb.request(`Z0,${leaf.toString(16)},1`);
  const begun = performance.now();
  for (let i = 0; i < stubStops; i++) {
    await process.gdb.request("c");
    await process.gdb.request("p5");
  }
  return (stubStops * 1000) / (performance.now() - begun);
}
