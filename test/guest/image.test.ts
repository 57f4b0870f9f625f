import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { NewcEntry } from "../../src/formats/newc.js";
import { recordWords } from "../../src/guest/image.js";
import { additionsArchive, archived } from "../../src/guest/image-additions.js";
import { rootlessSteps, rootSteps, type Step } from "../../src/guest/image-bootstrap.js";
import { mke2fsCommand, rootDisk, rootlessDisk } from "../../src/guest/image-disk.js";
import { earlySetup, imageAppend, lateSetup } from "../../src/guest/image-setup.js";
import { sourcesOf } from "../../src/guest/image-sources.js";
import { defaultDiskBytes, imageDirectory, imageSpec, parseImagePlace } from "../../src/guest/image-spec.js";
import { checkImageTools } from "../../src/host/check-image.js";

const spec = imageSpec({ suite: "bookworm", include: ["hello,tree", "gcc=4:12.2.0-3"] });
const sources = sourcesOf("bookworm", undefined, "");

describe("--image", () => {
  test.each([
    ["2G", { diskBytes: 2 * 2 ** 30 }],
    ["512m", { diskBytes: 2 ** 29 }],
    ["4GiB", { diskBytes: 4 * 2 ** 30 }],
    ["1T", { diskBytes: 2 ** 40 }],
    ["./2G", { directory: "./2G" }],
    ["bookworm", { directory: "bookworm" }],
    ["my images,size=3G", { directory: "my images", diskBytes: 3 * 2 ** 30 }],
    ["a,b", { directory: "a,b" }],
  ])("%s", (text, place) => {
    expect(parseImagePlace(text)).toEqual(place);
  });
  test.each(["", "100M", "3T", "dir,size=", "dir,size=large", ",size=2G", "dir,size=1M"])(
    "refuses '%s'",
    (text) => {
      expect(() => parseImagePlace(text)).toThrow(expect.objectContaining({ code: "usage" }));
    },
  );
  test("without a directory goes into the cache, one for each specification", () => {
    expect(imageDirectory({}, "/cache", "0123456789abcdef0123", "sid")).toBe(
      "/cache/images/sid-0123456789abcdef",
    );
    expect(imageDirectory({ directory: "/d" }, "/cache", "k", "sid")).toBe("/d");
  });
});

describe("a specification", () => {
  test("takes packages apart, each once", () => {
    expect(spec).toEqual({
      suite: "bookworm",
      kernelPackage: "linux-image-amd64",
      include: ["gcc=4:12.2.0-3", "hello", "tree"],
      diskBytes: defaultDiskBytes,
    });
    expect(imageSpec({ suite: "sid", package: "6.1.0-50-cloud-amd64" }).kernelPackage).toBe(
      "linux-image-6.1.0-50-cloud-amd64",
    );
  });
  test.each([
    { suite: "-x" },
    { suite: "book worm" },
    { suite: "../x" },
    { suite: "sid", include: ["--help"] },
    { suite: "sid", include: ["a;b"] },
    { suite: "sid", package: "$(x)" },
  ])("refuses %o", (words) => {
    expect(() => imageSpec(words)).toThrow(expect.objectContaining({ code: "usage" }));
  });
});

describe("sources", () => {
  const here = [
    "http://mirror.example/debian/|bookworm|Debian|main",
    "http://mirror.example/debian/|bookworm-updates|Debian|main",
    "http://mirror.example/security|bookworm-security|Debian|main",
    "https://deb.nodesource.com/node_20.x/|nodistro|. nodistro|main",
    "http://user:secret@private.example/debian|sid|Debian|main",
  ].join("\n");
  test("are those of this machine's apt, with the suite's updates", () => {
    expect(sourcesOf("bookworm", undefined, here)).toEqual({
      mirror: "http://mirror.example/debian",
      lines: [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/security bookworm-security main",
        "deb http://mirror.example/debian bookworm-updates main",
      ],
    });
  });
  test("of another suite are in the same archive", () => {
    expect(sourcesOf("trixie", undefined, here).lines).toEqual([
      "deb http://mirror.example/debian trixie main",
    ]);
  });
  test("are Debian's own where there are none, and never one with a password", () => {
    expect(sourcesOf("sid", undefined, here.split("\n").slice(3).join("\n")).mirror).toBe(
      "http://deb.debian.org/debian",
    );
    expect(sourcesOf("sid", "http://10.0.0.1/d", here).lines).toEqual(["deb http://10.0.0.1/d sid main"]);
  });
});

