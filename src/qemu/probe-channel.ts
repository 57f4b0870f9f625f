import type { Socket } from "node:net";
import { VmtapeError } from "../base/errors.js";
import { type GuestAddress, hex, type PhysicalAddress } from "../base/units.js";
import type { PluginChannel } from "./plugin-channel.js";
import { type HitBatch, HitStream } from "./probe-hits.js";
import { x86Register } from "./x86-registers.js";

/** Where a probe is met. */
export type ProbePlace =
  | {
      /** Before the instruction at a linear address executes, in any address space. */
      readonly at: "execute";
      readonly address: GuestAddress;
    }
  | {
      /** An instruction writes, reads or does either to any of these bytes. */
      readonly at: "write" | "read" | "access";
      /** A linear address, in any address space; or a physical one. */
      readonly space: "virtual" | "physical";
      readonly address: GuestAddress | PhysicalAddress;
      /** 1 byte or more. */
      readonly length: number;
    };

/** What is collected at a hit; {@link HitBatch.pieces} gives it back. Expressions are agent expressions. */
export type ProbeItem =
  /** All registers as QEMU's `g` packet has them. About 1 us. */
  | { readonly collect: "registers" }
  /** Some, 8 bytes each, in the order of their numbers; none wider than that. */
  | { readonly collect: "some-registers"; readonly names: readonly string[] }
  /** Memory; all or nothing. `most` is at most 65536. */
  | {
      readonly collect: "memory";
      readonly address: Uint8Array;
      readonly length: Uint8Array;
      readonly most: number;
    }
  /** Bytes up to a NUL, without it. */
  | { readonly collect: "text"; readonly address: Uint8Array; readonly most: number };

export interface ProbeOptions {
  /** An agent expression: only where it is not zero, or fails, is the probe hit. */
  readonly when?: Uint8Array;
  /** At most 32 items of together half a megabyte. */
  readonly collect?: readonly ProbeItem[];
  /**
   * The machine stops at the hit, before the instruction: places of execution only, and only with a GDB stub attached.
   * {@link ProbeHit.stops} says whether it does.
   */
  readonly stop?: boolean;
}

/**
 * Probes of the branch plugin (plugin/README.md, "Probes"): breakpoints and watchpoints that are told in passing. Set and
 * removed while the machine is stopped.
 */
export class ProbeChannel {
  private nextId = 1;
  private readonly plugin: PluginChannel;
  private readonly stream: HitStream;

  /**
   * @param plugin commands go through it
   * @param socket our end of the third pair, where hits come
   */
  constructor(plugin: PluginChannel, socket: Socket | undefined) {
    if (!socket) throw new VmtapeError("usage", "this QEMU was not started with a channel for probes");
    this.plugin = plugin;
    this.stream = new HitStream(socket);
  }

  /** An id that no other probe of this channel has been given. Whoever uses these chooses none by hand. */
  takeId(): number {
    return this.nextId++;
  }

  /**
   * Sets a probe. `id` is a number below 2^32 that no other probe has: of {@link takeId}, or the caller's own.
   *
   * @throws `usage` when the plugin refuses: an id that is taken, a bad expression, more than can be collected
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
   * The next hits, in order, at least one; undefined once QEMU has ended. Whoever does not ask holds the guest up, sooner
   * or later: nothing is lost. A hit comes within a millisecond.
   */
  next(): Promise<HitBatch | undefined> {
    return this.stream.next();
  }

  /** {@link next} until the end. */
  async *hits(): AsyncGenerator<HitBatch> {
    for (let batch = await this.next(); batch; batch = await this.next()) yield batch;
  }

  /** With the machine stopped, and somebody in a loop over {@link hits}: resolves when that has dealt with all up to here. */
  async settled(): Promise<void> {
    this.stream.expectAll();
    const { bytes } = await this.plugin.command("hits");
    await this.stream.untilDealtWith(Number(bytes));
  }

  /** With the machine stopped: the hits up to here that {@link next} has not given yet, all of them. */
  async rest(): Promise<HitBatch[]> {
    // The plugin answers when all is sent, so all must be let in meanwhile.
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
