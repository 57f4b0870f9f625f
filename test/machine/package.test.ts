/** The package as users get it from npm: packed, installed into an empty folder, and used there. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildGuest } from "../guests/build.js";
import { Workbench } from "../workbench.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const entries = ["vmtape", "vmtape/formats", "vmtape/symbols", "vmtape/linux", "vmtape/gdb"] as const;
let bench: Workbench;
let packed: { filename: string; files: { path: string }[] };

/** Runs a program in a folder of the workbench. When it fails, so does the test, with its output. */
async function run(folder: string, program: string, ...args: string[]): Promise<string> {
  const child = bench.spawn("sh", [
    "-c",
    'cd "$1" && shift && exec "$@"',
    "sh",
    bench.path(folder),
    program,
    ...args,
  ]);
  const { code, stdout, stderr } = await child.ended;
  if (code !== 0)
    throw new Error(`${program} ${args.join(" ")}: exit ${code}\n${stdout}\n${stderr}`.slice(-4000));
  return stdout;
}

beforeAll(async () => {
  bench = await Workbench.make();
  // A copy is packed: making the package builds everything anew, and other tests run what is here.
  mkdirSync(bench.path("source"));
  for (const name of [
    "src",
    "plugin",
    "setup",
    "docs",
    "package.json",
    "package-lock.json",
    "tsconfig.base.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
  ])
    cpSync(`${root}${name}`, bench.path("source", name), { recursive: true });
  symlinkSync(`${root}node_modules`, bench.path("source", "node_modules"));
  const [one] = JSON.parse(await run("source", "npm", "pack", "--json", "--silent")) as [typeof packed];
  packed = one;
  mkdirSync(bench.path("user"));
  writeFileSync(
    bench.path("user", "package.json"),
    '{ "name": "user", "private": true, "type": "module" }\n',
  );
  await run(
    "user",
    "npm",
    "install",
    "--no-audit",
    "--no-fund",
    "--silent",
    bench.path("source", packed.filename),
  );
});
afterAll(() => bench[Symbol.asyncDispose]());

describe("the package", () => {
  test("holds what it needs at run time, and nothing else", () => {
    const paths = packed.files.map(({ path }) => path);
    expect([...new Set(paths.map((path) => path.split("/")[0]))].sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "dist", "docs", "package.json", "plugin"].sort(),
    );
    const { exports, bin } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
      exports: Record<string, { types: string; default: string } | string>;
      bin: Record<string, string>;
    };
    const targets = Object.values(exports).flatMap((one) =>
      typeof one === "string" ? [one] : [one.types, one.default],
    );
    for (const target of [...targets, ...Object.values(bin)])
      expect(paths).toContain(target.replace("./", ""));
    expect(paths).toContain("plugin/branches/branches.c");
    expect(paths.filter((path) => /\.tsbuildinfo$|\.test\.|^dist\/(bench|test-types)/.test(path))).toEqual(
      [],
    );
  });

  test("is well made to those who judge packages", async () => {
    const file = bench.path("source", packed.filename);
    expect(await run("source", `${root}node_modules/.bin/publint`, "--strict", file)).toMatch(/All good/);
    await run("source", `${root}node_modules/.bin/attw`, file, "--profile", "esm-only");
  });

  test("has types that need nothing else, and examples that are right", async () => {
    // A program from each entry's own example, compiled with `strict`, and with the declarations of all packages
    // checked.
    for (const [i, entry] of entries.entries()) {
      const source = readFileSync(`${root}src/${entry.split("/")[1] ?? "index"}.ts`, "utf8");
      const [, example] = /```ts\n([\s\S]*?) \* ```/.exec(source) ?? [];
      expect(example).toContain("import");
      writeFileSync(
        bench.path("user", `example-${i}.ts`),
        `${example!.replace(/^ \* ?/gm, "")}\nexport {};\n`,
      );
    }
    for (const options of [
      ["--module", "node16", "--moduleResolution", "node16"],
      ["--module", "esnext", "--moduleResolution", "bundler"],
    ])
      await run(
        "user",
        `${root}node_modules/.bin/tsc`,
        ...["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,esnext.disposable", ...options],
        ...entries.map((_, i) => `example-${i}.ts`),
      );
  });

  test("runs from an empty folder: doctor, record, and a program of ten lines", async () => {
    expect(await run("user", "npx", "vmtape", "doctor")).toMatch(/^ok +qemu /m);
    const { kernel } = await buildGuest("hello");
    await run(
      "user",
      "npx",
      "vmtape",
      "record",
      "t",
      "--kernel",
      kernel,
      "-M",
      "32",
      "--home",
      bench.path("home"),
    );
    writeFileSync(
      bench.path("user", "program.js"),
      [
        'import { icount, OpenTape, placesFrom, Tape } from "vmtape";',
        'import { dialectFor } from "vmtape/formats";',
        'import { GdbServer } from "vmtape/gdb";',
        'import { GuestTimeline } from "vmtape/linux";',
        'import { demangle } from "vmtape/symbols";',
        "const places = placesFrom({ ...process.env, VMTAPE_HOME: process.argv[2] });",
        'const open = await OpenTape.open(await Tape.open(places, "t"), { places });',
        "const moment = await open.at({ icount: icount(100n) });",
        'console.log(moment.toJSON().icount, dialectFor("7.2.22").id, typeof GdbServer, typeof GuestTimeline, demangle("_Z1fv"));',
        "await open[Symbol.asyncDispose]();",
        "",
      ].join("\n"),
    );
    const told = await run("user", process.execPath, "program.js", bench.path("home"));
    expect(told).toMatch(/^100 \S+ function function f\(\)\n$/);
  });
});
