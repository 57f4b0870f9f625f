/** How tasks stopped and ended, as lines that are the same in every run of a program. */

/** Lines of each task, by pid, in order. */
export type TaskLines = ReadonlyMap<number, readonly string[]>;

/**
 * The signals, stops and end of each task, in the order of pids, which are replaced by their places in that order.
 * The SIGCONTs of all tasks come first: any of several threads may take one, and without a tracer none needs to.
 */
export function endLines(tasks: TaskLines): string[][] {
  const pids = [...tasks.keys()].sort((a, b) => a - b);
  const rank = (pid: string) => {
    const index = pids.indexOf(Number(pid));
    return index < 0 ? pid : `#${index}`;
  };
  const lines = pids.map((pid) =>
    tasks
      .get(pid)!
      .filter((line) => /^(---|\+\+\+) /.test(line))
      .map((line) => settled(line).replace(/(?<=si_pid=|in pid )\d+/g, rank))
      .map((line) => line.replace(/si_call_addr=0x[0-9a-f]+/, "si_call_addr=0x")),
  );
  const isContinued = (line: string) => line.startsWith("--- SIGCONT ");
  return [
    lines.flat().filter(isContinued).sort(),
    ...lines.map((own) => own.filter((line) => !isContinued(line))),
  ];
}

/** Is it a signal that is ignored by default? Those are only delivered to a task that is traced. */
export function isIgnored(line: string): boolean {
  return /^--- SIG(CHLD|CONT|URG|WINCH) /.test(line);
}

/** Removes times, which differ from run to run. */
export function settled(line: string): string {
  return line.startsWith("---") ? line.replace(/, si_utime=.*\}/, "}") : line;
}
