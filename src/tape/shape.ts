import type { Stats } from "node:fs";
import { lstat } from "node:fs/promises";
import { basename, join } from "node:path";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { kindOf, requireRegular } from "../base/regular-file.js";
import type { Manifest } from "../formats/manifest.js";
import type { TapeLayout } from "./layout.js";

/**
 * Checks what kind of file is at each path of a tape, without opening any: files must be regular files, and folders
 * directories. A tape may come from a stranger: a FIFO would make a reader wait for ever, a device may do anything
 * when it is opened, and a link leads out of the tape. Missing files are not reported here but by the code that needs
 * them.
 *
 * Cost: one `lstat` a file, less than a millisecond.
 *
 * @throws VmtapeError `bad-file` for the first path that is something else
 */
export async function checkShape(layout: TapeLayout, manifest: Manifest): Promise<void> {
  for (const path of layout.folders()) {
    const facts = await look(path);
    if (facts && !facts.isDirectory()) {
      const what = facts.isFile() ? "regular file" : kindOf(facts);
      throw new VmtapeError("bad-file", `${path} is not a directory but a ${what}`, { file: path });
    }
  }
  const all = [...layout.files(), ...filesIn(layout, manifest)];
  const looked = await Promise.all(all.map(async (path) => ({ path, facts: await look(path) })));
  for (const { path, facts } of looked) if (facts) requireRegular(facts, path);
}

/** The files in a tape's folders that its manifest implies, and the two that `repair` keeps. */
function filesIn(layout: TapeLayout, { machine, symbols }: Manifest): string[] {
  return [
    ...machine.disks.flatMap((_, i) => [layout.diskBase(i), layout.diskOverlay(i)]),
    ...machine.firmware.map(({ name }) => layout.firmwareFile(name)),
    ...symbols.map((_, i) => layout.symbolFile(i)),
    ...[layout.log, layout.console].map((path) => join(layout.original, basename(path))),
  ];
}

async function look(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw fileError(error, path, "reading");
  });
}
