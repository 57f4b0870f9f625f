import { VmtapeError } from "./errors.js";

/** What somebody asked to stop throws. */
export function stoppedOnRequest(): VmtapeError {
  return new VmtapeError("cancelled", "stopped on request");
}

/** Throws `cancelled` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw stoppedOnRequest();
}

/** Throws `cancelled` when this is why a journey ended. */
export function throwIfCancelled({ why }: { readonly why: string }): void {
  if (why === "cancelled") throw stoppedOnRequest();
}

/**
 * Does something when the signal fires, at once when it has; not any more once this is disposed, so that a signal that lives
 * long keeps nothing of what came and went.
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

/** A controller that is aborted with `signal`, too, as long as it is not disposed. */
export function linkedAbort(signal: AbortSignal | undefined): AbortController & Disposable {
  const controller = new AbortController();
  const link = whenAborted(signal, () => controller.abort(signal?.reason));
  return Object.assign(controller, { [Symbol.dispose]: () => link[Symbol.dispose]() });
}
