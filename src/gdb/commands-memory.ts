import { type GuestAddress, guestAddress } from "../base/units.js";
import type { MappedRange } from "../qemu/x86-paging.js";
import { anything, type Command, type Conversation, command, nothing } from "./command.js";
import { packetBytes } from "./commands-general.js";
import { formatBytes, parseHex, parseHexCount } from "./hex.js";
import { systemCallRegister, withLinux } from "./linux-description.js";
import { memoryMap } from "./memory-map.js";
import { escapeBinary } from "./packet.js";
import { ok, Refusal, type Reply, readOnly, unmapped } from "./reply.js";
import { type AddressRange, parseRange } from "./syntax.js";

/**
 * The most bytes of an answer. It may be shorter than what was asked for; the client then asks for the rest. Each
 * byte is two digits.
 */
const mostMemoryBytes = (packetBytes - 8) / 2;

/** A part of an object: its name, an offset, a number of bytes. */
interface ObjectPart {
  readonly annex: string;
  readonly offset: number;
  readonly length: number;
}

/** Packets for registers, memory, and their descriptions. */
export const memoryCommands: readonly Command[] = [
  command("g", "Packets.html#g-packet", nothing, async ({ target }) => formatBytes(await target.registers())),
  command("p", "Packets.html#p-packet", parseHexCount, async ({ target, state }, number) => {
    if (state.isGdb && number === systemCallRegister) return "x".repeat(16);
    const bytes = await target.register(number);
    return bytes ? formatBytes(bytes) : new Refusal(`there is no register ${number}`);
  }),
  command("G", "Packets.html#G-packet", anything, () => readOnly),
  command("P", "Packets.html#P-packet", anything, () => readOnly),

  command("m", "Packets.html#m-packet", parseRange, async ({ target }, range) => {
    const bytes = await read(target, range);
    return bytes ? formatBytes(bytes) : unmapped;
  }),
  command("x", "Packets.html#x-packet", parseRange, readBinary),
  command("M", "Packets.html#M-packet", anything, refuseWrite),
  command("X", "Packets.html#X-packet", anything, refuseWrite),

  // A packet of LLDB, which looks for unused addresses with it. So the answer tells what is mapped.
  command("qMemoryRegionInfo", "lldb: qMemoryRegionInfo", address, async ({ target }, at) =>
    regionInfo(await target.mappedRange(at)),
  ),

  command(
    "qXfer:features:read",
    "General-Query-Packets.html#qXfer-target-description-read",
    objectPart,
    describe,
  ),
  // Empty when no user program runs: GDB then says that the program has no auxiliary vector.
  command(
    "qXfer:auxv:read",
    "General-Query-Packets.html#qXfer-auxiliary-vector-read",
    objectPart,
    async ({ desk, signal }, part) =>
      bytesOf((await desk.processFile("current", "auxv", signal)) ?? new Uint8Array(), part),
  ),
  command(
    "qXfer:memory-map:read",
    "General-Query-Packets.html#qXfer-memory-map-read",
    objectPart,
    (_, part) => (part.annex === "" ? partOf(memoryMap, part) : new Refusal("a memory map has no annex")),
  ),
];

/**
 * Refuses to write. GDB asks to write no bytes at all to find out whether the packet is served; it gets the same
 * answer, but the user is told nothing.
 */
function refuseWrite({ writeRefused }: Conversation, text: string): Reply {
  const [, length] = /^[0-9a-f]+,([0-9a-f]+):/i.exec(text) ?? [];
  if ((parseHexCount(length) ?? 0) > 0) writeRefused();
  return readOnly;
}

/** `:ADDR` */
function address(text: string): GuestAddress | undefined {
  const at = text.startsWith(":") ? parseHex(text.slice(1)) : undefined;
  return at === undefined ? undefined : guestAddress(at);
}

/** Source: lldb/docs/resources/lldbgdbremote.md. An answer without permissions means that nothing is mapped there. */
function regionInfo({ start, end, access }: MappedRange): string {
  const last = (1n << 64n) - 1n; // the end is cut there, since LLDB's would overflow at 2^64
  const size = (end > last ? last : end) - start;
  const place = `start:${start.toString(16)};size:${size.toString(16)};`;
  if (!access) return place;
  return `${place}permissions:r${access.write ? "w" : ""}${access.execute ? "x" : ""};`;
}

function read(
  target: Conversation["target"],
  { address, length }: AddressRange,
): Promise<Uint8Array | undefined> {
  if (length === 0) return Promise.resolve(new Uint8Array());
  return target.readMemory(address, Math.min(length, mostMemoryBytes));
}

async function readBinary({ target, state }: Conversation, range: AddressRange): Promise<Reply> {
  if (range.length === 0 && range.address === 0n) {
    state.binaryPrefix = false; // an old LLDB asks in this way whether the packet is served
    return ok;
  }
  const bytes = await read(target, range);
  if (!bytes) return unmapped;
  return (state.binaryPrefix ? "b" : "") + escapeBinary(bytes);
}

/** Answers with QEMU's own target description, file by file, whose numbers and sizes are those of the `g` block. */
async function describe({ target, state }: Conversation, part: ObjectPart): Promise<Reply> {
  const text = /^[\w.-]{1,100}$/.test(part.annex) ? await target.description(part.annex) : undefined;
  if (text === undefined) return new Refusal(`there is no description of this name`);
  return partOf(state.isGdb ? withLinux(text) : text, part);
}

/** A part of a text for an answer: after `l` when it is the last part, otherwise after `m`. */
function partOf(text: string, part: ObjectPart): string {
  return bytesOf(Buffer.from(text, "latin1"), part);
}

function bytesOf(bytes: Uint8Array, { offset, length }: ObjectPart): string {
  const end = offset + Math.min(length, mostMemoryBytes);
  return (end >= bytes.length ? "l" : "m") + escapeBinary(bytes.subarray(offset, end));
}

/** Reads `:ANNEX:OFFSET,LENGTH`. */
function objectPart(text: string): ObjectPart | undefined {
  const [, annex, range] = /^:([^:]*):([^:]*)$/.exec(text) ?? [];
  const [offset, length, ...more] = (range ?? "").split(",").map(parseHexCount);
  if (annex === undefined || offset === undefined || length === undefined || more.length > 0)
    return undefined;
  return { annex, offset, length };
}
