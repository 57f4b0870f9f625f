import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "../../src/base/tool.js";

/** The plugins' sources. */
export const pluginDirectory = fileURLToPath(new URL("../../plugin/", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

/** clang's name here: distributions have it with and without a number. */
const clang =
  (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((place) => (existsSync(place) ? readdirSync(place) : []))
    .find((name) => /^clang(-\d+)?$/.test(name)) ?? "clang";

/** Both of them must be there: set-up installs them, and a test without one fails. */
export const compilers: readonly string[] = ["gcc", clang];

/** All `.c` files of a directory of the plugins'. */
export function sourcesOf(directory: string): string[] {
  const names = readdirSync(join(pluginDirectory, directory)).filter((name) => name.endsWith(".c"));
  return names.sort().map((name) => join(pluginDirectory, directory, name));
}

/** The scenarios on the fake QEMU, with the plugin linked in; the program's path. */
export async function compileScenarios(compiler: string, sanitizers: string, into: string): Promise<string> {
  const target = join(into, `scenarios-${compiler}-${sanitizers.replace(/\W/g, "-")}`);
  await runTool(compiler, [
    ...["-O1", "-g", "-Wall", "-Werror", "-fPIC", "-rdynamic", "-DQEMU_PLUGIN_API=1"],
    ...[`-fsanitize=${sanitizers}`, "-fno-sanitize-recover=all"],
    ...[
      join(here, "scenarios.c"),
      join(here, "fake-qemu.c"),
      join(here, "conversation.c"),
      ...sourcesOf("branches"),
      ...sourcesOf("common"),
    ],
    ...["-o", target, "-lpthread", "-ldl"],
  ]);
  return target;
}

/** A harness of this directory with some of the plugin's sources. */
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

/** What a compiler says of the plugins' sources; nothing, if all is well. */
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
