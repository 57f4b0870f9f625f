/** A file and a line as a user writes them. */
export interface WrittenLine {
  readonly file: string;
  readonly line: number;
}

/** Parses `FILE:LINE`; undefined for what is none. */
export function parseLine(text: string): WrittenLine | undefined {
  const match = /^(.+):([0-9]{1,9})$/.exec(text);
  return match ? { file: match[1]!, line: Number(match[2]) } : undefined;
}

/**
 * A test whether a path is of the file a user wrote: the same name, and the same directories as far as they were
 * written ("sched/core.c" is "/build/kernel/sched/core.c"). `.` and `..` are worked out on both sides.
 */
export function fileTest(written: string): (path: string) => boolean {
  const wanted = partsOf(written);
  const name = wanted.at(-1) ?? "";
  return (path) => {
    // The cheap question first: there are thousands of files.
    if (name === "" || !path.endsWith(name)) return false;
    const parts = partsOf(path);
    if (written.startsWith("/") && parts.length !== wanted.length) return false;
    return wanted.every((part, i) => parts[parts.length - wanted.length + i] === part);
  };
}

function partsOf(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else parts.push(part);
  }
  return parts;
}
