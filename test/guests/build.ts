import { createHash } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTool } from "../../src/base/tool.js";

/** A tiny machine, built from `test/guests/NAME.S`. */
export interface Guest {
  readonly name: string;
  /** Multiboot ELF32 image for QEMU's `-kernel`; it carries its symbols. */
  readonly kernel: string;
  /** The same image as ELF64, for tools that want 64-bit symbols. */
  readonly symbols: string;
}

const sources = dirname(fileURLToPath(import.meta.url));
const cache = join(sources, "../../node_modules/.cache/vmtape-guests");

/**
 * Builds a guest, or finds it in the cache, whose key depends on all sources in this folder.
 *
 * @throws VmtapeError `missing-tool` without gcc and binutils, `bad-file` with the assembler's last line
 */
export async function buildGuest(name: string): Promise<Guest> {
  const directory = join(cache, await sourceHash());
  const kernel = join(directory, `${name}.elf32`);
  const symbols = join(directory, `${name}.elf64`);
  try {
    await access(kernel);
  } catch {
    await mkdir(directory, { recursive: true });
    const part = `${join(directory, name)}.${process.pid}`;
    await runTool("as", ["--64", "-I", sources, "-o", `${part}.o`, join(sources, `${name}.S`)]);
    await runTool("ld", [
      "-n",
      "--no-warn-rwx-segments",
      "-T",
      join(sources, "guest.ld"),
      "-o",
      `${part}.elf64`,
      `${part}.o`,
    ]);
    // QEMU's multiboot loader takes 32-bit ELF files only, whatever the code in them.
    await runTool("objcopy", ["-O", "elf32-i386", `${part}.elf64`, `${part}.elf32`]);
    await rm(`${part}.o`);
    await rename(`${part}.elf64`, symbols);
    await rename(`${part}.elf32`, kernel);
  }
  return { name, kernel, symbols };
}

/** The names of all guests, in order. */
export async function guestNames(): Promise<string[]> {
  const names = await readdir(sources);
  return names
    .filter((name) => name.endsWith(".S"))
    .map((name) => name.slice(0, -2))
    .sort();
}

/** The addresses of a guest's labels. */
export async function guestLabels(guest: Guest): Promise<Map<string, bigint>> {
  const { stdout } = await runTool("nm", [guest.symbols]);
  const labels = new Map<string, bigint>();
  for (const line of stdout.split("\n")) {
    const [, address, type, name] = line.match(/^([0-9a-f]+) (\w) (\w+)$/) ?? [];
    // Absolute symbols are constants of boot.inc, except for one, which is an address.
    if (name !== undefined && (type !== "a" || name === "PAGES")) labels.set(name, BigInt(`0x${address}`));
  }
  return labels;
}

/** The text of the expected branch log beside a guest, `test/guests/NAME.branches`. */
export function expectedBranches(name: string): Promise<string> {
  return readFile(join(sources, `${name}.branches`), "utf8");
}

/** Guests that QEMU's GDB stub cannot step through, so that only their expected logs judge them. */
export const unsteppable: ReadonlySet<string> = new Set(["breakpoints"]);

/** The guests that have an expected branch log. */
export async function branchGuests(): Promise<string[]> {
  const files = await readdir(sources);
  return (await guestNames()).filter((name) => files.includes(`${name}.branches`));
}

async function sourceHash(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(sources)).sort()) {
    if (!/\.(S|inc|ld)$/.test(name)) continue;
    hash
      .update(name)
      .update("\0")
      .update(await readFile(join(sources, name)));
  }
  return hash.digest("hex").slice(0, 16);
}
