import { throwIfAborted } from "../../base/stopping.js";
import type { Tape } from "../../tape/tape.js";
import { registerChanges, watchedRegister } from "../film/changes.js";
import type { RegisterStep } from "../film/model.js";
import { withoutLost } from "../session/checkpoint.js";
import { CountedSession } from "../session/counted-session.js";
import { backwards, type Here, type RunBackOptions, type Stretch } from "./run-back.js";

/**
 * The last instruction or delivery of the tape before `here` that changed a register. The stretches between
 * checkpoints are replayed from the latest to the earliest, until one has a change.
 *
 * @returns undefined when it has not changed since the tape's start
 * @throws `usage` for a register whose changes cannot be watched; `cancelled`; everything `Session.runTo` throws
 */
export function lastRegisterChange(
  tape: Tape,
  here: Here,
  name: string,
  options: RunBackOptions,
): Promise<RegisterStep | undefined> {
  const register = watchedRegister(name);
  const lastIn = async ({ from, to }: Stretch): Promise<RegisterStep | undefined> => {
    let last: RegisterStep | undefined;
    await using session = await CountedSession.start(tape, { ...options, from });
    const end = to === here.icount ? { icount: to, pc: here.pc } : { icount: to };
    await registerChanges(session, register, end, (change) => (last = change), options.signal);
    return last;
  };
  return withoutLost(async () => {
    for (const stretch of backwards(await options.checkpoints(), here.icount, 0n as never)) {
      throwIfAborted(options.signal);
      const found = await lastIn(stretch);
      if (found) return found;
    }
    return undefined;
  });
}
