/** The specification of a distribution image: its place, its size and its contents. */
import { join, resolve } from "node:path";
import { VmtapeError } from "../base/errors.js";
import { isPackageName, isPackageVersion } from "./archive.js";

/** The form of `--image`. */
export const imageForm = "DIR, SIZE or DIR,size=SIZE, where SIZE is a number with M, G or T";

/** The place of an image and the size of its disk, as far as the user gave them. */
export interface ImagePlace {
  /** Absent: a directory of the cache. */
  readonly directory?: string;
  /** Bytes of the disk. Absent: {@link defaultDiskBytes}. */
  readonly diskBytes?: number;
}

/** A stock system takes 0.7 GB; the rest is room for later. Empty space takes no room in the image. */
export const defaultDiskBytes = 2 * 2 ** 30;
/** The smallest disk; no system fits on less. */
const leastDiskBytes = 512 * 2 ** 20;
/** The largest disk that qcow2 and ext4 with 4 KiB blocks are used for here. */
const mostDiskBytes = 2 * 2 ** 40;

const sizePattern = /^(\d{1,9})([MGT])(?:i?B)?$/i;
const unitBytes: Readonly<Record<string, number>> = { M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/**
 * Reads `DIR`, `SIZE` or `DIR,size=SIZE`. A word that looks like a size is taken as one: write `./2G` for a directory
 * of that name.
 *
 * @throws VmtapeError `usage`
 */
export function parseImagePlace(text: string): ImagePlace {
  const only = parseSize(text);
  if (only !== undefined) return { diskBytes: only };
  const match = /^(.*?)(?:,size=([^,]*))?$/s.exec(text)!;
  const [, directory = "", size] = match;
  if (directory === "") throw usage(text, "it names no directory");
  if (size === undefined) return { directory };
  const diskBytes = parseSize(size);
  if (diskBytes === undefined) throw usage(text, `'${size}' is no size`);
  return { directory, diskBytes };
}

function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text);
  if (!match) return undefined;
  const bytes = Number(match[1]) * unitBytes[match[2]!.toUpperCase()]!;
  if (bytes < leastDiskBytes || bytes > mostDiskBytes) {
    throw new VmtapeError("usage", `a disk of ${text} cannot hold a system: 512M to 2T can`, {
      got: text,
      expected: "512M to 2T",
    });
  }
  return bytes;
}

function usage(text: string, why: string): VmtapeError {
  return new VmtapeError("usage", `the image '${text.slice(0, 200)}' cannot be made: ${why}`, {
    got: text,
    expected: imageForm,
  });
}

/** Everything that determines an image's contents. */
export interface ImageSpec {
  readonly suite: string;
  /** The kernel's package. */
  readonly kernelPackage: string;
  /** More packages, each with `=VERSION` if wanted. */
  readonly include: readonly string[];
  readonly diskBytes: number;
}

/** Debian's newest kernel for any machine; `linux-image-cloud-amd64` is smaller. */
export const defaultKernelPackage = "linux-image-amd64";

/** @throws VmtapeError `usage` for words that are no names of a suite or of packages */
export function imageSpec(words: {
  readonly suite: string;
  readonly package?: string | undefined;
  readonly include?: readonly string[] | undefined;
  readonly diskBytes?: number | undefined;
}): ImageSpec {
  const { suite } = words;
  if (!/^[a-z][a-z0-9.+-]{0,62}$/.test(suite)) {
    throw new VmtapeError("usage", `'${suite.slice(0, 80)}' is not the name of a suite`, {
      got: suite,
      expected: "bookworm, trixie, sid …",
    });
  }
  const kernelPackage = /^\d/.test(words.package ?? "")
    ? `linux-image-${words.package}`
    : (words.package ?? defaultKernelPackage);
  const include = (words.include ?? []).flatMap((text) => text.split(/[,\s]+/)).filter((word) => word !== "");
  for (const word of [kernelPackage, ...include]) requirePackage(word);
  return {
    suite,
    kernelPackage,
    include: [...new Set(include)].sort(),
    diskBytes: words.diskBytes ?? defaultDiskBytes,
  };
}

function requirePackage(word: string): void {
  const equals = word.indexOf("=");
  const name = equals < 0 ? word : word.slice(0, equals);
  if (isPackageName(name) && (equals < 0 || isPackageVersion(word.slice(equals + 1)))) return;
  throw new VmtapeError("usage", `${JSON.stringify(word.slice(0, 80))} is not the name of a package`, {
    got: word,
    expected: "PACKAGE or PACKAGE=VERSION",
  });
}

/** The directory of an image. Where the user names none, it is one of the cache, another for each specification. */
export function imageDirectory(place: ImagePlace, cacheDir: string, key: string, suite: string): string {
  return place.directory === undefined
    ? join(resolve(cacheDir), "images", `${suite}-${key.slice(0, 16)}`)
    : resolve(place.directory);
}
