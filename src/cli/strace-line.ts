import type { SyscallEvent, TaskEvent } from "../linux/syscall-pass.js";
import { exitText } from "../linux/syscall-signals.js";
import { formatResult } from "../linux/syscall-text.js";
import { grouped } from "./output.js";

/** `@ICOUNT PID NAME  call(arguments) = result  (instructions)`; signals and ends as strace writes them. */
export function eventLine(event: TaskEvent): string {
  const { task, from } = event;
  const who = `@${from} ${task.pid} ${task.name}  `;
  switch (event.kind) {
    case "call":
      return who + callText(event);
    case "signal":
      return `${who}--- ${event.text} ---`;
    case "exit":
      return `${who}+++ ${exitText(event.code)} +++`;
  }
}

function callText({ call, way, texts, result, from, to }: SyscallEvent): string {
  const ended = result === undefined ? "?" : formatResult(call.name, result);
  const lasted = to === undefined ? "" : `  (${grouped(to - from)} instructions)`;
  const by = way === "syscall" ? "" : `  [${way}]`;
  return `${call.name}(${texts.join(", ")}) = ${ended}${lasted}${by}`;
}
