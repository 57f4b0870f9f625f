import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Debian packages of each program. */
const tools: Readonly<Record<string, readonly string[]>> = JSON.parse(
  readFileSync(new URL("../setup/test-tools.json", import.meta.url), "utf8"),
);

/**
 * The tools that this host lacks, as the user says, or as `npm test` does where the distribution has no such package:
 * `VMTAPE_TEST_WITHOUT=rustc,lldb-16`. Their tests are skipped, and counted as skipped; without this, they fail.
 */
const without: ReadonlySet<string> = new Set((process.env.VMTAPE_TEST_WITHOUT ?? "").split(","));

/** May tests of this tool be skipped? Only when the user says that it is missing. */
export function isWithout(...names: readonly string[]): boolean {
  return names.some((name) => without.has(name));
}

/**
 * Fails when a tool is not installed.
 *
 * @throws an error with the command that installs what is missing
 */
export function requireTools(...names: readonly string[]): void {
  const missing = names.filter((name) => !without.has(name) && !isInstalled(name));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((name) => tools[name]!))];
  throw new Error(
    `${missing.join(", ")}: not installed; apt-get install -y --no-install-recommends ${packages.join(" ")}` +
      `, or skip its tests: VMTAPE_TEST_WITHOUT=${missing.join(",")}`,
  );
}

function isInstalled(name: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
