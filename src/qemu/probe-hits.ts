import type { Socket } from "node:net";
import { VmtapeError } from "../base/errors.js";
import {
  type Brctr,
  brctr,
  type GuestAddress,
  guestAddress,
  type Icount,
  icount,
  type PhysicalAddress,
  physicalAddress,
} from "../base/units.js";
import {
  hitFlags,
  hitLayout,
  hitPieceLayout,
  hitPieceStates,
  longestHit,
  noBrctr,
} from "../formats/plugin-stream.js";

/** The access that met a watchpoint. */
export interface HitAccess {
  /** The first of all bytes that were accessed; perhaps only some of them are watched. */
  readonly address: GuestAddress;
  /** The physical address of `address`; undefined where the plugin could not know it. */
  readonly physical: PhysicalAddress | undefined;
  /** Bytes. */
  readonly length: number;
  readonly write: boolean;
  /**
   * The processor wrote it, as part of the frame of an interrupt or exception. `pc` is then the address of the
   * interrupted instruction.
   */
  readonly delivery: boolean;
}

/** What was collected for one {@link ProbeItem}. */
export interface HitPiece {
  /** Borrowed from the batch. */
  readonly bytes: Uint8Array;
  /** `cut`: there is more than the item's `most`. `unreadable`: not mapped, or no memory. */
  readonly state: (typeof hitPieceStates)[number];
}

/** One hit: a probe was met, and its condition held. */
export interface ProbeHit {
  readonly id: number;
  /** The instant before the instruction executes; with {@link HitAccess.delivery}, the delivery's. */
  readonly icount: Icount;
  /** Branches before it; undefined when they are not followed. */
  readonly brctr: Brctr | undefined;
  /** Linear address of the instruction. */
  readonly pc: GuestAddress;
  /**
   * Iterations done of the `rep` instruction at `pc`; only known for the place `execute` where branches are followed,
   * otherwise 0.
   */
  readonly rep: bigint;
  /**
   * How often this probe's place was met in this run up to now, whether the condition held or not. The first hit has
   * at least 1.
   */
  readonly number: bigint;
  /** The condition could not be evaluated, which counts as true. */
  readonly failed: boolean;
  /** The machine stops here by itself, before the instruction (`stop`). */
  readonly stops: boolean;
  readonly access: HitAccess | undefined;
}

/**
 * Hits in the order in which they were met. A field is decoded when it is asked for; the others cost nothing. A batch
 * may be kept; it owns its bytes.
 */
export class HitBatch {
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly offsets: Uint32Array;
  readonly length: number;

