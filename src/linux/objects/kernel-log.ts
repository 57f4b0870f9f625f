import { VmtapeError } from "../../base/errors.js";
import type { LinuxGuest } from "../guest/linux-guest.js";
import type { StructReader } from "../guest/struct-view.js";

/** A record of the kernel's log. */
export interface LogRecord {
  readonly sequence: bigint;
  /** Nanoseconds of the guest's uptime. */
  readonly time: bigint;
  /** 0 emergency … 7 debug. */
  readonly level: number;
  /** As in syslog: 0 kernel, 1 user … */
  readonly facility: number;
  /** May have several lines. */
  readonly text: string;
  /** `SUBSYSTEM` and `DEVICE` of a device's message, as the kernel keeps them. */
  readonly device?: { readonly subsystem: string; readonly name: string };
}

/** What is left of the log at an instant. */
export interface KernelLog {
  readonly records: readonly LogRecord[];
  /** Records that were overwritten before this instant. */
  readonly lost: bigint;
}

/**
 * The ring of 5.10 and later. Source: kernel/printk/printk_ringbuffer.h.
 *
 * A descriptor's id counts up for ever and is its index modulo the ring's size; the top two bits of its state say
 * whether its record is being written (0), written (1), final (2), or free (3). A text block begins with a word (its
 * descriptor's id); positions count up for ever as well, and a block that does not fit before the end of the ring
 * starts at the ring's beginning. An odd position stands for no text.
 */
const stateShift = 62n;
const idMask = (1n << stateShift) - 1n;
const state = { committed: 1, final: 2 } as const;
const blockHeader = 8n;

const largestRingBits = 30;
const mostRecords = 1 << 22;

/**
 * The kernel's log as of this instant: what `dmesg` would print, and what was logged before anything could.
 *
 * @throws VmtapeError `not-found` without BTF, or for a kernel before 5.10, whose log is kept otherwise; `bad-memory`,
 *   `not-mapped` when the ring is not as the kernel keeps it
 */
export async function readKernelLog(guest: LinuxGuest): Promise<KernelLog> {
  const pointer = guest.findAddress("prb");
  if (pointer === undefined || !guest.types.findStruct("printk_ringbuffer")) {
    const { release } = guest.kernel.symbols;
    throw new VmtapeError("not-found", `Linux ${release ?? ""} has no log in the form of 5.10 and later`, {
      got: release,
    });
  }
  const ring = await readRing(guest, await guest.word(pointer));
  const records: LogRecord[] = [];
  for (let id = ring.tail; ; id = (id + 1n) & idMask) {
    const record = await readRecord(guest, ring, id);
    if (record) records.push(record);
    if (id === ring.head) break;
  }
  return { records, lost: records[0]?.sequence ?? 0n };
}

interface Ring {
  readonly descriptorMask: bigint;
  readonly descriptors: bigint;
  readonly infos: bigint;
  readonly tail: bigint;
  readonly head: bigint;
  readonly textBits: bigint;
  readonly text: bigint;
  readonly descriptor: StructReader;
  readonly descriptorSize: bigint;
  readonly info: StructReader;
  readonly infoSize: bigint;
}

async function readRing(guest: LinuxGuest, address: bigint): Promise<Ring> {
  const view = await guest.read("printk_ringbuffer", address, [
    "desc_ring.count_bits",
    "desc_ring.descs",
    "desc_ring.infos",
    "desc_ring.head_id.counter",
    "desc_ring.tail_id.counter",
    "text_data_ring.size_bits",
    "text_data_ring.data",
  ]);
  const countBits = view.number("desc_ring.count_bits");
  const textBits = view.number("text_data_ring.size_bits");
  if (countBits > largestRingBits || textBits > largestRingBits || textBits === 0) {
    throw new VmtapeError(
      "bad-memory",
      `the kernel's log has 2^${countBits} records in 2^${textBits} bytes`,
      {
        address,
      },
    );
  }
  const head = view.word("desc_ring.head_id.counter") & idMask;
  const tail = view.word("desc_ring.tail_id.counter") & idMask;
  const count = (head - tail) & idMask;
  if (count >= 1n << BigInt(countBits) || count > BigInt(mostRecords)) {
    throw new VmtapeError(
      "bad-memory",
      `the kernel's log claims ${count} records, more than it has room for`,
      {
        address,
      },
    );
  }
  const descriptor = guest.struct("prb_desc", [
    "state_var.counter",
    "text_blk_lpos.begin",
    "text_blk_lpos.next",
  ]);
  const info = guest.struct("printk_info", ["seq", "ts_nsec", "text_len", "facility", "level", "dev_info"]);
  return {
    descriptorMask: (1n << BigInt(countBits)) - 1n,
    descriptors: view.word("desc_ring.descs"),
    infos: view.word("desc_ring.infos"),
    tail,
    head,
    textBits: BigInt(textBits),
    text: view.word("text_data_ring.data"),
    descriptor,
    descriptorSize: BigInt(descriptor.type.size),
    info,
    infoSize: BigInt(info.type.size),
  };
}

/** One record; undefined while it is being written, or when it is free. */
async function readRecord(guest: LinuxGuest, ring: Ring, id: bigint): Promise<LogRecord | undefined> {
  const index = id & ring.descriptorMask;
  const descriptor = await ring.descriptor.at(ring.descriptors + index * ring.descriptorSize);
  const word = descriptor.word("state_var.counter");
  const is = Number(word >> stateShift);
  if ((word & idMask) !== id || (is !== state.committed && is !== state.final)) return undefined;
  const info = await ring.info.at(ring.infos + index * ring.infoSize);
  const text = await readText(
    guest,
    ring,
    descriptor.word("text_blk_lpos.begin"),
    descriptor.word("text_blk_lpos.next"),
    info.number("text_len"),
  );
  if (text === undefined) return undefined;
  const subsystem = info.text("dev_info.subsystem");
  const name = info.text("dev_info.device");
  return {
    sequence: info.word("seq"),
    time: info.word("ts_nsec"),
    level: info.number("level"),
    facility: info.number("facility"),
    text,
    ...((subsystem || name) && { device: { subsystem, name } }),
  };
}

async function readText(
  guest: LinuxGuest,
  ring: Ring,
  begin: bigint,
  next: bigint,
  length: number,
): Promise<string | undefined> {
  if (begin & 1n || next & 1n) return "";
  const mask = (1n << ring.textBits) - 1n;
  const wraps = begin >> ring.textBits !== next >> ring.textBits && (next & mask) !== 0n;
  const start = wraps ? 0n : begin & mask;
  const end = wraps ? next & mask : (begin & mask) + (next - begin);
  const room = end - start - blockHeader;
  if (room < 0n || end > mask + 1n) return undefined; // its text was overwritten
  const bytes = await guest.memory.read(ring.text + start + blockHeader, Math.min(length, Number(room)));
  return bytes && Buffer.from(bytes).toString("utf8");
}

/** The lines `dmesg` prints for a record. */
export function formatLogRecord({ time, text }: LogRecord): string {
  const seconds = String(time / 1_000_000_000n).padStart(5);
  const micros = String((time / 1000n) % 1_000_000n).padStart(6, "0");
  return text
    .split("\n")
    .map((line) => `[${seconds}.${micros}] ${line}`)
    .join("\n");
}
