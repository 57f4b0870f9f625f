import { afterAll, beforeAll, expect, test } from "vitest";
import { runTool } from "../../src/base/tool.js";
import { Workbench } from "../workbench.js";
import { compileGuardScenarios } from "./compile.js";

// The guard on a QEMU of a few hundred lines (fake-guarded-qemu.c), of 7.2 and of 9.0. Longer, by both compilers and with other
// seeds: test/long/plugin.test.ts. On real QEMUs: test/machine/stops.test.ts.
let bench: Workbench;
let built: string[];
beforeAll(async () => {
  bench = await Workbench.make();
  built = await Promise.all([
    compileGuardScenarios("gcc", "address,undefined", bench.directory, 1),
    compileGuardScenarios("gcc", "thread", bench.directory, 2),
  ]);
}, 120_000);
afterAll(() => bench[Symbol.asyncDispose]());

test.each([
  ["hold", "a held QEMU stands still until it is let go", 20],
  ["no-instant", "where a replay cannot be stopped, nothing is held", 1],
  ["gone", "QEMU goes on when whoever held it is gone", 1],
  ["forgotten", "QEMU goes on when it is held for too long, and who comes too late is told", 1],
  ["refusals", "what is no command is refused, with one answer", 1],
  ["stops", "a stop leaves the log, the clocks and waiting packets as they were", 3000],
  ["fuzz", "whatever the lines and however they come, each has its answer", 500],
])("%s: %s", async (name, _what, length) => {
  for (const program of built) {
    const { stdout } = await runTool(program, [name, "20260101", `${length}`]);
    expect(stdout).toBe("");
  }
});

/** What the guard says when a QEMU is otherwise than it takes it to be. */
const otherwise = (what: string) =>
  `vmtape guard: this QEMU keeps ${what} otherwise than 7.2 to 10.2 do: use one of those, or see the end of vmtape's plugin/README.md\n`;
const nextEvent = otherwise("replay_state (the log's next event)");
const breaks = otherwise("replay_break_icount and replay_break_timer");
const queues = otherwise("its network queues");
const noMachine = "vmtape guard: the machine is no x86_64 system with one processor\n";

/** QEMU's exit code when a plugin does not load; those that a plugin ends it with. */
const [notLoaded, inexact, broken] = [1, 70, 74] as const;
test.each<["recording" | "replay", string, number, string]>([
  ["recording", "option:control=x", notLoaded, "vmtape guard: the option control=x is wrong\n"],
  ["recording", "option:control=999999", notLoaded, "vmtape guard: the option control=999999 is wrong\n"],
  ["recording", "option:control", notLoaded, "vmtape guard: the option control is wrong\n"],
  ["recording", "option:data=0", notLoaded, "vmtape guard: the option data=0 is wrong\n"],
  ["recording", "target", notLoaded, noMachine],
  ["recording", "program", notLoaded, noMachine],
  ["recording", "processors", notLoaded, noMachine],
  ["recording", "size:replay_state", notLoaded, otherwise("replay_state (its size)")],
  ["recording", "size:replay_mode", notLoaded, otherwise("replay_mode")],
  ["recording", "modes:other", notLoaded, otherwise("replay_mode")],
  ["recording", "modes:few", notLoaded, otherwise("replay_mode")],
  ["recording", "size:replay_break_icount", notLoaded, breaks],
  ["recording", "size:replay_break_timer", notLoaded, breaks],
  ["recording", "executed", notLoaded, nextEvent],
  ["recording", "requests", notLoaded, nextEvent],
  ["replay", "executed", notLoaded, nextEvent],
  ["replay", "no log", notLoaded, nextEvent],
  ["replay", "short log", notLoaded, nextEvent],
  ["replay", "cut log", notLoaded, nextEvent],
  ["replay", "count", notLoaded, nextEvent],
  ["replay", "kind", notLoaded, nextEvent],
  ["replay", "counting", notLoaded, nextEvent],
  ["recording", "causes:first", notLoaded, otherwise("ShutdownCause")],
  ["recording", "causes:none", notLoaded, otherwise("ShutdownCause")],
  ["recording", "causes:many", notLoaded, otherwise("ShutdownCause")],
  ["recording", "size:main_loop_tlg", notLoaded, otherwise("its clocks")],
  ["recording", "clock:ahead", notLoaded, otherwise("its clocks")],
  ["recording", "clock:behind", notLoaded, otherwise("its clocks")],
  ["replay", "timer:list", inexact, otherwise("its timers")],
  ["replay", "timer:function", inexact, otherwise("its timers")],
  ["replay", "networks:many", inexact, "vmtape guard: the machine has more than 16 network parts\n"],
  ["replay", "networks:owner", inexact, queues],
  ["recording", "networks:owner", inexact, queues],
  ["recording", "networks:count", inexact, queues],
  ["recording", "networks:receive_disabled", inexact, queues],
  ["recording", "threads", broken, "vmtape guard: cannot make a thread\n"],
  ["recording", "memory:1", broken, "vmtape guard: out of memory\n"],
  ["recording", "memory:2", broken, "vmtape guard: out of memory\n"],
])("a %s by a QEMU with another %s ends with %d", async (scenario, strange, code, sentence) => {
  for (const program of built) expect(await endOf(program, scenario, strange)).toEqual({ code, sentence });
});

// As guard/qemu.c names them; the machine's lock by the name it has in each plugin API.
test.each([
  ...["replay_mode", "replay_state", "replay_file", "replay_break_icount", "replay_break_timer"],
  ...["replay_mutex_lock", "replay_mutex_unlock", ["qemu_mutex_lock_iothread_impl", "bql_lock_impl"]],
  ...[["qemu_mutex_unlock_iothread", "bql_unlock"], "icount_get_raw", "qemu_get_cpu", "x86_cpu_dump_state"],
  ...["qemu_clock_enable", "qemu_clock_get_ns", "timerlist_new", "timer_init_full", "timer_mod_ns"],
  ...["qemu_add_vm_change_state_handler_prio", "replay_has_events", "async_run_on_cpu"],
  ...["ShutdownCause_lookup", "ReplayMode_lookup", "main_loop_tlg", "qemu_find_net_clients_except"],
  "qemu_new_net_queue",
])("a QEMU that does not export %s is refused", async (names) => {
  for (const [i, program] of built.entries()) {
    const name = typeof names === "string" ? names : names[i]!;
    expect(await endOf(program, "recording", `missing:${name}`)).toEqual({
      code: notLoaded,
      sentence: `vmtape guard: this QEMU does not export ${name}: use one of 7.2 to 10.2, built with modules as distributions do\n`,
    });
  }
});

/** How a run ends that must not succeed. */
async function endOf(program: string, scenario: string, strange: string) {
  const run = runTool(program, [scenario, "20260101", "1", strange]);
  const { cause } = (await run.then(
    ({ stdout }) => Promise.reject(new Error(`it ended well: ${stdout}`)),
    (error: Error) => error,
  )) as { cause: Error & { code: number } };
  const { code, message } = cause;
  return { code, sentence: message.slice(message.indexOf("\n") + 1) };
}
