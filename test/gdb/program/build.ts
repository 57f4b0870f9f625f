import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "../../../src/base/tool.js";

/** The program as a machine to boot, and with its DWARF for debuggers. */
export interface BuiltProgram {
  readonly kernel: string;
  readonly symbols: string;
}

const here = fileURLToPath(new URL(".", import.meta.url));
const guests = fileURLToPath(new URL("../../guests/", import.meta.url));

/** Builds it into `directory`. The same source gives the same lines, wherever it lies; addresses depend on the compiler. */
export async function buildProgram(directory: string): Promise<BuiltProgram> {
  await mkdir(directory, { recursive: true });
  const file = (name: string) => join(directory, name);
  // Interrupts use the same stack and save no vector registers.
  const code = [
    "-O0",
    "-g",
    "-gdwarf-5",
    "-fno-pic",
    "-ffreestanding",
    "-mno-red-zone",
    "-mgeneral-regs-only",
  ];
  const plain = ["-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fcf-protection=none"];
  const paths = [`-ffile-prefix-map=${here}=`, `-fdebug-prefix-map=${directory}=`];
  await runTool("gcc", [
    ...code,
    ...plain,
    ...paths,
    "-c",
    "-o",
    file("accounts.o"),
    join(here, "accounts.c"),
  ]);
  await runTool("as", ["--64", "-I", guests, "-o", file("start.o"), join(here, "start.S")]);
  const objects = [file("start.o"), file("accounts.o")];
  const linked = file("accounts.elf64");
  const script = ["-n", "--no-warn-rwx-segments", "-T", join(guests, "guest.ld")];
  await runTool("ld", [...script, "-o", linked, ...objects]);
  await runTool("objcopy", ["-O", "elf32-i386", "--strip-debug", linked, file("accounts.elf32")]);
  return { kernel: file("accounts.elf32"), symbols: linked };
}
