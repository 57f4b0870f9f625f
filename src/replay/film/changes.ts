import { VmtapeError } from "../../base/errors.js";
import { brctr, guestAddress, icount } from "../../base/units.js";
import { filmChangeFlags, filmChangeWords, filmEntries } from "../../formats/film-stream.js";
import { type X86Register, x86Register } from "../../qemu/x86-registers.js";
import type { CountedSession } from "../session/counted-session.js";
import type { Instant } from "../session/timeline-types.js";
import type { RegisterStep } from "./model.js";
import { runFilmed } from "./take.js";

/** A register whose changes can be watched: any of the `g` block but `rip`. @throws `usage` for others */
export function watchedRegister(name: string): X86Register {
  const register = x86Register(name);
  if (register && name !== "rip") return register;
  throw new VmtapeError(
    "usage",
    `${name} is no register whose changes are told; rax, rsp, eflags and cr3 are`,
  );
}

/**
 * Runs a session to an instant, and calls `onChange` for each change of a register on the way, in order.
 *
 * Cost: for a general register or the flags some 10 ns an instruction; for others little more than a replay.
 *
 * @throws everything `takeFilm` throws
 */
export async function registerChanges(
  session: CountedSession,
  { number, bytes }: X86Register,
  to: Instant,
  onChange: (step: RegisterStep) => void,
  signal?: AbortSignal,
): Promise<void> {
  const tell = (piece: Uint8Array) => {
    const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
    const size = 8 * filmChangeWords;
    if (piece.length % size !== 0) throw broken();
    for (let at = 0; at < piece.length; at += size) {
      if (view.getUint32(at + 4, true) >>> 28 !== filmEntries.change) throw broken();
      onChange({
        position: {
          icount: icount(view.getBigUint64(at + 8, true)),
          brctr: brctr(view.getBigUint64(at + 16, true)),
          pc: guestAddress(view.getBigUint64(at + 24, true)),
          rep: view.getBigUint64(at + 32, true),
        },
        kind: view.getUint32(at, true) & filmChangeFlags.delivery ? "delivery" : "instruction",
        before: piece.slice(at + 40, at + 40 + bytes),
        after: piece.slice(at + 56, at + 56 + bytes),
      });
    }
  };
  await runFilmed(session, { register: number }, to, tell, signal);
}

const broken = () =>
  new VmtapeError("protocol-error", "the branch plugin sent something that is no change of a register");
