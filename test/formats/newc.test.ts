import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isVmtapeError } from "../../src/base/errors.js";
import { encodeNewc, type NewcEntry, newcTree } from "../../src/formats/newc.js";
import { decodeNewc } from "./newc-archive.js";

const text = (value: string) => Buffer.from(value);
const file = (path: string, data: string, mode = 0o644): NewcEntry => ({
  type: "file",
  path,
  mode,
  data: text(data),
});

const sample: NewcEntry[] = newcTree([
  file("init", "#!/bin/sh\n", 0o755),
  file("etc/empty", ""),
  file("etc/deep/er/hello", "hello"),
  { type: "symlink", path: "bin/sh", mode: 0o777, target: "busybox" },
  { type: "character", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
  { type: "block", path: "dev/vda", mode: 0o660, major: 254, minor: 0 },
  { type: "fifo", path: "run/pipe", mode: 0o600 },
  { type: "directory", path: "tmp", mode: 0o1777 },
]);

/** Entries with their data as text, so that views and buffers compare. */
const plain = (entries: readonly NewcEntry[]) =>
  entries.map((entry) =>
    entry.type === "file" ? { ...entry, data: Buffer.from(entry.data).toString("hex") } : entry,
  );

describe("writing", () => {
  test("a known member, byte by byte", () => {
    const bytes = Buffer.from(encodeNewc([file("a/b", "hello")])).toString("latin1");
    expect(bytes.slice(0, 110)).toBe(
      "070701" + // magic
        "00000001" + // inode
        "000081a4" + // mode: regular file, 0644
        "00000000".repeat(2) + // owner
        "00000001" + // links
        "00000000" + // mtime
        "00000005" + // size
        "00000000".repeat(4) + // devices
        "00000004" + // length of the name and its NUL
        "00000000", // check
    );
    expect(bytes.slice(110, 124)).toBe("a/b\0\0\0hello\0\0\0");
    expect(bytes.slice(124, 130)).toBe("070701");
    expect(bytes).toContain("TRAILER!!!\0");
    expect(bytes.length % 4).toBe(0);
  });

  test("the same entries in any order and with or without their parents give the same bytes", () => {
    const once = encodeNewc(newcTree(sample));
    expect(encodeNewc(newcTree([...sample].reverse()))).toEqual(once);
    const leaves = sample.filter((entry) => entry.type !== "directory" || entry.path === "tmp");
    expect(encodeNewc(newcTree(leaves))).toEqual(once);
  });

  test("parents come before children, also where a sibling's name sorts between", () => {
    const paths = newcTree([file("a/x", ""), file("a-b", ""), file("a.b/c", "")]).map((entry) => entry.path);
    expect(paths).toEqual(["a", "a-b", "a.b", "a.b/c", "a/x"]);
  });

  test("the later of two entries with one path wins", () => {
    const tree = newcTree([file("x", "old"), file("x", "new")]);
    expect(plain(tree)).toEqual(plain([file("x", "new")]));
  });

  test.each(["", "/abs", "a//b", "a/", ".", "..", "a/../b", "a/./b", "a\0b", "TRAILER!!!", "x".repeat(4096)])(
    "refuses the path %j",
    (path) => {
      expect(() => encodeNewc([file(path, "")])).toThrow(expect.objectContaining({ code: "usage" }));
      expect(() => newcTree([file(path, "")])).toThrow(expect.objectContaining({ code: "usage" }));
    },
  );

  test("refuses a file below a file", () => {
    expect(() => newcTree([file("a", ""), file("a/b", "")])).toThrow("a is a file, but a/b lies below it");
  });
});

describe("reading", () => {
  test("what was written", () => {
    const bytes = encodeNewc(sample);
    const { entries, consumed } = decodeNewc(bytes);
    expect(plain(entries)).toEqual(plain(sample));
    expect(consumed).toBe(bytes.length);
  });

  test("any tree", () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9 =é-]{1,12}$/);
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/"));
    const entry = fc.record({
      path,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      data: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (wanted) => {
        const files = wanted.filter(
          ({ path }) =>
            !wanted.some((other) => other.path.startsWith(`${path}/`) || path.startsWith(`${other.path}/`)),
        );
        const tree = newcTree(files.map((one) => ({ type: "file", ...one })));
        expect(plain(decodeNewc(encodeNewc(tree)).entries)).toEqual(plain(tree));
      }),
    );
  });

  test("several archives with zeros between, and where something else begins", () => {
    const one = encodeNewc([file("early", "1")]);
    const two = encodeNewc([file("late", "2")]);
    const compressed = Buffer.from([0x1f, 0x8b, 1, 2, 3]);
    const all = Buffer.concat([one, Buffer.alloc(512), two, Buffer.alloc(8), compressed]);
    const { entries, consumed } = decodeNewc(all);
    expect(entries.map((entry) => entry.path)).toEqual(["early", "late"]);
    expect(consumed).toBe(all.length - compressed.length);
  });

  test("hard links share the data of the last one, as GNU cpio writes them", () => {
    const linked = Buffer.from(encodeNewc([file("a", ""), file("b", "data")])).toString("latin1");
    // Inode 7 and two links for both members.
    const bytes = Buffer.from(
      linked.replaceAll(/070701[0-9a-f]{8}(000081a4.{16})00000001/g, "07070100000007$100000002"),
      "latin1",
    );
    expect(plain(decodeNewc(bytes).entries)).toEqual(plain([file("a", "data"), file("b", "data")]));
  });

  test("cut at every byte: an error that says where the file ends; all but the padding of the trailer is needed", () => {
    const bytes = encodeNewc(sample);
    const trailer = Buffer.from(bytes).lastIndexOf("TRAILER!!!") + "TRAILER!!!\0".length;
    for (let length = 0; length < trailer; length++) {
      try {
        decodeNewc(bytes.subarray(0, length), "x.cpio");
        expect.fail(`${length} bytes were read without an error`);
      } catch (error) {
        if (!isVmtapeError(error, "bad-file")) throw error;
        expect(error.facts.length).toBe(length);
      }
    }
    expect(decodeNewc(bytes.subarray(0, trailer)).entries).toHaveLength(sample.length);
  });

  test.each([
    ["another format", 0, "070707", "no newc member at byte 0"],
    ["a digit that is none", 14, "0000zz00", "damaged mode at byte 14"],
    ["an absurd size of the data", 54, "ffffffff", "4294967295 bytes were expected"],
    ["an absurd length of the name", 94, "ffffffff", "name of 4294967295 bytes"],
    ["no name at all", 94, "00000000", "name of 0 bytes"],
    ["a name without an end", 94, "00000002", "without an end"],
    ["an unknown type of file", 14, "0000f1a4", "unknown type"],
  ])("refuses %s", (_, at, digits, message) => {
    const bytes = Buffer.from(encodeNewc([file("abcdef", "data")]));
    bytes.write(digits, at, "latin1");
    expect(() => decodeNewc(bytes)).toThrow(expect.objectContaining({ code: "bad-file" }));
    expect(() => decodeNewc(bytes)).toThrow(message);
  });
});

