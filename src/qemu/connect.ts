import { VmtapeError } from "../base/errors.js";
import { throwIfAborted, whenAborted } from "../base/stopping.js";
import type { ProcessEnd, QemuProcess } from "./process.js";
import { Qmp } from "./qmp.js";

/** How long QEMU may take to answer. It takes tenths of a second, on a busy host seconds. */
const patienceMs = 30_000;

/**
 * Waits until a QEMU that was just started answers on its monitor. When that fails, QEMU is ended.
 *
 * @param first sends the first commands; it is called before QEMU is ready
 * @throws `qemu-failed` with QEMU's own message, `qemu-hung` when it does not answer, `cancelled`
 */
export async function connectMonitor(
  qemu: QemuProcess,
  signal?: AbortSignal,
  first: (qmp: Qmp) => void = () => {},
): Promise<Qmp> {
  let hung = false;
  const end = () => qemu.kill("SIGKILL");
  const timer = setTimeout(() => {
    hung = true;
    end();
  }, patienceMs);
  using _stopped = whenAborted(signal, end);
  try {
    throwIfAborted(signal);
    const qmp = Qmp.open(qemu.monitor);
    first(qmp);
    await qmp.ready;
    return qmp;
  } catch (error) {
    end();
    const ending = await qemu.ended;
    throwIfAborted(signal);
    if (hung)
      throw new VmtapeError("qemu-hung", `QEMU did not answer within ${patienceMs / 1000} s`, {}, error);
    throw new VmtapeError("qemu-failed", `QEMU did not start: ${qemu.lastError || describeEnd(ending)}`, {
      got: qemu.errorOutput.trim(),
    });
  } finally {
    clearTimeout(timer);
  }
}

/** How a process ended, in words. */
export function describeEnd({ code, signal }: ProcessEnd): string {
  return signal ? `it was ended by ${signal}` : `exit code ${code}`;
}
