import { describe, expect, test } from "vitest";
import { checkTapeName, placesFrom, socketStem, tapeDirectory } from "../../src/tape/home.js";

describe("places", () => {
  test("follow VMTAPE_HOME and the XDG base directories", () => {
    const env = { HOME: "/h", XDG_DATA_HOME: "/d", XDG_CACHE_HOME: "/c", XDG_RUNTIME_DIR: "/r" };
    expect(placesFrom(env)).toEqual({ home: "/d/vmtape", cache: "/c/vmtape", runtime: "/r/vmtape" });
    expect(placesFrom({ ...env, VMTAPE_HOME: "/x" }).home).toBe("/x");
  });

  test("have defaults", () => {
    const { home, cache, runtime } = placesFrom({ HOME: "/h" });
    expect([home, cache]).toEqual(["/h/.local/share/vmtape", "/h/.cache/vmtape"]);
    expect(runtime).toMatch(/\/vmtape-\d+$/);
  });

  test("keep sockets within the kernel's 107 bytes, and apart", () => {
    const long = (letter: string) => placesFrom({ HOME: "/h", XDG_RUNTIME_DIR: `/${letter.repeat(200)}` });
    for (const places of [long("a"), placesFrom({ HOME: "/h", XDG_RUNTIME_DIR: "/run/user/1000" })]) {
      const longest = `${socketStem(places, "/some/tape")}.replay-4194304.control`;
      expect(longest.length).toBeLessThanOrEqual(107);
    }
    expect(long("a").runtime).not.toBe(long("b").runtime);
  });
});

describe("a tape's name", () => {
  test.each(["a", "A1", "6.1-boot", "a_b+c", "x".repeat(100)])("%s", (name) => {
    expect(checkTapeName(name)).toBe(name);
  });

  test.each(["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "ä", "\0", "x".repeat(101), "x".repeat(300)])(
    "%j is refused",
    (name) => {
      expect(() => checkTapeName(name)).toThrow(expect.objectContaining({ code: "bad-name" }));
      expect(() => tapeDirectory(placesFrom({ HOME: "/h" }), name)).toThrow(/is no tape name/);
    },
  );
});
