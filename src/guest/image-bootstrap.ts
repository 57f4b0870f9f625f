/** Which programs make a Debian system here, and how they are called. */

import { basePackages, earlySetup, insideFunction, lateSetup } from "./image-setup.js";
import type { ImageSources } from "./image-sources.js";
import type { ImageSpec } from "./image-spec.js";

/** The programs that bootstrap a Debian, the better one first. */
export const bootstrapTools = ["mmdebstrap", "debootstrap"] as const;
export type BootstrapTool = (typeof bootstrapTools)[number];

/** What Debian needs to be made by who is not root: user namespaces with ids of their own, and files that seem root's. */
export const rootlessPackages = ["mmdebstrap", "uidmap", "fakeroot"] as const;

/** A program and its arguments, without a shell. */
export interface Step {
  /** What it does, as a present participle. */
  readonly doing: string;
  readonly command: readonly [program: string, ...args: string[]];
}

/** Where the steps of an image put things; all below one temporary directory. */
export interface BootstrapPlaces {
  /** The new root directory. */
  readonly root: string;
  /** An archive of it, where only that can be made without being root. */
  readonly archive: string;
  /** An archive of the user's own files, when there are any. */
  readonly additions?: string | undefined;
}

/**
 * The steps from nothing to a root directory, for root.
 *
 * @param isolate can a mount namespace be made? In one, what is mounted for package scripts ends with them, however
 *   they end, so that nothing is ever removed through a mount
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

/** The steps for everybody else: mmdebstrap gives an archive, which is unpacked by {@link rootlessDisk}. */
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
    // The lists stay, so that apt installs something at once; the rest of the cleaning is the last script's.
    "--skip=cleanup/apt/lists,cleanup/reproducible",
    // A hook that is no path is a script for `sh`, with the root directory as its first argument.
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

/** All packages beyond the essential ones. */
export function wanted(spec: ImageSpec): string[] {
  return [...new Set([...basePackages, spec.kernelPackage, ...spec.include])];
}

/**
 * debootstrap installs only what its simple reading of dependencies finds; apt does the rest, in the new root. Services are
 * not started there.
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
