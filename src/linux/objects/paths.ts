import { VmtapeError } from "../../base/errors.js";
import { hex } from "../../base/units.js";
import type { LinuxGuest } from "../guest/linux-guest.js";

/** `struct path`: a directory entry and the mount through which it was reached. */
export interface GuestPath {
  readonly mount: bigint;
  readonly entry: bigint;
}

/** No path has more parts, and none that is read here is longer. */
const mostParts = 4096;
const longestPart = 255;

interface Entry {
  readonly parent: bigint;
  readonly name: string;
  readonly isHashed: boolean;
  readonly operations: bigint;
  readonly inode: bigint;
}

interface Mount {
  readonly root: bigint;
  readonly parentMount: bigint;
  readonly mountPoint: bigint;
  /** Its `struct mount` is its own parent: nothing lies above. */
  readonly isTop: boolean;
}

/**
 * Names of files as `/proc` shows them: through mounts up to the system's root, with ` (deleted)`, and `pipe:[…]`,
 * `socket:[…]`, `anon_inode:…` for what has no place in a tree. Source: fs/d_path.c. Keeps what it read, so asking for
 * many files of one instant is cheap.
 */
export class PathReader {
  private readonly guest: LinuxGuest;
  private readonly entries = new Map<bigint, Entry>();
  private readonly mounts = new Map<bigint, Mount>();
  private readonly texts = new Map<string, string>();
  private readonly namers: ReadonlyMap<bigint, Namer>;

  constructor(guest: LinuxGuest) {
    this.guest = guest;
    this.namers = namersOf(guest);
  }

  /**
   * The path as text. Without a root it goes up to the top of all mounts.
   *
   * @throws VmtapeError `bad-memory` when it leads in circles; `not-mapped`
   */
  async text(path: GuestPath, root?: GuestPath): Promise<string> {
    const key = `${path.mount}:${path.entry}:${root?.mount}:${root?.entry}`;
    let text = this.texts.get(key);
    if (text === undefined) {
      text = await this.compose(path, root);
      this.texts.set(key, text);
    }
    return text;
  }

  private async compose(path: GuestPath, root: GuestPath | undefined): Promise<string> {
    const entry = await this.entry(path.entry);
    const special = await this.specialName(path, entry);
    if (special !== undefined) return special;
    const text = await this.climb(path, root);
    const isDeleted = !entry.isHashed && entry.parent !== path.entry;
    return isDeleted ? `${text} (deleted)` : text;
  }

  private async climb(path: GuestPath, root: GuestPath | undefined): Promise<string> {
    const parts: string[] = [];
    let { mount, entry: at } = path;
    for (let steps = 0; steps < mostParts; steps++) {
      if (root && mount === root.mount && at === root.entry) return `/${parts.join("/")}`;
      const within = await this.mount(mount);
      const entry = await this.entry(at);
      if (at === within.root || entry.parent === at) {
        if (at !== within.root || within.isTop) return `/${parts.join("/")}`;
        at = within.mountPoint;
        mount = within.parentMount;
        continue;
      }
      parts.unshift(entry.name);
      at = entry.parent;
    }
    throw new VmtapeError("bad-memory", `the path of the file at ${hex(path.entry)} does not end`, {
      address: path.entry,
    });
  }

  /** As a file system's `d_dname` makes it. */
  private async specialName(path: GuestPath, entry: Entry): Promise<string | undefined> {
    const place = this.guest.types.struct("dentry_operations").findMember("d_dname");
    if (entry.operations === 0n || !place) return undefined;
    const namer = await this.guest.word(entry.operations + BigInt(place.byteOffset));
    if (namer === 0n) return undefined;
    const { root } = await this.mount(path.mount);
    if (entry.parent === path.entry && path.entry === root) return undefined;
    return this.namers.get(namer)?.(this.guest, entry);
  }

  private async entry(address: bigint): Promise<Entry> {
    let entry = this.entries.get(address);
    if (!entry) {
      entry = await readEntry(this.guest, address);
      this.entries.set(address, entry);
    }
    return entry;
  }

