/** Somebody who may type. */
export interface Typist {
  /** Who it is, for the others: `process 4711 on /dev/pts/3`. */
  readonly name: string;
}

/**
 * A console has one keyboard: two who type at once would mix their letters. It belongs to one typist until he gives it
 * back or another one takes it; when it is free, the next who types has it.
 */
export class Keyboard {
  private owner: Typist | undefined;
  private readonly listeners = new Set<() => void>();

  /** Who has it. */
  get holder(): Typist | undefined {
    return this.owner;
  }

  /** Makes it his, when it is free or his already. @returns whether it is his now */
  claim(typist: Typist): boolean {
    if (this.owner === undefined) this.give(typist);
    return this.owner === typist;
  }

  /** Makes it his, whoever has it. */
  take(typist: Typist): void {
    if (this.owner !== typist) this.give(typist);
  }

  /** Gives it back, when it is his. */
  release(typist: Typist): void {
    if (this.owner === typist) this.give(undefined);
  }

  /** Calls `listener` whenever it has changed hands, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private give(typist: Typist | undefined): void {
    this.owner = typist;
    for (const listener of [...this.listeners]) listener();
  }
}
