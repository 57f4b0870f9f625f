/** A client that may type. */
export interface Typist {
  /** The client's name, for the others: `process 4711 on /dev/pts/3`. */
  readonly name: string;
}

/**
 * The keyboard of a console, which at most one typist has at a time, since the letters of two would be mixed. A
 * typist has it until it releases it or another one takes it. When it is free, the next one that types gets it.
 */
export class Keyboard {
  private owner: Typist | undefined;
  private readonly listeners = new Set<() => void>();

  /** The typist that has it; undefined when it is free. */
  get holder(): Typist | undefined {
    return this.owner;
  }

  /** Gives it to a typist if it is free. @returns whether the typist has it now */
  claim(typist: Typist): boolean {
    if (this.owner === undefined) this.give(typist);
    return this.owner === typist;
  }

  /** Gives it to a typist, also when another one has it. */
  take(typist: Typist): void {
    if (this.owner !== typist) this.give(typist);
  }

  /** Makes it free, if this typist has it. */
  release(typist: Typist): void {
    if (this.owner === typist) this.give(undefined);
  }

  /** Calls `listener` whenever another typist has it, or none. The function that is returned ends that. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private give(typist: Typist | undefined): void {
    this.owner = typist;
    for (const listener of [...this.listeners]) listener();
  }
}
