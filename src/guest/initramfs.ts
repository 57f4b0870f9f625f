/** The guest's root file system: busybox, modules, `/init`, and what the user adds. */
import { encodeNewc, type NewcEntry, newcTree } from "../formats/newc.js";
import type { Busybox } from "./busybox.js";
import type { GuestModule } from "./modules.js";

export interface InitramfsParts {
  readonly busybox: Pick<Busybox, "data" | "applets">;
  /** What `uname -r` says: modules lie in `/lib/modules/RELEASE`. */
  readonly release: string;
  readonly modules: readonly GuestModule[];
  /** The program or script that is `/init`. */
  readonly init: Uint8Array;
  /** Later ones replace earlier ones and whatever else has their path. */
  readonly additions?: readonly NewcEntry[];
}

/** The device number of /dev/console, which the kernel opens for `/init` before anything is mounted. */
const consoleDevice = { major: 5, minor: 1 } as const;
const nullDevice = { major: 1, minor: 3 } as const;

/**
 * The initramfs as an uncompressed archive. Its bytes depend only on the parts.
 *
 * It is not compressed, because unpacking would cost some 10^8 instructions in each recording, and the file has only
 * a few MB. For the same reason the links from programs to busybox are made here, not by `busybox --install` in the
 * guest.
 *
 * `/etc/modules` lists the modules' paths in the order they load.
 *
 * @throws VmtapeError `usage` when an addition puts a file below a file, or has no valid path
 */
export function buildInitramfs(parts: InitramfsParts): Uint8Array {
  const moduleRoot = `lib/modules/${parts.release}`;
  const list = parts.modules.map((module) => `/${moduleRoot}/${module.path}\n`).join("");
  const entries: NewcEntry[] = [
    ...["dev", "etc", "mnt", "proc", "root", "run", "sys", "var"].map(directory),
    { type: "directory", path: "tmp", mode: 0o1777 },
    { type: "symlink", path: "sbin", mode: 0o777, target: "bin" },
    { type: "character", path: "dev/console", mode: 0o600, ...consoleDevice },
    { type: "character", path: "dev/null", mode: 0o666, ...nullDevice },
    { type: "file", path: "bin/busybox", mode: 0o755, data: parts.busybox.data },
    ...parts.busybox.applets.map(link),
    textFile("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
    textFile("etc/group", "root:x:0:\n"),
    textFile("etc/hosts", "127.0.0.1 localhost\n10.0.2.2 host\n"),
    textFile("etc/resolv.conf", "nameserver 10.0.2.3\n"),
    textFile("etc/modules", list),
    ...parts.modules.map((module) => file(`${moduleRoot}/${module.path}`, module.data)),
    { type: "file", path: "init", mode: 0o755, data: parts.init },
    ...(parts.additions ?? []),
  ];
  return encodeNewc(newcTree(entries));
}

function directory(path: string): NewcEntry {
  return { type: "directory", path, mode: 0o755 };
}

function link(applet: string): NewcEntry {
  return { type: "symlink", path: `bin/${applet}`, mode: 0o777, target: "busybox" };
}

function file(path: string, data: Uint8Array): NewcEntry {
  return { type: "file", path, mode: 0o644, data };
}

function textFile(path: string, text: string): NewcEntry {
  return file(path, Buffer.from(text));
}
