import { deserialize, serialize } from "node:v8";
import type { GuestMemory } from "../../base/guest-memory.js";

/**
 * Guest memory that remembers what was read of it, so that the same questions can be answered later without the
 * guest: what `readModules` looked at is all it needs to name a module's symbols again.
 */
export class RecordedMemory implements GuestMemory {
  private readonly seen: Map<string, Uint8Array | undefined>;
  private readonly live: GuestMemory | undefined;

  private constructor(seen: Map<string, Uint8Array | undefined>, live?: GuestMemory) {
    this.seen = seen;
    this.live = live;
  }

  /** Reads through to `memory` and remembers. */
  static over(memory: GuestMemory): RecordedMemory {
    return new RecordedMemory(new Map(), memory);
  }

  /** What {@link encode} gave, from this user's own cache; undefined when it is damaged. */
  static decode(bytes: Uint8Array): RecordedMemory | undefined {
    try {
      const seen: unknown = deserialize(bytes);
      return seen instanceof Map ? new RecordedMemory(seen) : undefined;
    } catch {
      return undefined;
    }
  }

  encode(): Uint8Array {
    return serialize(this.seen);
  }

  async read(address: bigint, length: number): Promise<Uint8Array | undefined> {
    const key = `${address}+${length}`;
    if (!this.live || this.seen.has(key)) return this.seen.get(key);
    const bytes = await this.live.read(address, length);
    this.seen.set(key, bytes && new Uint8Array(bytes));
    return bytes;
  }
}
