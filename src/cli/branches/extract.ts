import { once } from "node:events";
import { VmtapeError } from "../../base/errors.js";
import type { BranchLogOutput } from "../../trace/branch-log-writer.js";
import { type BranchOutputFormat, extractBranches } from "../../trace/extract.js";
import { openBranches } from "../../trace/open-branches.js";
import { parseBrctrAround, rangeAround } from "../../trace/range-text.js";
import { grouped, note, say, size, toJson } from "../shell/output.js";
import type { CommandContext } from "../shell/run.js";
import type { ExtractFlags } from "./flags.js";
import { noteDamage } from "./range.js";

/** Copies a range of branches into a file, or to stdout. */
export async function extractRange(
  { signal }: CommandContext,
  file: string,
  flags: ExtractFlags,
): Promise<void> {
  const range = rangeAround(
    flags.start === undefined ? undefined : parseBrctrAround(flags.start, "-S"),
    flags.end === undefined ? undefined : parseBrctrAround(flags.end, "-E"),
  );
  const format: BranchOutputFormat = flags.extended ? "bts-extended" : flags.bts ? "bts" : "vmtape";
  const { output } = flags;
  if (output === undefined && process.stdout.isTTY) {
    throw new VmtapeError("usage", "branches are no text for a terminal: name a file with -o");
  }
  await using reader = await openBranches(file);
  noteDamage(reader);
  const summary = await extractBranches(reader, range, output ?? new StandardOutput(signal), {
    format,
    signal,
  });
  const { records, bytes } = summary;
  if (output === undefined) note(`${grouped(records)} branches, ${size(bytes)}`);
  else if (flags.json) say(toJson({ file: output, format, records, bytes }));
  else say(`${output}: ${grouped(records)} branches, ${size(bytes)}`);
}

/** Writes a branch log to stdout. */
class StandardOutput implements BranchLogOutput {
  constructor(private readonly signal: AbortSignal) {}

  async write(bytes: Uint8Array): Promise<void> {
    // The bytes are copied, because the caller uses its buffer again.
    if (process.stdout.write(Uint8Array.from(bytes))) return;
    await once(process.stdout, "drain", { signal: this.signal }).catch(() => {});
  }

  async commit(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
