import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Manifest } from "../../src/formats/manifest.js";
import { checkpointHome } from "../../src/replay/session/checkpoint.js";
import { dropTapeCache, tapeCache } from "../../src/replay/session/tape-cache.js";
import type { Places } from "../../src/tape/home.js";
import { Tape } from "../../src/tape/tape.js";
import { sampleManifest, writeSampleTape } from "../tape/sample-tape.js";

let directory: string;
let places: Places;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
  places = {
    home: join(directory, "home"),
    cache: join(directory, "cache"),
    runtime: join(directory, "run"),
  };
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const manifest = sampleManifest();
const { machine, qemu, end } = manifest;
const cacheOf = (one: Manifest, name = "t") =>
  tapeCache(places, new Tape(join(places.home, name), one, "complete", name));
const hash = "f".repeat(64);

describe("a cache belongs to a machine and a log", () => {
  const changes: readonly [string, Partial<Manifest>][] = [
    ["memory", { machine: { ...machine, memoryMB: 17 } }],
    ["CPU", { machine: { ...machine, cpu: "qemu64,+rdrand" } }],
    ["command line", { machine: { ...machine, append: "" } }],
    ["kernel", { machine: { ...machine, kernel: { ...machine.kernel, sha256: hash } } }],
    ["initrd", { machine: { ...machine, initrd: { bytes: 1, sha256: hash } } }],
    ["disk", { machine: { ...machine, disks: [{ format: "raw", base: { bytes: 4, sha256: hash } }] } }],
    ["disk's format", { machine: { ...machine, disks: [{ ...machine.disks[0]!, format: "qcow2" }] } }],
    ["number of disks", { machine: { ...machine, disks: [] } }],
    ["network", { machine: { ...machine, network: "user" } }],
    ["firmware", { machine: { ...machine, firmware: [{ ...machine.firmware[0]!, sha256: hash }] } }],
    ["QEMU", { qemu: { ...qemu, sha256: hash } }],
    ["QEMU's version", { qemu: { ...qemu, version: "10.0.0" } }],
    ["end", { end: { ...end, icount: 1001 } }],
    ["log", { end: { ...end, log: { ...end.log, sha256: hash } } }],
  ];
  test.each(changes)("another %s: another cache, where no checkpoint lies", (_what, change) => {
    const build = { sha256: qemu.sha256 };
    const [before, after] = [manifest, { ...manifest, ...change }].map((one) =>
      checkpointHome(cacheOf(one), build),
    );
    expect(after).not.toBe(before);
  });

  test("a copy of the tape shares it, however its manifest is written and whatever it is called", () => {
    const turned = Object.fromEntries(Object.entries(machine).reverse()) as unknown as typeof machine;
    const copy = {
      ...manifest,
      id: sampleManifest("00000000-0000-4000-8000-000000000000").id,
      machine: turned,
    };
    expect(cacheOf({ ...copy, created: "2026-01-01T00:00:00.000Z", symbols: [] }, "copy")).toBe(
      cacheOf(manifest),
    );
  });
});

describe("a tape that is destroyed", () => {
  const changed = { ...manifest, machine: { ...machine, memoryMB: 17 } };
  const own = join("home", "t");
  const cachesLeft = async () => (await readdir(join(places.cache, "tapes"))).sort();
  const makeCache = async (path: string) => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, "index.jsonl"), "x");
    return basename(path);
  };

  test("takes all its caches along: of earlier manifests, and of an earlier vmtape", async () => {
    await makeCache(cacheOf(manifest));
    await makeCache(cacheOf(changed));
    await makeCache(join(dirname(cacheOf(manifest)), end.log.sha256.slice(0, 32)));
    const log = { ...end.log, sha256: `${end.log.sha256.slice(0, 31)}-` };
    const another = await makeCache(cacheOf({ ...manifest, end: { ...end, log } }));
    await dropTapeCache(places, manifest, join(directory, own));
    expect(await cachesLeft()).toEqual([another]);
  });

  test("leaves what a copy of it uses, damaged or not", async () => {
    await writeSampleTape(join(places.home, "copy"), manifest);
    await rm(join(places.home, "copy", "kernel"));
    const kept = await makeCache(cacheOf(manifest));
    await makeCache(cacheOf(changed));
    await dropTapeCache(places, changed, join(directory, own));
    expect(await cachesLeft()).toEqual([kept]);
    await dropTapeCache(places, manifest, join(directory, "home", "copy"));
    expect(await cachesLeft()).toEqual([]);
  });

  test("that was never complete has none", async () => {
    const { end: _, ...unfinished } = manifest;
    const kept = await makeCache(cacheOf(manifest));
    await dropTapeCache(places, unfinished, join(directory, own));
    expect(await cachesLeft()).toEqual([kept]);
  });
});
