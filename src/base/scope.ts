/**
 * One owner for things that must end. Its cleanups run in reverse order, each once, and all of them even when some
 * fail. Use with `await using`.
 */
export class Scope implements AsyncDisposable {
  private readonly cleanups: (() => void | PromiseLike<void>)[] = [];

  /** Registers a cleanup; it runs before the ones registered earlier. */
  defer(cleanup: () => void | PromiseLike<void>): void {
    this.cleanups.push(cleanup);
  }

  /** Registers a disposable and returns it. */
  own<T extends AsyncDisposable>(thing: T): T {
    this.defer(() => thing[Symbol.asyncDispose]());
    return thing;
  }

  /** Moves all cleanups to a new scope, which is returned; this one then ends nothing. */
  move(): Scope {
    const heir = new Scope();
    heir.cleanups.push(...this.cleanups.splice(0));
    return heir;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (let cleanup = this.cleanups.pop(); cleanup; cleanup = this.cleanups.pop()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, "several cleanups failed");
  }
}
