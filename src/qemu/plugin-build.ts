import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { fileError, isVmtapeError, VmtapeError } from "../base/errors.js";
import { findProgram, runTool } from "../base/tool.js";

/** The plugin's sources, in this package. */
const sourceDirectory = fileURLToPath(new URL("../../plugin/", import.meta.url));
/** The plugins. Each is compiled from the `.c` files of its directory and of `common`. */
const plugins = ["branches", "guard"] as const;
const flags = ["-O2", "-g1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall"] as const;
/** The command that installs a compiler on Debian and Ubuntu. */
export const installCompiler = "sudo apt-get install gcc libc6-dev";

/**
 * Builds the plugins for a QEMU version, unless they are built already. They are put into a directory of
 * `cacheDir/plugins` that is named by a hash of their sources and of the compiler's options. Cost: about 3 s once.
 *
 * @returns the branch plugin; {@link guardOf} has the other one
 * @param options.compiler default: the system's `cc`
 * @throws `missing-tool` without a compiler or when it fails, `disk-full`, `not-writable`
 */
export async function buildPlugin(options: {
  readonly cacheDir: string;
  readonly qemuVersion: string;
  readonly compiler?: string;
}): Promise<string> {
  const { cacheDir, qemuVersion, compiler = "cc" } = options;
  const api = pluginApi(qemuVersion);
  const directory = pluginDirectory(cacheDir);
  const home = join(directory, await pluginName(api));
  const target = branchesIn(home);
  if (await isThere(target)) return target;
  if (!(await findProgram(compiler))) {
    throw new VmtapeError("missing-tool", "there is no C compiler (cc) to build the branch plugin with", {
      tool: compiler,
      mend: installCompiler,
    });
  }
  try {
    await mkdir(directory, { recursive: true });
    const half = await mkdtemp(join(directory, "new-"));
    try {
      await Promise.all(plugins.map((plugin) => compile(compiler, api, plugin, half)));
      await rename(half, home).catch(async (error) => {
        if (!(await isThere(target))) throw error; // otherwise another process has built them meanwhile
      });
    } finally {
      await rm(half, { recursive: true, force: true });
    }
  } catch (error) {
    throw fileError(error, target, "building");
  }
  return target;
}

/** The path of the built branch plugin; undefined when it is not built yet ({@link buildPlugin}). */
export async function builtPlugin(options: {
  readonly cacheDir: string;
  readonly qemuVersion: string;
}): Promise<string | undefined> {
  const path = branchesIn(
    join(pluginDirectory(options.cacheDir), await pluginName(pluginApi(options.qemuVersion))),
  );
  return (await isThere(path)) ? path : undefined;
}

/** The path of the built guard; undefined when it is not built yet ({@link buildPlugin}). */
export async function builtGuard(options: {
  readonly cacheDir: string;
  readonly qemuVersion: string;
}): Promise<string | undefined> {
  const branches = await builtPlugin(options);
  return branches === undefined ? undefined : guardOf(branches);
}

/** The guard that was built with a branch plugin: `plugin/guard`. */
export function guardOf(branches: string): string {
  return join(dirname(branches), "guard.so");
}

const pluginDirectory = (cacheDir: string) => join(cacheDir, "plugins");
const branchesIn = (directory: string) => join(directory, "branches.so");

/** Which of the two plugin APIs a QEMU version has. Source: QEMU, include/qemu/qemu-plugin.h of 7.2 and 9.0. */
function pluginApi(qemuVersion: string): 1 | 2 {
  return Number(qemuVersion.split(".")[0]) >= 9 ? 2 : 1;
}

async function pluginName(api: number): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify({ api, flags }));
  for (const file of await sourcesIn("", /\.[ch]$/))
    hash.update(file).update(await readFile(join(sourceDirectory, file)));
  return hash.digest("hex").slice(0, 16);
}

/** The sources in a directory and below, in a fixed order. Names are relative to the plugins' common directory. */
async function sourcesIn(directory: string, named: RegExp): Promise<string[]> {
  const files = await readdir(join(sourceDirectory, directory), { recursive: true });
  return files
    .filter((file) => named.test(file))
    .map((file) => join(directory, file))
    .sort();
}

async function compile(compiler: string, api: number, plugin: string, directory: string): Promise<void> {
  const sources = [...(await sourcesIn("common", /\.c$/)), ...(await sourcesIn(plugin, /\.c$/))];
  const target = join(directory, `${plugin}.so`);
  try {
    await runTool(compiler, [
      ...flags,
      `-DQEMU_PLUGIN_API=${api}`,
      ...sources.map((source) => join(sourceDirectory, source)),
      "-o",
      target,
      "-lpthread",
      "-ldl",
    ]);
  } catch (error) {
    if (!isVmtapeError(error, "bad-file")) throw error;
    if (/No space left/i.test(String(error.cause))) {
      throw new VmtapeError("disk-full", `no space left while building ${target}`, { file: target }, error);
    }
    throw new VmtapeError("missing-tool", `the plugin cannot be compiled: ${error.message}`, {
      file: join(sourceDirectory, plugin),
      mend: installCompiler,
    });
  }
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isFile() && facts.size > 0,
    () => false,
  );
}
