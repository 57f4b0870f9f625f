import { access } from "node:fs/promises";
import { join } from "node:path";
import { VmtapeError } from "../base/errors.js";
import { runTool } from "../base/tool.js";
import { installQemu, type QemuBuild } from "./build.js";

/**
 * The firmware images that the `pc` machine of {@link machineArguments} may load. The guest executes them, so each
 * tape has a copy of its own: a new SeaBIOS package must not break old tapes.
 */
export const firmwareNames = [
  "bios-256k.bin",
  "linuxboot.bin",
  "linuxboot_dma.bin",
  "multiboot.bin",
  "multiboot_dma.bin",
  "pvh.bin",
] as const;

/** The images without which no guest starts. Which of the others exist depends on QEMU's version. */
const required: ReadonlySet<string> = new Set(["bios-256k.bin", "linuxboot_dma.bin"]);

export interface FirmwareFile {
  readonly name: string;
  readonly path: string;
}

/**
 * Finds the firmware images this QEMU would load, in its own search order (`-L help`).
 *
 * @throws `missing-tool` when a required one is absent
 */
export async function findFirmware(build: QemuBuild): Promise<FirmwareFile[]> {
  const { stdout } = await runTool(build.path, ["-L", "help"]);
  const directories = stdout.split("\n").filter((line) => line.startsWith("/"));
  const files: FirmwareFile[] = [];
  for (const name of firmwareNames) {
    const path = await firstThatExists(directories.map((directory) => join(directory, name)));
    if (path) files.push({ name, path });
    else if (required.has(name)) {
      throw new VmtapeError("missing-tool", `QEMU's firmware file ${name} is not installed`, {
        tool: name,
        mend: installQemu.replace("qemu-utils", "qemu-system-data seabios"),
      });
    }
  }
  return files;
}

async function firstThatExists(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const exists = await access(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return undefined;
}
