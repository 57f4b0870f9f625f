import { VmtapeError } from "./errors.js";

/** The error of work that was cancelled. */
export function stoppedOnRequest(): VmtapeError {
  return new VmtapeError("cancelled", "stopped on request");
}

/** Throws `cancelled` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw stoppedOnRequest();
}

/** Throws `cancelled` for a stop or arrival whose reason is that it was cancelled. */
export function throwIfCancelled({ why }: { readonly why: string }): void {
  if (why === "cancelled") throw stoppedOnRequest();
}

/**
 * Calls `action` when the signal fires, or at once when it has fired already. Disposal removes the listener, so that
 * a signal that lives long does not keep those of work that has ended.
 */
export function whenAborted(signal: AbortSignal | undefined, action: () => void): Disposable {
  if (signal?.aborted) action();
  else signal?.addEventListener("abort", action, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener("abort", action) };
}

/** Resolves when the signal fires, and keeps the process alive until then. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const keepAlive = setInterval(() => {}, 60_000);
    whenAborted(signal, () => {
      clearInterval(keepAlive);
      resolve();
    });
  });
}

/** A controller that is also aborted when `signal` is, until it is disposed. */
export function linkedAbort(signal: AbortSignal | undefined): AbortController & Disposable {
  const controller = new AbortController();
  const link = whenAborted(signal, () => controller.abort(signal?.reason));
  return Object.assign(controller, { [Symbol.dispose]: () => link[Symbol.dispose]() });
}
