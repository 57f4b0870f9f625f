import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** The rooms within a room, in any order; empty when its files are directly in it. */
const insides = (room: string) =>
  readdirSync(join(root, "src", room), { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && existsSync(join(root, "src", room, entry.name, "tsconfig.json")),
    )
    .map((entry) => `${room}/${entry.name}`);
const folders = readdirSync(join(root, "src"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);
/** Rooms whose files are in rooms of their own. */
const houses = folders.filter((room) => insides(room).length > 0);
/** Files that stand on top of a house. */
const onTop: Readonly<Record<string, readonly string[]>> = { cli: ["commands.ts", "main.ts"] };
/** All TypeScript projects of `src/`. */
const rooms = folders.flatMap((room) => {
  const inside = insides(room);
  return inside.length === 0 || room in onTop ? [...inside, room] : inside;
});

const architecture = read("docs/ARCHITECTURE.md");
/**
 * The rooms of `src/` in the order of docs/ARCHITECTURE.md, and the rooms of houses in the order of their tables.
 * Each may use only rooms above it.
 */
const documented = [...architecture.matchAll(/^\| \[`src\/(\w+)\/`\]/gm)].map((row) => row[1]!);
const inHouses = [...architecture.matchAll(/^\| \[`(\w+\/\w+)\/`\]\S+ \| (.+?) \| (.+?) \| (.+?) \|$/gm)].map(
  ([, room, , near, far]) => ({ room: room!, near: listOf(near!), far: listOf(far!) }),
);

function listOf(text: string): string[] {
  return text === "–" ? [] : text.split(", ");
}

/** All rooms in order: those of a house in the order of its table, before the house itself. */
const order = documented.flatMap((room) => [
  ...inHouses.filter((inside) => inside.room.startsWith(`${room}/`)).map((inside) => inside.room),
  ...(houses.includes(room) && !(room in onTop) ? [] : [room]),
]);

function references(room: string): string[] {
  const project = JSON.parse(read(`src/${room}/tsconfig.json`)) as { references?: { path: string }[] };
  return (project.references ?? []).map(({ path }) => join(room, path));
}

/** The room of a file: the nearest folder above it that is a project. */
function roomOf(file: string): string {
  const parts = file.split("/").slice(0, -1);
  while (parts.length > 1 && !rooms.includes(parts.join("/"))) parts.pop();
  return parts.join("/");
}

function filesOf(room: string): string[] {
  return readdirSync(join(root, "src", room), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(room, file))
    .filter((file) => roomOf(file) === room);
}

/** Static and dynamic imports, of types too: everything that names a file of the project. */
function importsOf(file: string): string[] {
  return [...read(`src/${file}`).matchAll(/"(\.\.?\/[\w./-]+)\.js"/g)]
    .map(([, path]) => join(file, "..", `${path}.ts`))
    .filter((target) => existsSync(join(root, "src", target)));
}

describe("rooms", () => {
  test("the documented rooms are the folders of src", () => {
    expect([...documented].sort()).toEqual([...folders].sort());
  });

  test("the documented rooms within rooms are the folders of the houses", () => {
    expect(houses.length).toBeGreaterThan(0);
    expect(inHouses.map(({ room }) => room).sort()).toEqual(houses.flatMap(insides).sort());
  });

  test.each(houses)("all files of %s are in rooms of their own", (house) => {
    const files = readdirSync(join(root, "src", house)).filter((name) => name.endsWith(".ts"));
    expect(files).toEqual(onTop[house] ?? []);
  });

  test.each(rooms)("%s uses only rooms above it", (room) => {
    const above = order.slice(0, order.indexOf(room));
    expect(above).toEqual(expect.arrayContaining(references(room)));
  });

  test.each(rooms)("%s imports only rooms it references, and references no others", (room) => {
    const used = new Set(filesOf(room).flatMap((file) => importsOf(file).map(roomOf)));
    used.delete(room);
    const allowed = references(room);
    expect([...used].filter((one) => !allowed.includes(one))).toEqual([]);
    if (room.includes("/")) expect([...used].sort()).toEqual([...allowed].sort());
  });

  test.each(inHouses)("the document says what $room uses", ({ room, near, far }) => {
    const house = room.split("/")[0]!;
    const used = references(room);
    const inside = used.filter((one) => one.startsWith(`${house}/`));
    const beyond = used.filter((one) => !one.startsWith(`${house}/`)).map((one) => one.split("/")[0]!);
    expect(near.sort()).toEqual(inside.map((one) => one.slice(house.length + 1)).sort());
    expect(far.sort()).toEqual([...new Set(beyond)].sort());
  });

  test("no files of src import each other in a circle, types included", () => {
    const files = rooms.flatMap(filesOf);
    const graph = new Map(files.map((file) => [file, importsOf(file).filter((target) => target !== file)]));
    // Files that import nothing more are removed again and again; only files in cycles are left.
    for (let before = -1; before !== graph.size; ) {
      before = graph.size;
      for (const [file, targets] of graph)
        if (!targets.some((target) => graph.has(target))) graph.delete(file);
    }
    expect(files.length).toBeGreaterThan(300);
    expect([...graph.keys()]).toEqual([]);
  });

  test("src holds sources alone: a compiled file beside its source would be tested in its place", () => {
    const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
    expect(files.filter((file) => /\.(js|map|d\.ts|tsbuildinfo)$/.test(file))).toEqual([]);
  });

  test("every room is part of the build", () => {
    const { references: built } = JSON.parse(read("tsconfig.json")) as { references: { path: string }[] };
    expect(built.map(({ path }) => path)).toEqual(expect.arrayContaining(rooms.map((room) => `src/${room}`)));
  });
});
