import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "../../../src/base/tool.js";

/** The program as a kernel to boot, and as a file with DWARF for debuggers. */
export interface BuiltProgram {
  readonly kernel: string;
  readonly symbols: string;
}

const here = fileURLToPath(new URL(".", import.meta.url));
const guests = fileURLToPath(new URL("../../guests/", import.meta.url));

/** Options for a tiny machine, whose interrupt handlers use the same stack and save no vector registers. */
const code = [
  ...["-O0", "-gdwarf-5", "-fno-pic", "-ffreestanding", "-mno-red-zone", "-mgeneral-regs-only"],
  ...["-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fcf-protection=none"],
];

/** Compiles a source file. Its lines have the same names wherever it lies; addresses depend on the compiler. */
function compile(name: string, directory: string): Promise<unknown> {
  const paths = [`-ffile-prefix-map=${here}=`, `-fdebug-prefix-map=${directory}=`];
  const output = join(directory, `${name}.o`);
  return runTool("gcc", [...code, ...paths, "-c", "-o", output, join(here, `${name}.c`)]);
}

/** Builds it, for a tiny machine, into `directory`. */
export async function buildProgram(directory: string): Promise<BuiltProgram> {
  await mkdir(directory, { recursive: true });
  const file = (name: string) => join(directory, name);
  await compile("accounts", directory);
  await runTool("as", ["--64", "-I", guests, "-o", file("start.o"), join(here, "start.S")]);
  const linked = file("accounts.elf64");
  const script = ["-n", "--no-warn-rwx-segments", "-T", join(guests, "guest.ld")];
  await runTool("ld", [...script, "-o", linked, file("start.o"), file("accounts.o")]);
  await runTool("objcopy", ["-O", "elf32-i386", "--strip-debug", linked, file("accounts.elf32")]);
  return { kernel: file("accounts.elf32"), symbols: linked };
}

/** Builds it as the first program of a Linux guest. Returns the path of the program, which contains its DWARF. */
export async function buildInit(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  await compile("accounts", directory);
  await compile("init", directory);
  const output = join(directory, "init");
  await runTool("ld", ["-static", "-o", output, join(directory, "init.o"), join(directory, "accounts.o")]);
  return output;
}
