/** Makes a disk image from a root directory, without mounting anything. */
import { createHash } from "node:crypto";
import type { Step } from "./image-bootstrap.js";
import type { ImageSpec } from "./image-spec.js";

/**
 * The features of the file system, which every kernel from 5.10 on can read. They are named one by one, since
 * mke2fs's defaults depend on its version, and those of the newest versions are refused by older kernels.
 */
const features = [
  "none",
  "has_journal",
  "ext_attr",
  "resize_inode",
  "dir_index",
  "filetype",
  "extent",
  "64bit",
  "flex_bg",
  "sparse_super",
  "large_file",
  "huge_file",
  "dir_nlink",
  "extra_isize",
  "metadata_csum",
];

export interface DiskPlaces {
  readonly root: string;
  /** The raw image. */
  readonly raw: string;
  readonly qcow2: string;
}

/**
 * The command of mke2fs that makes a file system with the files of a directory. Tables and journal are initialised
 * now; otherwise the guest's kernel would do it in the background.
 */
export function mke2fsCommand(
  spec: ImageSpec,
  { root, raw }: Pick<DiskPlaces, "root" | "raw">,
  mke2fs = "mke2fs",
): [string, ...string[]] {
  const id = fileSystemId(spec);
  return [
    mke2fs,
    "-q",
    "-F",
    "-t",
    "ext4",
    "-b",
    "4096",
    "-I",
    "256",
    "-m",
    "1",
    "-O",
    features.join(","),
    "-E",
    `lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,hash_seed=${id}`,
    "-U",
    id,
    "-L",
    "root",
    "-d",
    root,
    raw,
    `${spec.diskBytes / 1024}k`,
  ];
}

/** The steps for root: from the root directory to the disk. */
export function rootDisk(spec: ImageSpec, places: DiskPlaces, mke2fs: string): Step[] {
  return [{ doing: "writing the disk", command: mke2fsCommand(spec, places, mke2fs) }, convert(places)];
}

/**
 * The steps for users who are not root. The archive is unpacked and written to the disk under fakeroot, so that files
 * keep their owners. Device nodes are left out; the kernel makes its own.
 */
export function rootlessDisk(spec: ImageSpec, archive: string, places: DiskPlaces, mke2fs: string): Step[] {
  const script = `set -e
tar -x -p -f "$1" -C "$2" --numeric-owner --exclude=./dev/*
shift 2
"$@"`;
  return [
    {
      doing: "writing the disk",
      command: [
        "fakeroot",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        archive,
        places.root,
        ...mke2fsCommand(spec, places, mke2fs),
      ],
    },
    convert(places),
  ];
}

/** Converts the disk to qcow2, which stores only blocks that are not empty, so that recordings copy it quickly. */
function convert({ raw, qcow2 }: DiskPlaces): Step {
  return {
    doing: "packing the disk",
    command: ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, qcow2],
  };
}

/** The id of the file system, which depends only on the specification. */
function fileSystemId(spec: ImageSpec): string {
  const digest = createHash("sha256")
    .update(`ext4 ${JSON.stringify(spec)}`)
    .digest("hex");
  const part = (from: number, to: number) => digest.slice(from, to);
  return `${part(0, 8)}-${part(8, 12)}-4${part(12, 15)}-8${part(15, 18)}-${part(18, 30)}`;
}