describe("steps", () => {
  const places = { root: "/w/root", archive: "/w/root.tar", raw: "/w/disk.raw", qcow2: "/w/disk.qcow2" };
  const words = (steps: readonly Step[]) => steps.map(({ command }) => command);

  test("of mmdebstrap: one call, in a mount namespace of its own", () => {
    const [command, ...more] = words(rootSteps("mmdebstrap", spec, sources, places, true));
    expect(more).toEqual([]);
    expect(command!.slice(0, 4)).toEqual(["unshare", "--mount", "--", "mmdebstrap"]);
    expect(command!.slice(-3)).toEqual([
      "bookworm",
      "/w/root",
      "deb http://deb.debian.org/debian bookworm main",
    ]);
    expect(command!.find((word) => word.startsWith("--include="))).toMatch(
      /systemd-sysv,.*,linux-image-amd64,gcc=4:12\.2\.0-3,hello,tree$/,
    );
    expect(command).toContain(`--essential-hook=${earlySetup}`);
    expect(command).toContain(`--customize-hook=${lateSetup(spec)}`);
  });
  test("of debootstrap: apt installs what it cannot", () => {
    const [first, second] = words(
      rootSteps("debootstrap", spec, sources, { ...places, additions: "/w/a.tar" }, false),
    );
    expect(first!.slice(-3)).toEqual(["bookworm", "/w/root", "http://deb.debian.org/debian"]);
    expect([second![0], ...second!.slice(3)]).toEqual(["sh", "sh", "/w/root", "/w/a.tar"]);
    expect(second![2]).toMatch(/apt-get -q -y --no-install-recommends install systemd-sysv .* hello tree\n/);
  });
  test("for who is not root: an archive, unpacked by programs that believe to be root", () => {
    const [command] = words(rootlessSteps(spec, sources, { ...places, additions: "/it's/a.tar" }));
    expect(command!.slice(0, 2)).toEqual(["mmdebstrap", "--mode=unshare"]);
    expect(command).toContain("/w/root.tar");
    expect(command).toContain(`--customize-hook=tar-in '/it'\\''s/a.tar' /`);
    const [disk, pack] = words(rootlessDisk(spec, places.archive, places, "/sbin/mke2fs"));
    expect(disk!.slice(0, 3)).toEqual(["fakeroot", "--", "sh"]);
    expect(disk!.slice(5)).toEqual([
      "sh",
      "/w/root.tar",
      "/w/root",
      ...mke2fsCommand(spec, places, "/sbin/mke2fs"),
    ]);
    expect(pack).toEqual([
      "qemu-img",
      "convert",
      "-q",
      "-f",
      "raw",
      "-O",
      "qcow2",
      "/w/disk.raw",
      "/w/disk.qcow2",
    ]);
  });
  test("of the disk: its size, and the same id for the same specification", () => {
    const [command] = words(rootDisk(spec, places, "mke2fs"));
    expect(command!.at(-1)).toBe(`${defaultDiskBytes / 1024}k`);
    const id = command![command!.indexOf("-U") + 1]!;
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(mke2fsCommand(spec, places)).toContain(id);
    expect(mke2fsCommand(imageSpec({ suite: "trixie" }), places)).not.toContain(id);
  });
});

