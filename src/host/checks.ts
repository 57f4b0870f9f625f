import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { VmtapeError } from "../base/errors.js";
import { findProgram } from "../base/tool.js";
import { inspectQemu, type QemuBuild, qemuProgram } from "../qemu/build.js";
import { findFirmware } from "../qemu/firmware.js";
import { builtPlugin } from "../qemu/plugin-build.js";
import { installCommand } from "./apt.js";

/** The result of a check for one thing that vmtape needs on this machine. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or what is wrong. */
  readonly detail: string;
  /** True: without it vmtape cannot record and replay. False: only the use that `detail` names does not work. */
  readonly needed: boolean;
  /** The shell command that mends it. */
  readonly mend?: string;
  /** The Debian packages that mend it. */
  readonly packages?: readonly string[];
}

export interface CheckPlaces {
  readonly home: string;
  readonly cache: string;
}

/** Programs from Debian packages, beside QEMU itself. */
const programs = [
  { name: "qemu-img", packages: ["qemu-utils"], needed: true, use: "disks" },
  { name: "busybox", packages: ["busybox-static"], needed: true, use: "the default guest" },
  { name: "dpkg-deb", packages: ["dpkg"], needed: true, use: "the default guest" },
  { name: "setpriv", packages: ["util-linux"], needed: false, use: "ending QEMU when vmtape is killed" },
  { name: "cc", packages: ["gcc", "libc6-dev"], needed: true, use: "the branch plugin" },
  { name: "gdb", packages: ["gdb"], needed: false, use: "debugging a replay" },
] as const;

/** Runs all checks, in the order in which things are needed. Changes nothing. */
export async function checkMachine(places: CheckPlaces, qemu = qemuProgram): Promise<Check[]> {
  return [
    checkNode(),
    ...(await checkQemu(qemu, places.cache)),
    ...(await Promise.all(programs.map(checkProgram))),
    await checkWritable("home", places.home),
    await checkWritable("cache", places.cache),
    await checkHost(),
  ];
}

function checkNode(): Check {
  const [major = 0] = process.versions.node.split(".").map(Number);
  const ok = major >= 20;
  return {
    name: "node",
    ok,
    needed: true,
    detail: `${process.version}${ok ? "" : ": version 20 or later is needed"}`,
    ...(!ok && { mend: "install Node.js 20 or later (nodejs.org)" }),
  };
}

/** Checks QEMU, and the plugin for its version. */
async function checkQemu(program: string, cacheDir: string): Promise<Check[]> {
  const packages = ["qemu-system-x86", "qemu-utils"];
  try {
    const build = await inspectQemu(program);
    const firmware = await findFirmware(build);
    const detail = `${build.path}, ${build.fullVersion}, ${firmware.length} firmware images`;
    return [{ name: "qemu", ok: true, needed: true, detail }, await checkPlugin(build, cacheDir)];
  } catch (error) {
    if (!(error instanceof VmtapeError)) throw error;
    const mend = installCommand(packages).join(" ");
    return [{ name: "qemu", ok: false, needed: true, detail: error.message, packages, mend }];
  }
}

/** Is the branch plugin built? `doctor --mend` and the first trace build it. */
async function checkPlugin(build: QemuBuild, cacheDir: string): Promise<Check> {
  const path = await builtPlugin({ cacheDir, qemuVersion: build.version });
  return path
    ? { name: "plugin", ok: true, needed: false, detail: path }
    : {
        name: "plugin",
        ok: false,
        needed: false,
        detail: "not built yet; the first trace builds it",
        mend: "vmtape doctor --mend",
      };
}

async function checkProgram({ name, packages, needed, use }: (typeof programs)[number]): Promise<Check> {
  const path = await findProgram(name);
  if (path) return { name, ok: true, needed, detail: path };
  return {
    name,
    ok: false,
    needed,
    detail: `not installed; needed for ${use}`,
    packages,
    mend: installCommand(packages).join(" "),
  };
}

async function checkWritable(name: string, directory: string): Promise<Check> {
  for (let place = directory; ; place = dirname(place)) {
    const found = await access(place, constants.W_OK | constants.X_OK).then(
      () => true,
      (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? undefined : false),
    );
    if (found === undefined && place !== dirname(place)) continue;
    const ok = found === true;
    const detail = ok ? directory : `${directory} cannot be written`;
    return {
      name,
      ok,
      needed: true,
      detail,
      ...(!ok && { mend: `choose another place: --home DIR, or XDG_CACHE_HOME for the cache` }),
    };
  }
}

/** Describes the host. This check never fails: KVM is not used, and a second CPU only makes things faster. */
async function checkHost(): Promise<Check> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const pretty = /^PRETTY_NAME="?([^"\n]*)/m.exec(release)?.[1] ?? process.platform;
  return { name: "host", ok: true, needed: false, detail: `${pretty}, ${process.arch}; KVM is not used` };
}
