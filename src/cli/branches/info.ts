import { printable } from "../../base/printable.js";
import type { BranchFileCheck, BranchFileInfo, Instant } from "../../trace/branch-reader.js";
import { openBranches } from "../../trace/open-branches.js";
import { grouped, say, sayFacts, size, toJson } from "../shell/output.js";
import { Progress } from "../shell/progress.js";
import type { CommandContext } from "../shell/run.js";
import type { InfoFlags } from "./flags.js";
import { wantedTape } from "./names.js";

/** Prints the facts of a file of branches, and checks it. The exit code is 1 when it is damaged. */
export async function showInfo({ signal }: CommandContext, file: string, flags: InfoFlags): Promise<void> {
  await using reader = await openBranches(file, await wantedTape(flags));
  const { info } = reader;
  let check: BranchFileCheck | undefined;
  if (!flags.quick) {
    using progress = new Progress();
    const onProgress = (done: number, total: number) =>
      progress.sink({ doing: "checking", done, total, unit: "events" });
    check = await reader.check({ signal, onProgress });
  }
  const ok = check?.ok ?? (info.whole && !info.damage);
  if (!ok) process.exitCode = 1;
  if (flags.json) say(toJson({ ...info, kinds: check?.kinds ?? info.kinds, ok, check }));
  else sayInfo(info, check);
}

const formatNames = { vmtape: "branch log", bts: "BTS, plain", "bts-extended": "BTS, extended" } as const;

const selectionTexts = {
  all: undefined,
  user: "user space only",
  kernel: "kernel space only",
  task: "some tasks only",
};

function sayInfo(info: BranchFileInfo, check: BranchFileCheck | undefined): void {
  const { version, bytes, records } = info;
  const perRecord = records > 0 ? `, ${(bytes / records).toFixed(3)} bytes a branch` : "";
  const damage = check?.damage ?? info.damage;
  const held = check && check.badChunks > 0 ? `, ${grouped(check.records)} can be read` : "";
  sayFacts({
    file: info.file,
    format: `${formatNames[info.format]}${version === undefined ? "" : `, version ${version}`}`,
    tape: info.tape,
    machine: info.arch && `${printable(info.arch)}${info.qemu ? `, QEMU ${printable(info.qemu)}` : ""}`,
    holds: selectionTexts[info.selection],
    branches: `${grouped(records)}${held}`,
    from: describe(info.start),
    to: describe(info.end),
    size: `${size(bytes)}${perRecord}`,
    chunks: info.chunks > 0 ? grouped(info.chunks) : undefined,
    checked: check && (check.ok ? "all of it, whole" : "damaged"),
    damage: damage && `${damage.what} (byte ${damage.offset}${at(damage.brctr)})`,
  });
  const kinds = check?.kinds ?? info.kinds;
  if (!kinds) return;
  say();
  for (const [kind, count] of Object.entries(kinds)) {
    say(`${kind.padEnd(16)}${grouped(count).padStart(16)}`);
  }
}

function at(brctr: bigint | undefined): string {
  return brctr === undefined ? "" : `, from brctr ${brctr} on`;
}

function describe({ brctr, icount }: Instant): string {
  return icount === undefined ? `${brctr}` : `${brctr} @${icount}`;
}