describe("busybox cpio", () => {
  const busybox = (args: string[], input: Uint8Array) =>
    execFileSync("busybox", ["cpio", ...args], { input, stdio: "pipe" });

  test("lists what we wrote, with modes and sizes", () => {
    const lines = busybox(["-itv"], encodeNewc(sample)).toString().trim().split("\n");
    const modeAndPath = lines.map((line) => line.replace(/^(\S+) .* \d\d:\d\d:\d\d /, "$1 "));
    expect(modeAndPath).toEqual([
      "drwxr-xr-x bin",
      "lrwxrwxrwx bin/sh -> busybox",
      "drwxr-xr-x dev",
      "crw------- dev/console",
      "brw-rw---- dev/vda",
      "drwxr-xr-x etc",
      "drwxr-xr-x etc/deep",
      "drwxr-xr-x etc/deep/er",
      "-rw-r--r-- etc/deep/er/hello",
      "-rw-r--r-- etc/empty",
      "-rwxr-xr-x init",
      "drwxr-xr-x run",
      "prw------- run/pipe",
      "drwxrwxrwt tmp",
    ]);
  });

  test("unpacks what we wrote, and we read what it packs", () => {
    const hello = busybox(["-i", "--to-stdout", "etc/deep/er/hello"], encodeNewc(sample));
    expect(hello.toString()).toBe("hello");
    const packed = busybox(["-o", "-H", "newc"], text("/etc/passwd\n/etc\n"));
    const { entries } = decodeNewc(packed);
    expect(entries.map((entry) => [entry.path, entry.type])).toEqual([
      ["etc/passwd", "file"],
      ["etc", "directory"],
    ]);
    const passwd = entries[0]!;
    expect(passwd.type === "file" && Buffer.from(passwd.data).toString()).toContain("root:");
  });
});
