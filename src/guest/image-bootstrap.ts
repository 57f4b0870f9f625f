/** Which programs make a Debian system here, and how they are called. */

import { basePackages, earlySetup, insideFunction, lateSetup } from "./image-setup.js";
import type { ImageSources } from "./image-sources.js";
import type { ImageSpec } from "./image-spec.js";

/** The programs that can bootstrap a Debian system, the preferred one first. */
export const bootstrapTools = ["mmdebstrap", "debootstrap"] as const;
export type BootstrapTool = (typeof bootstrapTools)[number];

/**
 * The packages for making a Debian system without being root: with user namespaces that have ids of their own, and
 * files that seem to be root's.
 */
export const rootlessPackages = ["mmdebstrap", "uidmap", "fakeroot"] as const;

/** A program and its arguments, without a shell. */
export interface Step {
  /** What it does, as a present participle. */
  readonly doing: string;
  readonly command: readonly [program: string, ...args: string[]];
}

/** The paths that the steps of an image use, all below one temporary directory. */
export interface BootstrapPlaces {
  /** The new root directory. */
  readonly root: string;
  /** An archive of the root directory. Without being root only this can be made. */
  readonly archive: string;
  /** An archive of the user's own files, when there are any. */
  readonly additions?: string | undefined;
}

/**
 * The steps that make a root directory, for root.
 *
 * @param isolate run them in a mount namespace of their own. What is mounted for package scripts then ends with them,
 *   so that removing the directory never removes files through a mount
 */
export function rootSteps(
  tool: BootstrapTool,
  spec: ImageSpec,
  sources: ImageSources,
  places: BootstrapPlaces,
  isolate: boolean,
): Step[] {
  const own = (doing: string, ...command: [string, ...string[]]): Step => ({
    doing,
    command: isolate ? ["unshare", "--mount", "--", ...command] : command,
  });
  if (tool === "mmdebstrap") {
    return [own(`making ${spec.suite}`, ...mmdebstrap(spec, sources, places, "root", places.root))];
  }
  const { root, additions } = places;
  const add = additions === undefined ? [] : [additions];
  return [
    own(
      `bootstrapping ${spec.suite}`,
      "debootstrap",
      "--variant=minbase",
      "--arch=amd64",
      spec.suite,
      root,
      sources.mirror,
    ),
    own(`installing packages of ${spec.suite}`, "sh", "-c", installScript(spec, sources), "sh", root, ...add),
  ];
}

/** The steps for users who are not root. mmdebstrap makes an archive, which {@link rootlessDisk} unpacks. */
export function rootlessSteps(spec: ImageSpec, sources: ImageSources, places: BootstrapPlaces): Step[] {
  return [
    {
      doing: `making ${spec.suite}`,
      command: mmdebstrap(spec, sources, places, "unshare", places.archive),
    },
  ];
}

function mmdebstrap(
  spec: ImageSpec,
  { lines }: ImageSources,
  { additions }: BootstrapPlaces,
  mode: "root" | "unshare",
  target: string,
): [string, ...string[]] {
  return [
    "mmdebstrap",
    `--mode=${mode}`,
    "--variant=minbase",
    "--architectures=amd64",
    `--include=${wanted(spec).join(",")}`,
    // The package lists stay, so that apt can install something at once. The last script does the rest of the
    // cleaning.
    "--skip=cleanup/apt/lists,cleanup/reproducible",
    // mmdebstrap runs a hook that is no path as a script of `sh`, with the root directory as its first argument.
    '--aptopt=Acquire::Languages "none"',
    `--essential-hook=${earlySetup}`,
    ...(additions === undefined ? [] : [`--customize-hook=tar-in ${shellQuoted(additions)} /`]),
    `--customize-hook=${lateSetup(spec)}`,
    spec.suite,
    target,
    ...lines,
  ];
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** All packages that are installed beyond the essential ones. */
export function wanted(spec: ImageSpec): string[] {
  return [...new Set([...basePackages, spec.kernelPackage, ...spec.include])];
}

/**
 * The script that installs the packages by apt in the new root. debootstrap itself does not resolve all dependencies,
 * so it makes only the base. Services are not started there.
 */
export function installScript(spec: ImageSpec, sources: ImageSources): string {
  const lines = sources.lines.map((line) => shellQuoted(line)).join(" ");
  return `${earlySetup}${insideFunction}additions=\${2-}
printf '%s\\n' ${lines} > "$root/etc/apt/sources.list"
printf '#!/bin/sh\\nexit 101\\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc" 2>/dev/null || true
mount -t sysfs sysfs "$root/sys" 2>/dev/null || true
trap 'umount "$root/sys" 2>/dev/null || true; umount "$root/proc" 2>/dev/null || true' EXIT
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
inside apt-get -q -o 'Acquire::Languages=none' update
inside apt-get -q -y --no-install-recommends install ${wanted(spec).join(" ")}
rm "$root/usr/sbin/policy-rc.d"
[ -z "$additions" ] || tar -x -f "$additions" -C "$root" --numeric-owner
${lateSetup(spec)}`;
}
