/** A package archive without apt: real `.deb` files, made here from a tree of files. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { throwIfAborted } from "../../src/base/stopping.js";
import type { Dependency, PackageArchive, PackageRecord } from "../../src/guest/archive.js";

export interface FakePackage {
  readonly name: string;
  readonly version?: string;
  readonly architecture?: string;
  readonly depends?: readonly (string | Dependency)[];
  /** Contents by path; scripts and ELF files are executable. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
}

/** An archive that counts its requests, and can be made to fail. */
export interface FakeArchive extends PackageArchive {
  readonly downloads: string[];
  readonly lookups: string[];
  /** Runs in every download, before the file is there. */
  beforeDownload: () => Promise<void> | void;
}

/** Builds the packages below `directory` with dpkg-deb. */
export async function fakeArchive(directory: string, packages: readonly FakePackage[]): Promise<FakeArchive> {
  const known: { record: PackageRecord; file: string }[] = [];
  for (const [index, wanted] of packages.entries()) {
    const { name, version = "1.0-1", architecture = "amd64", depends = [], files = {} } = wanted;
    const tree = join(directory, `tree-${index}`);
    await put(
      join(tree, "DEBIAN/control"),
      `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\nMaintainer: t <t@t>\nDescription: t\n`,
    );
    for (const [path, contents] of Object.entries(files)) await put(join(tree, path), contents);
    const file = join(directory, `${index}.deb`);
    execFileSync("dpkg-deb", ["--root-owner-group", "-Zgzip", "--build", tree, file]);
    const bytes = await readFile(file);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const record = {
      name,
      version,
      architecture,
      depends: depends.map((one) => (typeof one === "string" ? { name: one } : one)),
      sha256,
      size: bytes.length,
    };
    known.push({ record, file });
  }
  const archive: FakeArchive = {
    downloads: [],
    lookups: [],
    id: "fake",
    beforeDownload: () => {},
    find: async (name, version) => {
      archive.lookups.push(name);
      return known.find(
        ({ record }) => record.name === name && (version ?? record.version) === record.version,
      )?.record;
    },
    download: async (record, into, signal) => {
      archive.downloads.push(record.name);
      await archive.beforeDownload();
      throwIfAborted(signal);
      const { file } = known.find((one) => one.record.name === record.name)!;
      await copyFile(file, join(into, "x.deb"));
      return join(into, "x.deb");
    },
  };
  return archive;
}

async function put(path: string, contents: string | Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, contents);
  await chmod(path, isProgram(contents) ? 0o755 : 0o644);
}

function isProgram(contents: string | Buffer): boolean {
  const start = Buffer.from(contents).toString("latin1", 0, 4);
  return start.startsWith("#!") || start === "\x7fELF";
}
