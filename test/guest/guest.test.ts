import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VmtapeError } from "../../src/base/errors.js";
import { defaultAppend } from "../../src/guest/append.js";
import { findBusybox, isStaticProgram } from "../../src/guest/busybox.js";
import { makeGuest } from "../../src/guest/guest.js";
import { decodeNewc } from "../formats/newc-archive.js";
import { type FakeArchive, type FakePackage, fakeArchive } from "./archive-fixture.js";
import { fakeModule } from "./module-fixture.js";

const release = "9.9.9-test";
const modules = `lib/modules/${release}`;
const kernelFiles = {
  [`boot/vmlinuz-${release}`]: "a kernel",
  "usr/share/doc/big": "not wanted",
  [`${modules}/kernel/drivers/virtio/virtio_pci.ko`]: fakeModule("depends="),
  [`${modules}/kernel/drivers/block/virtio_blk.ko`]: fakeModule("depends="),
  [`${modules}/kernel/sound/loud.ko`]: fakeModule("depends="),
  [`${modules}/modules.builtin`]: "kernel/fs/ext4/ext4.ko\n",
};
const packages: FakePackage[] = [
  { name: "linux-image-amd64", depends: [`linux-image-${release}`] },
  { name: `linux-image-${release}`, version: "9.9.9-1", files: kernelFiles },
  {
    name: "linux-image-1.1-split",
    depends: ["linux-modules-1.1-split"],
    files: { "boot/vmlinuz-1.1-split": "k" },
  },
  {
    name: "linux-modules-1.1-split",
    files: { "lib/modules/1.1-split/kernel/drivers/virtio/virtio_pci.ko": fakeModule("depends=") },
  },
  { name: "linux-image-usr", files: { "usr/lib/modules/3.3/vmlinuz": "in usr" } },
  { name: "linux-image-lost", depends: ["linux-image-gone"] },
  { name: "no-kernel", files: { "etc/x": "x" } },
  { name: "linux-image-old", architecture: "i386", files: { "boot/vmlinuz-1": "k" } },
  { name: "linux-image-board", architecture: "arm64", files: { "boot/vmlinuz-1": "k" } },
  { name: "linux-image-6.1.0-56-686-pae", architecture: "i386", files: { "boot/vmlinuz-1": "k" } },
];

let directory: string;
let archive: FakeArchive;
const cacheDir = () => join(directory, "cache");
const make = (more: Partial<Parameters<typeof makeGuest>[0]> = {}) =>
  makeGuest({ cacheDir: cacheDir(), archive, ...more });
