import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { VmtapeError } from "../base/errors.js";
import { findProgram, runTool } from "../base/tool.js";

/** One installed QEMU. A tape replays only on the build that recorded it. */
export interface QemuBuild {
  /** Absolute path, symbolic links resolved. */
  readonly path: string;
  /** Upstream version, e.g. `7.2.22`. */
  readonly version: string;
  /** Version with the distributor's package, e.g. `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`. */
  readonly fullVersion: string;
  /** SHA-256 of the program file, lower-case hexadecimal. */
  readonly sha256: string;
  /** Does it have a sandbox ({@link sandboxArguments})? Debian's builds do. */
  readonly sandbox: boolean;
}

/**
 * Options that make QEMU filter its own system calls: it can then start no program, gain no rights, and use no
 * obsolete calls. Source: QEMU, qemu-options.hx, `-sandbox`.
 */
export const sandboxArguments = [
  "-sandbox",
  "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
] as const;

/** The program that emulates an x86-64 machine. */
export const qemuProgram = "qemu-system-x86_64";
/** The command that installs it on Debian and Ubuntu. */
export const installQemu = "sudo apt-get install qemu-system-x86 qemu-utils";
/** How long a program may take to print its version. */
const patienceMs = 10_000;
/** The replay log's version word 0xe0200c was used from 7.1 to 10.2. */
const oldest = [7, 1] as const;
const newest = [10, 2] as const;

/** The builds that this process has inspected, by the file's path and stamps. */
const inspected = new Map<string, Promise<QemuBuild>>();

/**
 * Finds out version, hash and sandbox of a QEMU program. Cost: one start of the program and one read of its file,
 * about 0.1 s; later calls cost nothing as long as the file has not changed.
 *
 * @param program a path, or a name to look up on PATH
 * @throws `missing-tool` when there is no such program, `wrong-qemu` when it is no QEMU or of an unsupported version
 */
export async function inspectQemu(program: string = qemuProgram): Promise<QemuBuild> {
  const found = await findProgram(program);
  if (!found) {
    throw new VmtapeError("missing-tool", `QEMU (${program}) is not installed`, {
      tool: program,
      mend: installQemu,
    });
  }
  const path = await realpath(found);
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  const key = `${path} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  const known = inspected.get(key) ?? inspectFile(path);
  inspected.set(key, known);
  known.catch(() => inspected.delete(key));
  return known;
}

async function inspectFile(path: string): Promise<QemuBuild> {
  const [{ fullVersion, sandbox }, sha256] = await Promise.all([askVersion(path), hashFile(path)]);
  const version = fullVersion.split(" ")[0]!;
  if (!isSupported(version)) {
    throw new VmtapeError(
      "wrong-qemu",
      `${path} is QEMU ${version}; supported are ${oldest.join(".")} to ${newest.join(".")}`,
      { file: path, expected: `${oldest.join(".")} to ${newest.join(".")}`, got: version, mend: installQemu },
    );
  }
  return { path, version, fullVersion, sha256, sandbox };
}

/**
 * Asks a program for its version. A build without seccomp refuses the sandbox options, and is asked again without
 * them.
 */
async function askVersion(path: string): Promise<{ fullVersion: string; sandbox: boolean }> {
  for (const sandbox of [true, false]) {
    const args = [...(sandbox ? sandboxArguments : []), "--version"];
    const banner = await runTool(path, args, { signal: AbortSignal.timeout(patienceMs) }).then(
      (output) => output.stdout,
      () => "",
    );
    const match = /^QEMU emulator version (\d+\.\d+\.\d+\S*(?: \([^)]*\))?)/.exec(banner);
    if (match) return { fullVersion: match[1]!, sandbox };
  }
  throw new VmtapeError("wrong-qemu", `${path} does not answer as a QEMU system emulator`, { file: path });
}

function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const rank = major * 1000 + minor;
  return rank >= oldest[0] * 1000 + oldest[1] && rank <= newest[0] * 1000 + newest[1];
}

/** SHA-256 of a file as lower-case hexadecimal; reads it once, streaming. */
async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}
