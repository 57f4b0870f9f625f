/** Lets one caller in at a time; the others wait in order. */
export class Gate {
  private last: Promise<unknown> = Promise.resolve();

  enter<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work, work);
    this.last = result.catch(() => {});
    return result;
  }
}
