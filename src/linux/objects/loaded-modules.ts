import { VmtapeError } from "../../base/errors.js";
import { readModules } from "../../symbols/kernel/modules.js";
import { listNodes } from "../guest/kernel-list.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { StructView } from "../guest/struct-view.js";

/** A loaded module: a line of /proc/modules. */
export interface ModuleFacts {
  readonly name: string;
  /** Where its text begins. */
  readonly address: bigint;
  /** Bytes of all its parts. */
  readonly size: number;
  readonly state: (typeof states)[number];
  /** How many hold it; modules that use it are among them. Undefined without BTF. */
  readonly references: number | undefined;
  /** Undefined without BTF. */
  readonly usedBy: readonly string[] | undefined;
  /** Its parts, ascending. */
  readonly regions: readonly { readonly start: bigint; readonly end: bigint }[];
}

/** `enum module_state`, in /proc/modules's words for all but the last. */
const states = ["Live", "Loading", "Unloading", "Unformed"] as const;
/** As `readModules` calls them. */
const statesWithoutTypes = {
  live: "Live",
  coming: "Loading",
  going: "Unloading",
  unformed: "Unformed",
} as const;
/** `MODULE_REF_BASE`: what a module holds of itself. */
const ownReference = 1;
const mostModules = 4096;

/**
 * The modules loaded at an instant, newest first as the kernel lists them.
 *
 * Without BTF there is no more than their names, places and states.
 *
 * @throws VmtapeError `not-found` without CONFIG_MODULES, `bad-memory`, `not-mapped`
 */
export async function readLoadedModules(guest: LinuxGuest): Promise<ModuleFacts[]> {
  if (!guest.kernel.types) return modulesWithoutTypes(guest);
  const head = guest.address("modules");
  const type = guest.types.struct("module");
  const list = BigInt(type.member("list").byteOffset);
  const modules: ModuleFacts[] = [];
  for await (const node of listNodes(guest, head, "the list of modules", mostModules)) {
    modules.push(await readModule(guest, node - list));
  }
  return modules;
}

async function modulesWithoutTypes(guest: LinuxGuest): Promise<ModuleFacts[]> {
  const { table } = guest.kernel.symbols;
  const modules = await readModules(guest.memory, { table, slide: guest.place.slide });
  if (!modules)
    throw new VmtapeError("not-found", "the kernel's list of modules cannot be found without BTF");
  return modules.map(({ name, state, regions }) => ({
    name,
    address: regions[0]?.start ?? 0n,
    size: sizeOf(regions),
    state: statesWithoutTypes[state],
    references: undefined,
    usedBy: undefined,
    regions,
  }));
}

function sizeOf(regions: ModuleFacts["regions"]): number {
  return regions.reduce((sum, { start, end }) => sum + Number(end - start), 0);
}

async function readModule(guest: LinuxGuest, address: bigint): Promise<ModuleFacts> {
  const view = await guest.read("module", address, ["name", "state", "refcnt.counter"]);
  const number = view.number("state");
  const regions = await readRegions(guest, address);
  return {
    name: view.text("name"),
    address: regions[0]?.start ?? 0n,
    size: sizeOf(regions),
    state: states[number] ?? "Unformed",
    references: view.number("refcnt.counter") - ownReference,
    usedBy: await usersOf(guest, address),
    regions: [...regions].sort((a, b) => (a.start < b.start ? -1 : 1)),
  };
}

/** Its parts, the one with its text first. */
async function readRegions(guest: LinuxGuest, address: bigint) {
  const type = guest.types.struct("module");
  const regions: { start: bigint; end: bigint }[] = [];
  const add = (part: StructView) => {
    const start = part.word("base");
    const size = part.number("size");
    if (start !== 0n && size > 0) regions.push({ start, end: start + BigInt(size) });
  };
  const parts = type.findMember("mem");
  if (parts) {
    const layout = guest.types.struct("module_memory");
    const reader = guest.struct("module_memory", ["base", "size"]);
    const count = parts.type.kind === "array" ? (parts.type.count ?? 0) : 0;
    for (let i = 0; i < Math.min(count, mostParts); i++) {
      add(await reader.at(address + BigInt(parts.byteOffset + i * layout.size)));
    }
    return regions;
  }
  // Up to 6.3 there are two: one that stays and one for its start.
  for (const name of ["core_layout", "init_layout"]) {
    const place = type.member(name);
    add(await guest.read("module_layout", address + BigInt(place.byteOffset), ["base", "size"]));
  }
  return regions;
}

const mostParts = 32;

async function usersOf(guest: LinuxGuest, address: bigint): Promise<string[]> {
  const type = guest.types.struct("module");
  const place = type.findMember("source_list");
  const use = guest.types.findStruct("module_use");
  if (!place || !use) return []; // CONFIG_MODULE_UNLOAD off
  const toUse = BigInt(use.member("source_list").byteOffset);
  const names: string[] = [];
  const head = address + BigInt(place.byteOffset);
  for await (const node of listNodes(guest, head, "the list of a module's users", mostModules)) {
    const source = (await guest.read("module_use", node - toUse, ["source"])).word("source");
    if (source === 0n) throw new VmtapeError("bad-memory", "a module is used by nobody", { address: node });
    names.push((await guest.read("module", source, ["name"])).text("name"));
  }
  return names;
}

/** A line of /proc/modules, without its letters of taint. */
export function formatModule({ name, address, size, state, references, usedBy }: ModuleFacts): string {
  const users = usedBy && usedBy.length > 0 ? usedBy.map((user) => `${user},`).join("") : "-";
  return `${name} ${size} ${references ?? "-"} ${users} ${state} 0x${address.toString(16).padStart(16, "0")}`;
}
