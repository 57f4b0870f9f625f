import type { Socket } from "node:net";
import { VmtapeError } from "../base/errors.js";
import { type GuestAddress, hex, type PhysicalAddress } from "../base/units.js";
import type { PluginChannel } from "./plugin-channel.js";
import { type HitBatch, HitStream } from "./probe-hits.js";
import { x86Register } from "./x86-registers.js";

/** The place of a probe. */
export type ProbePlace =
  | {
      /** It is met before the instruction at this linear address executes, in any address space. */
      readonly at: "execute";
      readonly address: GuestAddress;
    }
  | {
      /** It is met when an instruction writes any of these bytes, reads any, or does either (`access`). */
      readonly at: "write" | "read" | "access";
      /** `virtual`: a linear address, in any address space. */
      readonly space: "virtual" | "physical";
      readonly address: GuestAddress | PhysicalAddress;
      /** 1 byte or more. */
      readonly length: number;
    };

/** Something that is collected at each hit; {@link HitBatch.pieces} returns it. Expressions are agent expressions. */
export type ProbeItem =
  /** All registers as in QEMU's `g` packet. Cost: about 1 µs. */
  | { readonly collect: "registers" }
  /** Some registers of at most 8 bytes, each as 8 bytes, in the order of their numbers. */
  | { readonly collect: "some-registers"; readonly names: readonly string[] }
  /** Memory, if all of it can be read. `most` is at most 65536. */
  | {
      readonly collect: "memory";
      readonly address: Uint8Array;
      readonly length: Uint8Array;
      readonly most: number;
    }
  /** The bytes before the next NUL. */
  | { readonly collect: "text"; readonly address: Uint8Array; readonly most: number };

export interface ProbeOptions {
  /** An agent expression. The probe is hit only where it is not zero, or cannot be evaluated. */
  readonly when?: Uint8Array;
  /** At most 32 items of together half a megabyte. */
  readonly collect?: readonly ProbeItem[];
  /**
   * Stop the machine at the hit, before the instruction. Only for the place `execute`, and only with a GDB stub
   * attached. {@link ProbeHit.stops} tells whether the machine stops.
   */
  readonly stop?: boolean;
}

/**
 * Probes of the branch plugin (plugin/README.md, "Probes"): breakpoints and watchpoints whose hits are reported while
 * the machine runs on. They are set and removed while the machine is stopped.
 */
export class ProbeChannel {
  private nextId = 1;
  private readonly plugin: PluginChannel;
  private readonly stream: HitStream;

  /**
   * @param plugin the channel for commands
   * @param socket our end of the third pair, over which hits arrive
   */
  constructor(plugin: PluginChannel, socket: Socket | undefined) {
    if (!socket) throw new VmtapeError("usage", "this QEMU was not started with a channel for probes");
    this.plugin = plugin;
    this.stream = new HitStream(socket);
  }

  /** A new id. A caller that takes ids here must not choose any by itself. */
  takeId(): number {
    return this.nextId++;
  }

  /**
   * Sets a probe. `id` is a number below 2^32 that no other probe has: from {@link takeId}, or chosen by the caller.
   *
   * @throws `usage` when the plugin refuses: the id is taken, the expression is bad, or too much is to be collected
   */
  async place(id: number, place: ProbePlace, options: ProbeOptions = {}): Promise<void> {
    const words = ["probe", id, placeText(place)];
    if (options.when) words.push(`when=${code(options.when)}`);
    if (options.collect?.length) words.push(`collect=${options.collect.map(itemText).join(",")}`);
    if (options.stop) words.push("stop=exact");
    await this.plugin.command(words.join(" "));
  }

  /** Removes a probe; false when there is none of this id. */
  async remove(id: number): Promise<boolean> {
    return (await this.plugin.command(`unprobe ${id}`)).count !== 0;
  }

  async removeAll(): Promise<void> {
    await this.plugin.command("unprobe all");
  }

  /**
   * The next hits, in order, at least one; undefined once QEMU has ended. A hit arrives within a millisecond. Nothing
   * is lost: when the caller does not read, the guest is held up once some MB of hits are waiting.
   */
  next(): Promise<HitBatch | undefined> {
    return this.stream.next();
  }

  /** Yields the batches of {@link next} until the end. */
  async *hits(): AsyncGenerator<HitBatch> {
    for (let batch = await this.next(); batch; batch = await this.next()) yield batch;
  }

  /** Resolves when a loop over {@link hits} has dealt with all hits up to here. The machine must be stopped. */
  async settled(): Promise<void> {
    this.stream.expectAll();
    const { bytes } = await this.plugin.command("hits");
    await this.stream.untilDealtWith(Number(bytes));
  }

  /** All hits up to here that {@link next} has not returned yet. The machine must be stopped. */
  async rest(): Promise<HitBatch[]> {
    // The plugin answers when it has sent all hits, so all of them must be received meanwhile.
    this.stream.expectAll();
    const { bytes } = await this.plugin.command("hits");
    return this.stream.allUpTo(Number(bytes));
  }
}

function placeText(place: ProbePlace): string {
  if (place.at === "execute") return `exec ${hex(place.address)}`;
  return `${place.at} ${place.space} ${hex(place.address)} ${place.length}`;
}

function itemText(item: ProbeItem): string {
  switch (item.collect) {
    case "registers":
      return "g";
    case "some-registers":
      return `r:${registerMask(item.names).toString(16)}`;
    case "memory":
      return `m:${code(item.address)}/${code(item.length)}/${item.most}`;
    case "text":
      return `s:${code(item.address)}/${item.most}`;
  }
}

function registerMask(names: readonly string[]): bigint {
  let mask = 0n;
  for (const name of names) {
    const register = x86Register(name);
    if (!register || register.bytes > 8 || register.number > 63) {
      throw new VmtapeError("usage", `${name} is no register that a probe can collect alone`);
    }
    mask |= 1n << BigInt(register.number);
  }
  return mask;
}

function code(expression: Uint8Array): string {
  return Buffer.from(expression.buffer, expression.byteOffset, expression.byteLength).toString("hex");
}
