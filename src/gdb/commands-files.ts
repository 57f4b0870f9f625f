import { type Command, type Conversation, command } from "./command.js";
import { packetBytes } from "./commands-general.js";
import { parseBytes, parseHexCount } from "./hex.js";
import { escapeBinary } from "./packet.js";
import { type Reply, unsupported } from "./reply.js";
import { onlyProcess } from "./syntax.js";

/** Errors of the file packets. Source: GDB manual, "Errno Values". */
const fileError = { notThere: 2, badDescriptor: 9, tooMany: 91 } as const;
/** The most open files of a client. A debugger has one or two. */
const mostOpen = 64;
const mostRead = (packetBytes - 64) / 2;

/** The text after `vFile:`. */
interface FileRequest {
  readonly operation: string;
  readonly words: readonly string[];
}

/**
 * Packets that read files of the guest's processes: `/proc/PID/maps` and the others that GDB's `info proc` reads. No
 * file of the host is ever opened.
 */
export const fileCommands: readonly Command[] = [
  command("vFile", "Host-I_002fO-Packets.html", parseRequest, answer),
];

function parseRequest(text: string): FileRequest | undefined {
  const [, operation, rest] = /^:(\w+):?(.*)$/s.exec(text) ?? [];
  return operation === undefined ? undefined : { operation, words: (rest ?? "").split(",") };
}

function answer(conversation: Conversation, { operation, words }: FileRequest): Reply | Promise<Reply> {
  switch (operation) {
    case "open":
      return open(conversation, words[0] ?? "");
    case "pread":
      return read(conversation, words);
    case "close":
      return conversation.state.files.delete(descriptor(words[0])) ? "F0" : failed(fileError.badDescriptor);
    case "readlink":
      return readLink(conversation, words[0] ?? "");
    default:
      return unsupported;
  }
}

async function open({ desk, state, signal }: Conversation, name: string): Promise<Reply> {
  if (state.files.size >= mostOpen) return failed(fileError.tooMany);
  const file = processFile(name);
  const bytes = isSearchForVdso(name)
    ? new Uint8Array()
    : file && !file.isLink && (await desk.processFile(file.process, file.name, signal));
  if (!bytes) return failed(fileError.notThere);
  const number = state.nextFile++;
  state.files.set(number, bytes);
  return `F${number.toString(16)}`;
}

function read({ state }: Conversation, [file, count, offset]: readonly string[]): Reply {
  const bytes = state.files.get(descriptor(file));
  const from = parseHexCount(offset);
  const length = parseHexCount(count);
  if (!bytes || from === undefined || length === undefined) return failed(fileError.badDescriptor);
  return attached(bytes.subarray(from, from + Math.min(length, mostRead)));
}

async function readLink({ desk, signal }: Conversation, name: string): Promise<Reply> {
  const file = processFile(name);
  const bytes = file?.isLink ? await desk.processFile(file.process, file.name, signal) : undefined;
  return bytes ? attached(bytes.subarray(0, mostRead)) : failed(fileError.notThere);
}

/** `/proc/PID/NAME`, in hexadecimal. {@link onlyProcess} stands for the process that runs at this instant. */
function processFile(name: string) {
  const path = Buffer.from(parseBytes(name) ?? []).toString("latin1");
  const [, digits, entry] = /^\/proc\/(\d{1,10})\/(maps|cmdline|exe|cwd|auxv)$/.exec(path) ?? [];
  if (digits === undefined || entry === undefined) return undefined;
  const process = Number(digits);
  return {
    process: process === onlyProcess ? ("current" as const) : process,
    name: entry as "maps" | "cmdline" | "exe" | "cwd" | "auxv",
    isLink: entry === "exe" || entry === "cwd",
  };
}

/**
 * Is it the file in which GDB looks for the vdso when it attaches? GDB would keep the vdso's symbols of the process
 * that runs at that instant for ever, so it gets an empty file.
 */
function isSearchForVdso(name: string): boolean {
  return (
    Buffer.from(parseBytes(name) ?? []).toString("latin1") === `/proc/${onlyProcess}/task/${onlyProcess}/maps`
  );
}

function descriptor(text: string | undefined): number {
  return parseHexCount(text) ?? -1;
}

function failed(number: number): string {
  return `F-1,${number.toString(16)}`;
}

function attached(bytes: Uint8Array): string {
  return `F${bytes.length.toString(16)};${escapeBinary(bytes)}`;
}
