/** The package archive: where kernel packages come from. The only place that knows apt. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { VmtapeError } from "../base/errors.js";
import { lastLine, runCommand } from "./command.js";

/** What the archive says about one version of a package. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  /** `amd64`, `all`, or another architecture that the package names. */
  readonly architecture: string;
  /** The packages it depends on; of alternatives the first. */
  readonly depends: readonly Dependency[];
  /** Of the `.deb`, lower-case hexadecimal. */
  readonly sha256: string;
  /** Of the `.deb`, in bytes. */
  readonly size: number;
}

/** A package another one needs, and the exact version where it names one: `linux-image-6.1.0-56-amd64 (= 6.1.192-2)`. */
export interface Dependency {
  readonly name: string;
  readonly version?: string;
}

/** A source of packages. `aptArchive` is the real one; tests have their own. */
export interface PackageArchive {
  /** The candidate version, or the named one; undefined when the archive does not have it. */
  find(name: string, version?: string, signal?: AbortSignal): Promise<PackageRecord | undefined>;
  /** Puts the `.deb` into `directory`, which is empty, and returns its path. */
  download(record: PackageRecord, directory: string, signal?: AbortSignal): Promise<string>;
  /** Identifies the archive: what was learned from one does not hold for another. */
  readonly id: string;
}

/** Debian policy 5.6.1. */
const namePattern = /^[a-z0-9][a-z0-9+.-]+$/;
/** Debian policy 5.6.12. */
const versionPattern = /^[0-9][A-Za-z0-9.+~:-]*$/;
const longestWord = 200;

/** Is this a package name by Debian's rules? Such a name cannot be mistaken for an option, and needs no quoting. */
export function isPackageName(name: string): boolean {
  return name.length <= longestWord && namePattern.test(name);
}

/** Is this a package version by Debian's rules? */
export function isPackageVersion(version: string): boolean {
  return version.length <= longestWord && versionPattern.test(version);
}

/**
 * Packages through the machine's own apt: its sources, its keys, its proxies; or those of the configuration that
 * `APT_CONFIG` names. Nothing is installed.
 */
export function aptArchive(environment: NodeJS.ProcessEnv = process.env): PackageArchive {
  return {
    find: findByApt,
    download: downloadByApt,
    id: environment.APT_CONFIG ?? "",
  };
}

/** The command that brings apt's lists up to date, for this user. */
export function updateCommand(): string {
  return process.getuid?.() === 0 ? "apt-get update" : "sudo apt-get update";
}

async function findByApt(
  name: string,
  version: string | undefined,
  signal?: AbortSignal,
): Promise<PackageRecord | undefined> {
  const wanted = version === undefined ? name : `${name}=${version}`;
  const result = await runCommand("apt-cache", ["show", "--no-all-versions", "--", wanted], { signal });
  if (result.code === 0) return parsePackageRecord(result.stdout, name);
  if (!(await hasLists(signal))) {
    throw new VmtapeError("missing-tool", "apt has no package lists on this machine", {
      mend: updateCommand(),
    });
  }
  return undefined;
}

/** Reads the first stanza of `apt-cache show`; undefined when it is not of a package that can be fetched. */
export function parsePackageRecord(text: string, name: string): PackageRecord | undefined {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line === "" && values.size > 0) break;
    const match = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (match) values.set(match[1]!, match[2]!.trim());
  }
  const version = values.get("Version") ?? "";
  const sha256 = (values.get("SHA256") ?? "").toLowerCase();
  const size = Number(values.get("Size"));
  const whole = values.get("Package") === name && isPackageVersion(version) && /^[0-9a-f]{64}$/.test(sha256);
  if (!whole || !Number.isSafeInteger(size)) return undefined;
  const depends = `${values.get("Pre-Depends") ?? ""},${values.get("Depends") ?? ""}`
    .split(",")
    .map(parseDependency)
    .filter((dependency) => isPackageName(dependency.name));
  const architecture = values.get("Architecture") ?? "all";
  return { name, version, architecture, depends, sha256, size };
}

function parseDependency(clause: string): Dependency {
  const match = /^\s*([^\s(:|]*)(?::\w+)?\s*(?:\(= ([^)\s]+)\))?/.exec(clause);
  const [, name = "", version] = match ?? [];
  return version !== undefined && isPackageVersion(version) ? { name, version } : { name };
}

async function downloadByApt(
  record: PackageRecord,
  directory: string,
  signal?: AbortSignal,
): Promise<string> {
  // As root, apt would change to the user _apt, who may not write here, and warn. The download is verified in any
  // case.
  const sandbox = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  const args = ["download", "-q", ...sandbox, "--", `${record.name}=${record.version}`];
  const result = await runCommand("apt-get", args, { cwd: directory, signal });
  const found = (await readdir(directory)).filter((file) => file.endsWith(".deb"));
  if (result.code === 0 && found.length === 1) return join(directory, found[0]!);
  const space = /No space left|not have enough free space/i.test(result.stderr);
  if (space)
    throw new VmtapeError("disk-full", `no space left while downloading ${record.name}`, { file: directory });
  throw new VmtapeError("missing-tool", `${record.name} could not be downloaded: ${lastLine(result)}`, {
    package: record.name,
    version: record.version,
    mend: updateCommand(),
  });
}

/** Are there package lists? apt's configuration says where they are. */
async function hasLists(signal?: AbortSignal): Promise<boolean> {
  const asked = await runCommand("apt-config", ["shell", "LISTS", "Dir::State::lists/d"], { signal });
  const directory = /^LISTS='(.*)'$/m.exec(asked.stdout)?.[1] ?? "/var/lib/apt/lists";
  try {
    return (await readdir(directory)).some((file) => file.includes("_Packages"));
  } catch {
    return false;
  }
}