  private async mount(address: bigint): Promise<Mount> {
    let mount = this.mounts.get(address);
    if (!mount) {
      mount = await readMount(this.guest, address);
      this.mounts.set(address, mount);
    }
    return mount;
  }
}

async function readEntry(guest: LinuxGuest, address: bigint): Promise<Entry> {
  const names = ["d_parent", "d_name.name", "d_name.len", "d_hash.pprev", "d_op", "d_inode"];
  const view = await guest.read("dentry", address, names);
  const length = Math.min(view.number("d_name.len"), longestPart);
  const bytes = await guest.words.some(view.word("d_name.name"), length);
  return {
    parent: view.word("d_parent"),
    name: Buffer.from(bytes).toString("utf8"),
    isHashed: view.word("d_hash.pprev") !== 0n,
    operations: view.word("d_op"),
    inode: view.word("d_inode"),
  };
}

/** @param address of the `struct vfsmount` inside a `struct mount` */
async function readMount(guest: LinuxGuest, address: bigint): Promise<Mount> {
  const inside = BigInt(guest.types.struct("mount").member("mnt").byteOffset);
  const view = await guest.read("mount", address - inside, ["mnt_parent", "mnt_mountpoint", "mnt.mnt_root"]);
  const parent = view.word("mnt_parent");
  return {
    root: view.word("mnt.mnt_root"),
    parentMount: parent + inside,
    mountPoint: view.word("mnt_mountpoint"),
    isTop: parent === view.address,
  };
}

/** How a file system without names calls a file. */
type Namer = (guest: LinuxGuest, entry: Entry) => Promise<string>;

async function inodeNumber(guest: LinuxGuest, inode: bigint): Promise<bigint> {
  return inode === 0n ? 0n : (await guest.read("inode", inode, ["i_ino"])).word("i_ino");
}

const namersBySymbol: Readonly<Record<string, Namer>> = {
  pipefs_dname: async (guest, { inode }) => `pipe:[${await inodeNumber(guest, inode)}]`,
  sockfs_dname: async (guest, { inode }) => `socket:[${await inodeNumber(guest, inode)}]`,
  anon_inodefs_dname: async (_, { name }) => `anon_inode:${name}`,
  simple_dname: async (_, { name }) => `/${name} (deleted)`,
  dmabuffs_dname: async (_, { name }) => `/${name}:`,
  ns_dname: async (guest, { inode }) => {
    const space = (await guest.read("inode", inode, ["i_private"])).word("i_private");
    const operations = (await guest.read("ns_common", space, ["ops"])).word("ops");
    const name = (await guest.read("proc_ns_operations", operations, ["name"])).word("name");
    return `${await guest.text(name, 64)}:[${await inodeNumber(guest, inode)}]`;
  },
};

/** By the address of the kernel's function. */
function namersOf(guest: LinuxGuest): ReadonlyMap<bigint, Namer> {
  const namers = new Map<bigint, Namer>();
  for (const [symbol, namer] of Object.entries(namersBySymbol)) {
    const address = guest.findAddress(symbol);
    if (address !== undefined) namers.set(address, namer);
  }
  return namers;
}

/**
 * The root directory of the system's first process, to which paths are told: what an administrator of the guest sees,
 * also of a file in a container or a jail. Undefined before there is one.
 */
export async function systemRoot(guest: LinuxGuest): Promise<GuestPath | undefined> {
  const type = guest.types.struct("task_struct");
  const toTasks = BigInt(type.member("tasks").byteOffset);
  const idle = guest.address("init_task");
  const next = await guest.word(idle + toTasks);
  if (next === 0n || next === idle + toTasks) return undefined;
  const fs = (await guest.read("task_struct", next - toTasks, ["fs"])).word("fs");
  if (fs === 0n) return undefined;
  const view = await guest.read("fs_struct", fs, ["root.mnt", "root.dentry"]);
  return { mount: view.word("root.mnt"), entry: view.word("root.dentry") };
}
