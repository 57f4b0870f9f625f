import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const root = new URL("..", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

/** The rooms of `src/`, in the order of docs/ARCHITECTURE.md: each may use only rooms above it. */
const documented = [...read("docs/ARCHITECTURE.md").matchAll(/^\| \[`src\/(\w+)\/`\]/gm)].map(
  (row) => row[1]!,
);
const folders = readdirSync(new URL("src", root), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

function references(room: string): string[] {
  const project = JSON.parse(read(`src/${room}/tsconfig.json`)) as { references?: { path: string }[] };
  return (project.references ?? []).map(({ path }) => path.replace("../", ""));
}

describe("rooms", () => {
  test("the documented rooms are the folders of src", () => {
    expect([...documented].sort()).toEqual([...folders].sort());
  });

  test.each(documented)("%s uses only rooms above it", (room) => {
    const above = documented.slice(0, documented.indexOf(room));
    expect(above).toEqual(expect.arrayContaining(references(room)));
  });

  test.each(documented)("%s imports only rooms it references", (room) => {
    const allowed = new Set([room, ...references(room)]);
    const used = new Set<string>();
    for (const file of readdirSync(new URL(`src/${room}`, root), { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".ts")) continue;
      for (const [, target] of read(`src/${room}/${file}`).matchAll(/from "(?:\.\.\/)+(\w+)\/[^"]*"/g))
        used.add(target!);
    }
    expect([...used].filter((one) => folders.includes(one) && !allowed.has(one))).toEqual([]);
  });

  test("every room is part of the build", () => {
    const { references: built } = JSON.parse(read("tsconfig.json")) as { references: { path: string }[] };
    expect(built.map(({ path }) => path)).toEqual(
      expect.arrayContaining(folders.map((room) => `src/${room}`)),
    );
  });
});
