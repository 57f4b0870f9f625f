import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "../../src/base/tool.js";

/** The plugins' sources. */
export const pluginDirectory = fileURLToPath(new URL("../../plugin/", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

/** The name of clang on this host, with or without a version number. */
const clang =
  (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((place) => (existsSync(place) ? readdirSync(place) : []))
    .find((name) => /^clang(-\d+)?$/.test(name)) ?? "clang";

/** Both compilers are needed: set-up installs them, and a test without one fails. */
export const compilers: readonly string[] = ["gcc", clang];

/** All `.c` files of a directory of the plugins. */
export function sourcesOf(directory: string): string[] {
  const names = readdirSync(join(pluginDirectory, directory)).filter((name) => name.endsWith(".c"));
  return names.sort().map((name) => join(pluginDirectory, directory, name));
}

/** The branch plugin's scenarios, with its fake QEMU and the plugin linked in; the program's path. */
export function compileScenarios(compiler: string, sanitizers: string, into: string): Promise<string> {
  return compileFake(["scenarios", "fake-qemu"], "branches", { compiler, sanitizers, into, api: 1 });
}

/** The guard's, likewise. */
export function compileGuardScenarios(
  compiler: string,
  sanitizers: string,
  into: string,
  api: 1 | 2,
): Promise<string> {
  const parts = ["guard-scenarios", "fake-guarded-qemu"];
  return compileFake(parts, "guard", { compiler, sanitizers, into, api, faked: fakedFunctions });
}

/** Functions of the C library that fake-guarded-qemu.c has in their stead. */
const fakedFunctions = ["dlsym", "dladdr1", "pthread_create", "open_memstream", "clock_gettime", "poll"];

async function compileFake(
  parts: readonly string[],
  plugin: string,
  options: {
    readonly compiler: string;
    readonly sanitizers: string;
    readonly into: string;
    readonly api: 1 | 2;
    readonly faked?: readonly string[];
  },
): Promise<string> {
  const { compiler, sanitizers, into, api, faked = [] } = options;
  const target = join(into, `${parts[0]}-${compiler}-${sanitizers.replace(/\W/g, "-")}-${api}`);
  await runTool(compiler, [
    ...["-O1", "-g", "-Wall", "-Werror", "-fPIC", "-rdynamic", `-DQEMU_PLUGIN_API=${api}`],
    ...[`-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"],
    ...faked.map((name) => `-D${name}=fake_${name}`),
    ...[...parts, "conversation"].map((part) => join(here, `${part}.c`)),
    ...[...sourcesOf(plugin), ...sourcesOf("common")],
    ...["-o", target, "-lpthread", "-ldl"],
  ]);
  return target;
}

/** Compiles a harness of this directory with some of the plugin's sources. */
export async function compileHarness(
  name: string,
  parts: readonly string[],
  options: { readonly into: string; readonly compiler?: string },
): Promise<string> {
  const target = join(options.into, name);
  await runTool(options.compiler ?? "gcc", [
    ...["-O1", "-g", "-Wall", "-Werror", "-DQEMU_PLUGIN_API=1", "-fsanitize=address,undefined"],
    ...["-fno-sanitize-recover=all", `-I${pluginDirectory}`, join(here, `${name}.c`)],
    ...parts.map((part) => join(pluginDirectory, part)),
    ...["-o", target],
  ]);
  return target;
}

/** A compiler's warnings about the plugins' sources; empty when there are none. */
export async function lint(compiler: string, api: number, more: readonly string[] = []): Promise<string> {
  const warnings = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wconversion",
    "-Wno-sign-conversion",
  ];
  const sources = ["common", "branches", "guard"].flatMap(sourcesOf);
  const mode = more.length > 0 ? more : ["-fsyntax-only"];
  const args = ["-O2", "-fPIC", ...warnings, `-DQEMU_PLUGIN_API=${api}`, ...mode];
  const said = [];
  for (const source of sources) {
    const { stdout, stderr } = await runTool(compiler, [...args, source], { mend: "npm run setup" }).catch(
      (error: Error) => ({ stdout: "", stderr: `${error.message}\n${String(error.cause)}` }),
    );
    said.push(stdout, stderr);
  }
  return said.join("");
}
