/** A mutex for asynchronous work: one caller works at a time, the others wait in the order in which they came. */
export class Mutex {
  private last: Promise<unknown> = Promise.resolve();

  /**
   * Calls `work` as soon as all work that was asked for before it has settled, whether it failed or not. `work` must
   * not lock the same mutex: it would wait for itself.
   *
   * @throws what `work` throws
   */
  lock<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work, work);
    this.last = result.catch(() => {});
    return result;
  }
}
