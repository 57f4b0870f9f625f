import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import type { Types } from "../../symbols/types/set.js";
import type { HistoryTask } from "../history/task-history.js";
import { type Code, constant } from "./collect-code.js";
import { currentCode, type ProbeNames } from "./probe-names.js";

const commBytes = 16;

/** What is collected of a task: as many items as {@link readTask} reads. */
export function taskItems(types: Types, task: Code): ProbeItem[] {
  const type = types.struct("task_struct");
  const member = (name: string) => task.plus(type.member(name).byteOffset);
  const number = (name: string, length: number): ProbeItem => ({
    collect: "memory",
    address: member(name).bytes,
    length: constant(length).bytes,
    most: length,
  });
  return [
    number("pid", 4),
    number("tgid", 4),
    number("mm", 8),
    { collect: "text", address: member("comm").bytes, most: commBytes },
  ];
}

/** How many pieces of a hit {@link readCurrent} reads. */
export const currentPieces = 5;

/** What is collected of the task that runs; undefined where the kernel's layout is not known. */
export function currentItems(names: ProbeNames): ProbeItem[] | undefined {
  const current = currentCode(names);
  if (!current || !names.types.findStruct("task_struct")) return undefined;
  const pointer: ProbeItem = {
    collect: "memory",
    address: current.bytes,
    length: constant(8).bytes,
    most: 8,
  };
  return [pointer, ...taskItems(names.types, current.follow())];
}

/** The task that ran; undefined where its memory could not be read. */
export function readCurrent(pieces: readonly HitPiece[]): HistoryTask | undefined {
  const address = numberOf(pieces[0]);
  return address === undefined ? undefined : readTask(address, pieces.slice(1));
}

export function readTask(address: bigint, pieces: readonly HitPiece[]): HistoryTask | undefined {
  const [pid, tgid, mm] = [pieces[0], pieces[1], pieces[2]].map(numberOf);
  const name = pieces[3];
  if (pid === undefined || tgid === undefined || mm === undefined) return undefined;
  return {
    pid: Number(BigInt.asIntN(32, pid)),
    tgid: Number(BigInt.asIntN(32, tgid)),
    name: name && name.state !== "unreadable" ? Buffer.from(name.bytes).toString("utf8") : "?",
    address,
    mm,
  };
}

/** An integer of 4 or 8 bytes. */
export function numberOf(piece: HitPiece | undefined): bigint | undefined {
  if (piece?.state !== "whole") return undefined;
  const view = new DataView(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
  return piece.bytes.length === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
}
