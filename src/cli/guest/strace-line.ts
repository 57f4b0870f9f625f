import { signalText } from "../../linux/syscall/signal-names.js";
import { exitText } from "../../linux/syscall/signals.js";
import type { SyscallEvent, TaskEvent } from "../../linux/syscall/task-events.js";
import { formatResult } from "../../linux/syscall/text.js";
import { grouped } from "../shell/output.js";

/** `@ICOUNT PID NAME  call(arguments) = result  (instructions)`; signals and ends as strace writes them. */
export function eventLine(event: TaskEvent): string {
  const { task, from } = event;
  const text = event.kind === "call" ? callText(event) : happeningText(event);
  return `@${from} ${task.pid} ${task.name}  ${text}`;
}

/** An event that is no system call, as strace writes it. */
export function happeningText(event: Exclude<TaskEvent, SyscallEvent>): string {
  switch (event.kind) {
    case "signal":
      return `--- ${event.text} ---`;
    case "stop":
      return `--- stopped by ${signalText(BigInt(event.signal))} ---`;
    case "exit":
      return `+++ ${exitText(event.code)} +++`;
    case "superseded":
      return `+++ superseded by execve in pid ${event.by} +++`;
  }
}

function callText({ call, way, texts, result, from, to }: SyscallEvent): string {
  const ended = result === undefined ? "?" : formatResult(call.name, result);
  const lasted = to === undefined ? "" : `  (${grouped(to - from)} instructions)`;
  const by = way === "syscall" ? "" : `  [${way}]`;
  return `${call.name}(${texts.join(", ")}) = ${ended}${lasted}${by}`;
}