describe("in a directory", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "vmtape-image-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));
  const read = (...path: string[]) => execFileSync("cat", [join(directory, ...path)]).toString();

  test("the set-up makes a machine for tapes of a root", async () => {
    const root = join(directory, "root");
    for (const place of ["etc/apt/apt.conf.d", "etc/systemd/system/multi-user.target.wants", "var/log"]) {
      await mkdir(join(root, place), { recursive: true });
    }
    // The only program of the new root that is run.
    await mkdir(join(directory, "bin"));
    await writeFile(
      join(directory, "bin", "chroot"),
      `#!/bin/sh\necho "$@" >> ${join(directory, "calls")}\n`,
    );
    await chmod(join(directory, "bin", "chroot"), 0o755);
    const env = { PATH: `${join(directory, "bin")}:${process.env.PATH}` };
    for (const script of [earlySetup, lateSetup(spec)])
      execFileSync("sh", ["-c", script, "exec", root], { env });
    expect(read("calls")).toMatch(
      /^\S+\/root \/usr\/bin\/env PATH=\S*:\/usr\/sbin:\/usr\/bin:\S* passwd -q -d root\n$/,
    );
    expect(read("root/etc/initramfs-tools/modules")).toMatch(/^virtio_pci\nvirtio_blk\next4\n/);
    expect(read("root/etc/initramfs-tools/conf.d/vmtape")).toContain("MODULES=list\n");
    expect(read("root/etc/fstab")).toBe("/dev/vda / ext4 errors=remount-ro 0 1\n");
    expect(read("root/etc/machine-id")).toMatch(/^[0-9a-f]{32}\n$/);
    expect(read("root/etc/resolv.conf")).toBe("nameserver 10.0.2.3\n");
    expect(read("root/etc/systemd/network/80-vmtape.network")).toContain("\nDHCP=ipv4\n");
    const units = await readdir(join(root, "etc/systemd/system"));
    expect(units).toContain("apt-daily.timer");
    expect(imageAppend).toMatch(/^root=\/dev\/vda rw console=ttyS0 /);
  });

  const file = (path: string, text: string): NewcEntry => ({
    type: "file",
    path,
    mode: 0o755,
    data: Buffer.from(text),
  });
  test("what is added is an archive without directories that may be there", async () => {
    const entries: NewcEntry[] = [
      { type: "directory", path: "tmp", mode: 0o755 },
      file("tmp/-a", "old"),
      file("tmp/-a", "new"),
      { type: "directory", path: "tmp/empty", mode: 0o755 },
      { type: "symlink", path: "opt/link", mode: 0o777, target: "../tmp/-a" },
    ];
    expect(archived(entries).map(({ path }) => path)).toEqual(["opt/link", "tmp/-a", "tmp/empty"]);
    const archive = await additionsArchive(entries, directory);
    const listed = execFileSync("tar", ["-tvf", archive!, "--numeric-owner"]).toString().trim().split("\n");
    expect(listed.map((line) => line.replace(/\s+/g, " "))).toEqual([
      "lrwxrwxrwx 0/0 0 1970-01-01 00:00 opt/link -> ../tmp/-a",
      expect.stringMatching(/^-rwxr-xr-x 0\/0 3 1970-01-01 \S+ tmp\/-a$/),
      expect.stringMatching(/^drwxr-xr-x 0\/0 0 1970-01-01 \S+ tmp\/empty\/$/),
    ]);
    expect(await additionsArchive([], directory)).toBeUndefined();
  });

  test("doctor says what makes images, and what is missing", async () => {
    const install = async (...names: string[]) => {
      for (const name of names) await writeFile(join(directory, name), "#!/bin/sh\n", { mode: 0o755 });
    };
    const none = await checkImageTools(directory, true);
    expect(none).toMatchObject({
      name: "image",
      ok: false,
      needed: false,
      packages: ["mmdebstrap", "e2fsprogs"],
    });
    await install("debootstrap", "mke2fs");
    expect(await checkImageTools(directory, true)).toMatchObject({ ok: true, detail: "debootstrap, mke2fs" });
    expect(await checkImageTools(directory, false)).toMatchObject({
      ok: false,
      packages: ["mmdebstrap", "uidmap", "fakeroot"],
      detail: expect.stringMatching(
        /^debootstrap is here, but not installed: mmdebstrap, newuidmap, fakeroot/,
      ),
    });
    await install("mmdebstrap", "newuidmap", "fakeroot");
    expect(await checkImageTools(directory, false)).toMatchObject({ ok: true });
  });
});

test("the command that records an image has all it needs", () => {
  const image = {
    kernel: "/i/vmlinuz",
    initrd: "/i/initrd",
    disk: "/i/disk.qcow2",
    append: imageAppend,
    memoryMB: 1024,
    network: "user" as const,
    suite: "bookworm",
    version: "6.1",
    login: "root",
    diskBytes: 1,
    tool: "mmdebstrap" as const,
    packages: {},
    directory: "/i",
  };
  expect(recordWords(image, "t").join(" ")).toBe(
    `vmtape record t --kernel /i/vmlinuz -R /i/initrd -L /i/disk.qcow2 --append ${imageAppend} -M 1024 --net user -c`,
  );
});
