import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, runTool } from "../src/base/tool.js";

/** A QEMU to test with. */
export interface TestQemu {
  readonly path: string;
  /** E.g. `10.0.2`. */
  readonly version: string;
}

/** The places where a user installs a QEMU that is not the distribution's. */
async function otherPlaces(): Promise<string[]> {
  const opt = await readdir("/opt").catch(() => [] as string[]);
  return ["/usr/local/bin", ...opt.map((name) => join("/opt", name, "bin"))];
}

/** The distribution's QEMU first, then those of other versions: `VMTAPE_TEST_QEMU`, and what is in /usr/local and /opt. */
export async function testQemus(): Promise<TestQemu[]> {
  const name = "qemu-system-x86_64";
  const named = process.env.VMTAPE_TEST_QEMU;
  const candidates = [`/usr/bin/${name}`, ...(named === undefined ? [] : [named])];
  for (const directory of await otherPlaces()) candidates.push(join(directory, name));
  const found = new Map<string, TestQemu>();
  for (const candidate of candidates) {
    const path = await findProgram(candidate);
    if (path === undefined) continue;
    const { stdout } = await runTool(path, ["--version"]);
    const version = /version (\d+\.\d+\.\d+)/.exec(stdout)?.[1];
    if (version !== undefined && !found.has(version)) found.set(version, { path, version });
  }
  return [...found.values()];
}
