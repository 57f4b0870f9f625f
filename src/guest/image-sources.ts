/**
 * Where an image's packages come from: from the archive that this machine's apt uses for the suite, or else from
 * Debian's own mirror.
 */
import { runCommand } from "./command.js";

const debianMirror = "http://deb.debian.org/debian";
const indexFormat = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(COMPONENT)";

/** One archive to bootstrap from, and the lines of `sources.list`. */
export interface ImageSources {
  /** The archive of the suite itself. */
  readonly mirror: string;
  /** The line of that archive, then those of its security and other updates, where they are known. */
  readonly lines: readonly string[];
}

/**
 * The sources for a suite. Those of this machine's apt are preferred, since they can be reached from here even on
 * networks with a mirror of their own.
 *
 * @param mirror the archive, where the user names one
 */
export async function imageSources(
  suite: string,
  mirror: string | undefined,
  signal?: AbortSignal,
): Promise<ImageSources> {
  if (mirror !== undefined) return sourcesOf(suite, mirror, "");
  const listed = await runCommand("apt-get", ["indextargets", "--format", indexFormat], { signal }).catch(
    () => undefined,
  );
  return sourcesOf(suite, undefined, listed?.code === 0 ? listed.stdout : "");
}

/** @param targets the output of `apt-get indextargets` with {@link indexFormat} */
export function sourcesOf(suite: string, mirror: string | undefined, targets: string): ImageSources {
  const known = new Map<string, string>();
  for (const line of targets.split("\n")) {
    const [uri = "", release = "", origin, component] = line.split("|");
    const isPlain = /^(https?:\/\/|file:\/)[!-~]+$/.test(uri) && !uri.includes("@");
    if (origin !== "Debian" || component !== "main" || !isPlain) continue;
    if (!known.has(release)) known.set(release, uri.replace(/\/+$/, ""));
  }
  // A Debian archive that is known for one suite has the other suites, too.
  const main = [...known].find(([release]) => !release.includes("-"))?.[1];
  const own = mirror ?? known.get(suite) ?? main ?? debianMirror;
  const more = [`${suite}-security`, `${suite}-updates`].filter((release) => known.has(release));
  return {
    mirror: own,
    lines: [
      `deb ${own} ${suite} main`,
      ...more.map((release) => `deb ${known.get(release)} ${release} main`),
    ],
  };
}