const debris = async () =>
  (await readdir(directory, { recursive: true })).filter((name) => basename(name).startsWith(".unfinished"));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-guest-"));
  archive = await fakeArchive(directory, packages);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("a guest", () => {
  test("is the newest kernel and an initramfs of what it has", async () => {
    const guest = await make();
    expect(guest).toMatchObject({
      append: defaultAppend,
      version: release,
      package: `linux-image-${release}`,
      packageVersion: "9.9.9-1",
      modules: ["virtio_pci", "virtio_blk"],
      missingModules: ["virtio_net", "virtio_console", "af_packet"],
    });
    expect(dirname(guest.kernel)).toBe(guest.directory);
    expect(await readFile(guest.kernel, "utf8")).toBe("a kernel");
    const paths = decodeNewc(await readFile(guest.initrd)).entries.map((entry) => entry.path);
    expect(paths).toContain(`${modules}/kernel/drivers/virtio/virtio_pci.ko`);
    expect(paths).toContain("bin/sh");
    expect(await debris()).toEqual([]);
  });

  test("is found again without a look at the archive", async () => {
    const first = await make();
    archive.lookups.length = 0;
    expect(await make()).toEqual(first);
    expect(archive.lookups).toEqual([]);
    expect(await make({ update: true })).toEqual(first);
    expect(archive.lookups).not.toEqual([]);
    expect(archive.downloads).toEqual([`linux-image-${release}`]);
  });

  test("keeps its kernel when the archive has a newer one, until it is to be updated", async () => {
    const first = await make();
    const newer = await fakeArchive(join(directory, "newer"), [
      { name: "linux-image-amd64", version: "2.0-1", depends: ["linux-image-usr"] },
      { name: "linux-image-usr", version: "2.0-1", files: { "usr/lib/modules/3.3/vmlinuz": "in usr" } },
    ]);
    expect(await make({ archive: newer })).toEqual(first);
    // With another init, too: the pinned kernel belongs to the name, not to one guest.
    const init = join(directory, "another");
    await writeFile(init, "#!/bin/sh\n");
    expect(await make({ archive: newer, init })).toMatchObject({ version: release });
    const updated = await make({ archive: newer, update: true });
    expect(updated).toMatchObject({ version: "3.3", packageVersion: "2.0-1" });
    expect(await make({ archive: newer })).toEqual(updated);
    expect(await make()).toEqual(updated);
    // Another archive has pins of its own.
    expect(await make({ archive: { ...archive, id: "another" } })).toEqual(first);
  });

  test("whose pinned kernel is neither in the cache nor in the archive says how to get another", async () => {
    await make({ package: release });
    await rm(join(cacheDir(), "kernels"), { recursive: true });
    const empty = {
      ...archive,
      download: async () => {
        throw new VmtapeError("missing-tool", "it could not be downloaded");
      },
    };
    const init = join(directory, "another");
    await writeFile(init, "#!/bin/sh\n");
    await expect(make({ archive: empty, init, package: release })).rejects.toMatchObject({
      code: "missing-tool",
      facts: { mend: `vmtape guest --update --package ${release}` },
    });
  });

  test("that could not be made pins nothing", async () => {
    const find = archive.find;
    archive.find = async (...args) => {
      const record = await find(...args);
      return record && { ...record, sha256: "0".repeat(64) };
    };
    await expect(make()).rejects.toMatchObject({ code: "bad-file" });
    archive.find = find;
    archive.lookups.length = 0;
    await make();
    expect(archive.lookups).not.toEqual([]);
  });

  test("has the same bytes wherever and whenever it is made", async () => {
    const one = await make({ directory: join(directory, "one") });
    const two = await make({ cacheDir: join(directory, "other"), directory: join(directory, "two") });
    expect(Buffer.compare(await readFile(one.initrd), await readFile(two.initrd))).toBe(0);
    expect({ ...two, kernel: "", initrd: "", directory: "" }).toEqual({
      ...one,
      kernel: "",
      initrd: "",
      directory: "",
    });
  });

  test("is another one with another init or addition, and made anew when damaged", async () => {
    const plain = await make();
    const init = join(directory, "my-init");
    await writeFile(init, "#!/bin/sh\necho mine\n");
    const mine = await make({ init, additions: [{ source: init, destination: "/etc/copy" }] });
    expect(mine.directory).not.toBe(plain.directory);
    const entries = decodeNewc(await readFile(mine.initrd)).entries;
    for (const path of ["init", "etc/copy"]) {
      const entry = entries.find((one) => one.path === path)!;
      expect(entry.type === "file" && Buffer.from(entry.data).toString()).toContain("echo mine");
    }
    await writeFile(plain.initrd, "cut");
    await make();
    expect((await stat(plain.initrd)).size).toBeGreaterThan(1000);
  });

  test("made by several at once is whole for each", async () => {
    const guests = await Promise.all([make(), make(), make()]);
    expect(new Set(guests.map((guest) => guest.directory)).size).toBe(1);
    expect((await stat(guests[0]!.initrd)).size).toBeGreaterThan(1000);
    expect(await debris()).toEqual([]);
  });

  test("in a directory of the user's leaves other files alone", async () => {
    const place = join(directory, "place/deep");
    const guest = await make({ directory: place });
    await writeFile(join(place, "notes"), "keep");
    await make({ directory: place, package: "linux-image-usr" });
    expect((await readdir(place)).sort()).toEqual([
      "guest.json",
      "initrd.img",
      "notes",
      "vmlinuz-3.3",
      `vmlinuz-${release}`,
    ]);
    expect(guest.kernel).toBe(join(place, `vmlinuz-${release}`));
  });
});

