import { describe, expect, test } from "vitest";
import { formatOpenFlags, type GuestFile } from "../../src/linux/objects/file.js";
import { formatMapping, isFrom, mappingAt } from "../../src/linux/objects/mappings.js";
import { stateLetter } from "../../src/linux/objects/task.js";

const file: GuestFile = {
  address: 0n,
  path: "/usr/lib/x86_64-linux-gnu/libc.so.6",
  device: { major: 254, minor: 1 },
  inode: 7n,
  kind: "file",
  position: 0n,
  flags: 0,
};
const mapping = {
  start: 0x7f00_0000_0000n,
  end: 0x7f00_0002_6000n,
  permissions: "r-xp",
  fileOffset: 0x26000n,
  file,
  name: file.path,
};

describe("a mapping", () => {
  test("stays one line, whatever its file is called", () => {
    expect(formatMapping({ ...mapping, name: "/a\nb" })).toMatch(/ \/a\\012b$/);
  });

  test("is printed as /proc/PID/maps prints it", () => {
    expect(formatMapping(mapping)).toBe(
      "7f0000000000-7f0000026000 r-xp 00026000 fe:01 7                          /usr/lib/x86_64-linux-gnu/libc.so.6",
    );
    expect(
      formatMapping({
        start: 0x1000n,
        end: 0x2000n,
        permissions: "rw-p",
        fileOffset: 0n,
        file: undefined,
        name: undefined,
      }),
    ).toBe("00001000-00002000 rw-p 00000000 00:00 0");
  });

  test("is found by an address in it", () => {
    const mappings = [0x1000n, 0x3000n, 0x4000n].map((start) => ({
      ...mapping,
      start,
      end: start + 0x1000n,
    }));
    const found = (address: bigint) => mappingAt(mappings, address)?.start;
    expect([0xfffn, 0x1000n, 0x1fffn, 0x2000n, 0x3fffn, 0x4000n, 0x5000n].map(found)).toEqual([
      ...[undefined, 0x1000n, 0x1000n, undefined, 0x3000n, 0x4000n, undefined],
    ]);
  });
});

test("states have the letters of /proc/PID/stat", () => {
  // As include/linux/sched.h numbers them: state, exit state.
  const cases: [number, number, string][] = [
    [0, 0, "R"],
    [1, 0, "S"],
    [2, 0, "D"],
    [4, 0, "T"],
    [8, 0, "t"],
    [0x80, 0x10, "X"],
    [0x80, 0x20, "Z"],
    [0x40, 0, "P"],
    [0x402, 0, "I"],
    [0x102, 0, "D"],
    [0x104, 0, "T"],
    [0x1000, 0, "D"],
    [0x8000, 0, "D"],
    [0x2001, 0, "S"],
  ];
  for (const [state, exit, letter] of cases)
    expect(stateLetter(state, exit), `${state} ${exit}`).toBe(letter);
});

test("open flags have the names of open(2)", () => {
  expect(formatOpenFlags(0)).toBe("O_RDONLY");
  expect(formatOpenFlags(0o100002)).toBe("O_RDWR");
  expect(formatOpenFlags(0o2001)).toBe("O_WRONLY|O_APPEND");
  expect(formatOpenFlags(0o4010000)).toBe("O_RDONLY|O_SYNC");
  expect(formatOpenFlags(0o20200002)).toBe("O_RDWR|O_TMPFILE");
});

test("releases are compared as numbers", () => {
  expect(isFrom("6.12.117+deb12-amd64", 6, 6)).toBe(true);
  expect(isFrom("6.1.0-56-amd64", 6, 6)).toBe(false);
  expect(isFrom("5.10.0", 5, 10)).toBe(true);
  expect(isFrom("10.0.0", 6, 6)).toBe(true);
  expect(isFrom(undefined, 5, 10)).toBe(false);
});
