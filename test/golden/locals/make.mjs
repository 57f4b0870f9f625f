// Stops locals.c at random and asks GDB for its variables there. Needs gcc and gdb: `node make.mjs`, when locals.c changes.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const work = mkdtempSync(join(tmpdir(), "locals-"));
const stops = 12;
const run = (program, ...args) =>
  execFileSync(program, args, {
    cwd: work,
    encoding: "utf8",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
  });

const programs = [];
for (const [seed, options] of [
  [1, ["-O2", "-gdwarf-5"]],
  [2, ["-O2", "-gdwarf-4"]],
  [3, ["-O1", "-gdwarf-5"]],
  [4, ["-O0", "-gdwarf-5"]],
]) {
  const name = `locals${seed}`;
  run("gcc", ...options, "-no-pie", "-o", name, join(here, "locals.c"));
  const functions = `["make", "walk", "hash", "many", "recurse"]`;
  const script = [
    "set confirm off",
    "set width 0",
    "break stop_here",
    "run >/dev/null",
    "finish",
    "delete",
    `python EXE="/${name}"; OUT="${name}.json"; STOPS=${stops}; SEED=${seed}; FUNCS=${functions}`,
    `source ${join(here, "stops.py")}`,
  ];
  run("gdb", "-nx", "-batch", ...script.flatMap((line) => ["-ex", line]), `./${name}`);
  const symbols = run("nm", "-S", name)
    .split("\n")
    .map((line) => line.split(" "))
    .filter((parts) => parts.length === 4)
    .map(([address, size, , text]) => ({ name: text, address: `0x${address}`, size: `0x${size}` }));
  programs.push({
    options: options.join(" "),
    elf: gzipSync(readFileSync(join(work, name)), { level: 9 }).toString("base64"),
    symbols,
    stops: JSON.parse(readFileSync(join(work, `${name}.json`), "utf8")),
  });
}
writeFileSync(join(here, "gdb.json"), `${JSON.stringify(programs, null, 1)}\n`);
rmSync(work, { recursive: true });