describe("the kernel's package", () => {
  test.each([
    ["a package", `linux-image-${release}`, release],
    ["a meta package", "linux-image-amd64", release],
    ["a release", release, release],
    ["a version", `linux-image-${release}=9.9.9-1`, release],
    ["one with its modules in another package", "linux-image-1.1-split", "1.1-split"],
    ["one with all below /usr", "linux-image-usr", "3.3"],
  ])("%s", async (_, name, version) => {
    expect(await make({ package: name })).toMatchObject({ version });
  });

  test("modules of a second package are found", async () => {
    expect((await make({ package: "1.1-split" })).modules).toEqual(["virtio_pci"]);
  });

  test("with its architecture", async () => {
    expect(await make({ package: `${release}:amd64` })).toMatchObject({ version: release });
  });

  const is32 = /holds a 32-bit kernel \(i386\); guests are 64-bit, amd64$/;
  test.each([
    ["by its architecture in the archive", "linux-image-old", is32],
    ["by its name, in an archive that lacks it", "linux-image-686", is32],
    ["by its name, as a release", "6.1.0-56-686-pae", is32],
    ["by its name, with an architecture", "linux-image-6.1.0-56-686-pae:i386", is32],
    ["by the architecture asked for", "linux-image-amd64:i386", is32],
    ["for another processor", "linux-image-board", /is for arm64; guests are amd64$/],
    ["asked for another processor", `${release}:arm64`, /is for arm64; guests are amd64$/],
  ])("that is 32-bit or foreign is refused before anything is fetched: %s", async (_, name, message) => {
    await expect(make({ package: name })).rejects.toMatchObject({
      code: "bad-guest",
      message: expect.stringMatching(message),
    });
    expect(archive.downloads).toEqual([]);
  });

  test.each([
    ["an option", "--help", "usage"],
    ["an empty architecture", "linux-image-amd64:", "usage"],
    ["an architecture that is none", "linux-image-amd64:../x", "usage"],
    ["a path", "../../etc/passwd", "usage"],
    ["a command", "linux-image-x;reboot", "usage"],
    ["nothing", "", "usage"],
    ["a bad version", `linux-image-${release}=$(id)`, "usage"],
    ["an unknown one", "linux-image-unknown", "bad-guest"],
    ["another version", `linux-image-${release}=1.1`, "bad-guest"],
    ["debug symbols", "linux-image-amd64-dbg", "bad-guest"],
    ["a meta package of an absent one", "linux-image-lost", "bad-guest"],
    ["one without a kernel", "no-kernel", "bad-guest"],
  ])("%s is refused", async (_, name, code) => {
    await expect(make({ package: name })).rejects.toMatchObject({ code });
    expect(await debris()).toEqual([]);
    expect(await readdir(cacheDir()).catch(() => [])).not.toContain("guest");
  });
});

describe("when things go wrong", () => {
  test("a damaged download is refused and not kept", async () => {
    const find = archive.find;
    archive.find = async (...args) => {
      const record = await find(...args);
      return record && { ...record, sha256: "0".repeat(64) };
    };
    await expect(make()).rejects.toMatchObject({ code: "bad-file", facts: { expected: "0".repeat(64) } });
    expect(await readdir(join(cacheDir(), "kernels"))).toEqual([]);
  });

  test("a request to stop leaves nothing half-made", async () => {
    const stop = new AbortController();
    archive.beforeDownload = () => stop.abort();
    await expect(make({ signal: stop.signal })).rejects.toMatchObject({ code: "cancelled" });
    expect(await readdir(join(cacheDir(), "kernels"))).toEqual([]);
  });

  test("without apt's lists the last answer holds", async () => {
    const guest = await make();
    archive.find = async () => {
      throw new VmtapeError("missing-tool", "apt has no package lists on this machine");
    };
    expect(await make()).toEqual(guest);
    await expect(make({ package: "linux-image-new" })).rejects.toMatchObject({ code: "missing-tool" });
  });

  test.each([
    ["missing", undefined, "does not exist"],
    ["empty", "", "is empty"],
  ])("an init file that is %s", async (_, contents, message) => {
    const init = join(directory, "init");
    if (contents !== undefined) await writeFile(init, contents);
    await expect(make({ init })).rejects.toThrow(message);
  });

  test("a place that cannot be written", async () => {
    const file = join(directory, "file");
    await writeFile(file, "");
    await expect(make({ cacheDir: join(file, "cache") })).rejects.toMatchObject({ name: "VmtapeError" });
    await expect(make({ directory: file })).rejects.toMatchObject({ name: "VmtapeError" });
  });
});

describe("busybox", () => {
  const busybox = readFileSync("/bin/busybox");
  const open = async (...more: FakePackage[]) =>
    findBusybox({
      archive: await fakeArchive(join(directory, "more"), more),
      cacheDir: cacheDir(),
      installed: [],
    });

  test.each(["bin/busybox", "usr/bin/busybox"])(
    "comes from its package, at %s, when this machine has none",
    async (path) => {
      const program = busybox;
      const found = await open({ name: "busybox-static", files: { [path]: program } });
      expect(Buffer.compare(found.data, program)).toBe(0);
      expect(found.applets).toContain("insmod");
      expect(found.applets).not.toContain("busybox");
    },
  );

  test("is missing when the archive has none, and refused when it is not static", async () => {
    await expect(open()).rejects.toMatchObject({ code: "missing-tool" });
    const linked = { name: "busybox-static", files: { "bin/busybox": readFileSync("/bin/sh") } };
    await expect(open(linked)).rejects.toMatchObject({ code: "bad-file" });
  });

  test("is told by its headers", () => {
    expect(isStaticProgram(busybox)).toBe(true);
    expect(isStaticProgram(readFileSync("/bin/sh"))).toBe(false);
    for (let length = 0; length < 64; length++)
      expect(isStaticProgram(busybox.subarray(0, length))).toBe(false);
  });
});
