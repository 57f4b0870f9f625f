import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { encodeManifest, type Manifest, type StoredFile } from "../../src/formats/manifest.js";

const contents: Readonly<Record<string, string>> = {
  "replay.log": "log",
  "console.raw": "hello\n",
  "console.cast": '{"version":2}\n[0.1,"o","hello\\r\\n"]\n',
  kernel: "kernel",
  initrd: "initrd",
  "disks/0.base": "disk",
  "disks/0.overlay.qcow2": "overlay",
  "firmware/bios.bin": "firmware",
  "symbols/0": "symbols",
  lock: "",
};

/** Every file of the tape that {@link writeSampleTape} makes. */
export const sampleFiles: readonly string[] = ["manifest.json", ...Object.keys(contents)];

/** A manifest that fits the sample's files. */
export function sampleManifest(id = "8e4b8f3a-8c43-4b1e-9d83-2b0f2c1b8a11"): Manifest & {
  readonly end: NonNullable<Manifest["end"]>;
} {
  return {
    format: "vmtape",
    version: 1,
    id,
    created: "2025-01-02T03:04:05.678Z",
    machine: {
      arch: "x86_64",
      memoryMB: 16,
      cpu: "qemu64",
      append: "quiet",
      kernel: stored("kernel"),
      initrd: stored("initrd"),
      disks: [{ format: "raw", base: stored("disks/0.base") }],
      network: "none",
      firmware: [{ name: "bios.bin", ...stored("firmware/bios.bin") }],
    },
    qemu: { version: "7.2.22", fullVersion: "7.2.22 (Sample)", path: "/qemu", sha256: "a".repeat(64) },
    symbols: [{ ...stored("symbols/0"), label: "program" }],
    witnesses: [],
    end: {
      cause: "power-off",
      icount: 1000,
      seconds: 1,
      log: { ...stored("replay.log"), events: 3 },
      console: stored("console.raw"),
    },
  };
}

/**
 * Writes a tape with one file of each kind: it was not made by a machine, but its manifest fits.
 *
 * @param manifest the manifest to write in place of the sample's
 */
export async function writeSampleTape(
  directory: string,
  manifest: Manifest = sampleManifest(),
): Promise<void> {
  for (const [name, text] of Object.entries(contents)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
  await writeFile(join(directory, "manifest.json"), encodeManifest(manifest));
}

function stored(name: string): StoredFile {
  const text = contents[name]!;
  return { bytes: text.length, sha256: createHash("sha256").update(text).digest("hex") };
}
