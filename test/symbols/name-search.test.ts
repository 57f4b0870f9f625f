import fc from "fast-check";
import { expect, it } from "vitest";
import { NameList } from "../../src/symbols/tables/name-list.js";
import { editDistance, globTest } from "../../src/symbols/tables/name-search.js";

/** The whole matrix of the optimal string alignment distance. */
function slowDistance(a: string, b: string): number {
  const d = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  );
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      let least = Math.min(
        d[i - 1]![j]! + 1,
        d[i]![j - 1]! + 1,
        d[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, d[i - 2]![j - 2]! + 1);
      }
      d[i]![j] = least;
    }
  }
  return d[a.length]![b.length]!;
}

const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "_"), maxLength: 9 });

it("counts edits as the whole matrix does, up to the limit", () => {
  fc.assert(
    fc.property(word, word, fc.integer({ min: 1, max: 3 }), (a, b, allowed) => {
      const text = Buffer.from(`xx${b}`);
      const slow = slowDistance(a, b);
      if (Math.abs(a.length - b.length) > allowed) return;
      const fast = editDistance(Buffer.from(a), text, 2, b.length, allowed);
      expect(Math.min(fast, allowed + 1)).toBe(Math.min(slow, allowed + 1));
    }),
    { numRuns: 1000 },
  );
});

it("matches patterns as a regular expression does", () => {
  const pattern = fc.array(fc.constantFrom("*", "?", "a", "b", ".", "[ab]", "[!a]", "[a-c]", "("), {
    maxLength: 7,
  });
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", ".", "("), maxLength: 9 });
  fc.assert(
    fc.property(pattern, text, (parts, name) => {
      const expression = parts
        .map((part) => {
          if (part === "*") return ".*";
          if (part === "?") return ".";
          return part.startsWith("[") ? part.replace("!", "^") : `\\${part}`.replace(/\\([ab])/, "$1");
        })
        .join("");
      expect(globTest(parts.join(""))(name)).toBe(new RegExp(`^${expression}$`).test(name));
    }),
    { numRuns: 1000 },
  );
});

it("takes no longer for a pattern of many stars", () => {
  const matches = globTest("*a*a*a*a*a*a*a*a*a*a*a*b");
  const start = performance.now(); // backtracking would take years
  expect(matches("a".repeat(5000))).toBe(false);
  expect(performance.now() - start).toBeLessThan(30_000);
});

it("refuses an open set", () => {
  expect(() => globTest("vfs_[a")).toThrow(/has a \[ without \]/);
  expect(globTest("a[]]b")("a]b")).toBe(true);
});

it("finds every index of a name", () => {
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), word, (names, wanted) => {
      const list = NameList.from(names);
      const expected = names.flatMap((name, i) => (name === wanted ? [i] : []));
      expect(list.find(wanted)).toEqual(expected);
      names.forEach((name, i) => {
        expect(list.at(i)).toBe(name);
        expect(Math.sign(list.compare(i, 0))).toBe(
          Math.sign(Buffer.compare(Buffer.from(name), Buffer.from(names[0]!))),
        );
      });
    }),
  );
});