  /** @param offsets the offset in `bytes` of each of the `length` records */
  constructor(bytes: Uint8Array, offsets: Uint32Array, length: number) {
    this.bytes = bytes;
    this.offsets = offsets;
    this.length = length;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  id(i: number): number {
    return this.view.getUint32(this.offsets[i]! + hitLayout.id, true);
  }

  icount(i: number): Icount {
    return icount(this.view.getBigUint64(this.offsets[i]! + hitLayout.icount, true));
  }

  pc(i: number): GuestAddress {
    return guestAddress(this.view.getBigUint64(this.offsets[i]! + hitLayout.pc, true));
  }

  /** Hit `i`, without what was collected. */
  hit(i: number): ProbeHit {
    const { view } = this;
    const at = this.offsets[i]!;
    const flags = view.getUint32(at + hitLayout.flags, true);
    const branches = view.getBigUint64(at + hitLayout.brctr, true);
    return {
      id: this.id(i),
      icount: this.icount(i),
      brctr: branches === noBrctr ? undefined : brctr(branches),
      pc: this.pc(i),
      rep: (flags & hitFlags.access) === 0 ? view.getBigUint64(at + hitLayout.address, true) : 0n,
      number: view.getBigUint64(at + hitLayout.number, true),
      failed: (flags & hitFlags.failed) !== 0,
      stops: (flags & hitFlags.stops) !== 0,
      access: (flags & hitFlags.access) === 0 ? undefined : this.access(at, flags),
    };
  }

  /** What was collected at hit `i`, in the order of its items. */
  pieces(i: number): HitPiece[] {
    const { view, bytes } = this;
    const start = this.offsets[i]!;
    const end = start + view.getUint32(start + hitLayout.size, true);
    const pieces: HitPiece[] = [];
    for (let at = start + hitLayout.headerBytes; at < end; ) {
      const size = view.getUint32(at + hitPieceLayout.size, true);
      const state = hitPieceStates[view.getUint32(at + hitPieceLayout.state, true)] ?? "unreadable";
      at += hitPieceLayout.headerBytes;
      if (size > end - at) throw brokenStream();
      pieces.push({ bytes: bytes.subarray(at, at + size), state });
      at += (size + 7) & ~7;
    }
    return pieces;
  }

  *[Symbol.iterator](): Generator<ProbeHit> {
    for (let i = 0; i < this.length; i++) yield this.hit(i);
  }

  private access(at: number, flags: number): HitAccess {
    const { view } = this;
    const mapped = (flags & hitFlags.physical) !== 0;
    return {
      address: guestAddress(view.getBigUint64(at + hitLayout.address, true)),
      physical: mapped ? physicalAddress(view.getBigUint64(at + hitLayout.physical, true)) : undefined,
      length: view.getUint32(at + hitLayout.length, true),
      write: (flags & hitFlags.write) !== 0,
      delivery: (flags & hitFlags.delivery) !== 0,
    };
  }
}

/** How many bytes of hits may wait for the reader before QEMU is held up. */
const mostWaiting = 8 << 20;

/** The plugin's stream of hits, which is cut into batches of complete records as it arrives. */
export class HitStream {
  private readonly socket: Socket;
  private readonly batches: HitBatch[] = [];
  private rest: Buffer = Buffer.alloc(0);
  private received = 0;
  private taken = 0;
  private wanted = 0;
  private ended = false;
  private failure: unknown;
  private wake: (() => void) | undefined;
  private settling: { readonly total: number; resolve(): void } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => this.receive(bytes));
    for (const event of ["end", "close", "error"]) socket.on(event, () => this.end());
  }

  /** The next batch, of at least one hit; undefined when the stream has ended. One call at a time. */
  async next(): Promise<HitBatch | undefined> {
    this.settle();
    while (this.batches.length === 0) {
      if (this.failure) throw this.failure;
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
    const batch = this.batches.shift()!;
    this.taken += batch.byteLength;
    this.hold();
    return batch;
  }

  /** Resolves when the loop that calls `next` has dealt with all hits up to byte `total` of the stream. */
  untilDealtWith(total: number): Promise<void> {
    this.wanted = total;
    return new Promise((resolve) => {
      this.settling = { total, resolve };
      if (this.wake) this.settle();
    });
  }

  private settle(): void {
    if (!this.settling || (this.taken < this.settling.total && !this.ended)) return;
    this.settling.resolve();
    this.settling = undefined;
  }

  /**
   * Receives everything without holding QEMU up, until {@link allUpTo} or {@link untilDealtWith} tells how much is to
   * come.
   */
  expectAll(): void {
    this.wanted = Number.POSITIVE_INFINITY;
    this.hold();
  }

  /** The batches up to byte `total` of the stream that `next` has not returned yet. */
  async allUpTo(total: number): Promise<HitBatch[]> {
    this.wanted = total;
    const batches: HitBatch[] = [];
    while (this.taken < total) {
      const batch = await this.next();
      if (!batch) break;
      batches.push(batch);
    }
    return batches;
  }

  /** Stops reading, which holds QEMU up, while too many bytes wait. */
  private hold(): void {
    const full = this.received - this.taken > mostWaiting && this.received >= this.wanted;
    if (full !== this.socket.isPaused()) this.socket[full ? "pause" : "resume"]();
  }

  private receive(bytes: Buffer): void {
    try {
      const batch = this.cut(this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]));
      if (batch.length > 0) this.batches.push(batch);
    } catch (error) {
      this.failure = error;
    }
    this.hold();
    this.wake?.();
  }

  private end(): void {
    this.ended = true;
    this.settle();
    this.wake?.();
  }

  private cut(bytes: Buffer): HitBatch {
    const offsets = new Uint32Array(Math.floor(bytes.length / hitLayout.headerBytes));
    let at = 0;
    let length = 0;
    while (bytes.length - at >= hitLayout.headerBytes) {
      const size = bytes.readUInt32LE(at + hitLayout.size);
      if (size < hitLayout.headerBytes || size > longestHit || size % 8 !== 0) throw brokenStream();
      if (size > bytes.length - at) break;
      offsets[length++] = at;
      at += size;
    }
    this.rest = bytes.subarray(at);
    this.received += at;
    return new HitBatch(bytes.subarray(0, at), offsets, length);
  }
}

function brokenStream(): VmtapeError {
  return new VmtapeError("protocol-error", "the branch plugin sent something that is no probe hit");
}
