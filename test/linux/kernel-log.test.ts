import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatLogRecord, readKernelLog } from "../../src/linux/objects/kernel-log.js";
import { array, char, ModelGuest, u8, u64 } from "./model-guest.js";

const at = {
  pointer: 0xffff_ffff_8200_0000n,
  ring: 0xffff_ffff_8200_1000n,
  descriptors: 0xffff_8880_0100_0000n,
  infos: 0xffff_8880_0110_0000n,
  text: 0xffff_8880_0120_0000n,
} as const;
const descriptorSize = 24n;
const infoSize = 96n;
const idMask = (1n << 62n) - 1n;

/** A simplified version of how the kernel writes the ring: kernel/printk/printk_ringbuffer.c. */
class RingModel {
  readonly model = new ModelGuest();
  readonly written: { readonly sequence: bigint; readonly text: string }[] = [];
  private head: bigint;
  private tail: bigint;
  private headPosition: bigint;
  private tailPosition: bigint;
  private readonly blocks: { readonly begin: bigint; readonly next: bigint }[] = [];
  private readonly firstId: bigint;

  constructor(
    private readonly countBits: bigint,
    private readonly textBits: bigint,
    firstId: bigint,
  ) {
    this.firstId = firstId;
    this.head = (firstId - 1n) & idMask;
    this.tail = this.head;
    // As the kernel starts it: just before the positions wrap for the first time.
    this.headPosition = -(1n << textBits) & 0xffff_ffff_ffff_ffffn;
    this.tailPosition = this.headPosition;
    const { model } = this;
    const counter = model.struct("atomic", { counter: [0, u64] });
    const position = model.struct("prb_data_blk_lpos", { begin: [0, u64], next: [8, u64] });
    model.struct("prb_desc", { state_var: [0, counter], text_blk_lpos: [8, position] });
    const device = model.struct("dev_printk_info", {
      subsystem: [0, array(16, char)],
      device: [16, array(48, char)],
    });
    model.struct("printk_info", {
      seq: [0, u64],
      ts_nsec: [8, u64],
      text_len: [16, { ...u64, size: 2 }],
      facility: [18, u8],
      level: [19, u8],
      dev_info: [32, device],
    });
    const descriptors = model.struct("prb_desc_ring", {
      count_bits: [0, { ...u64, size: 4 }],
      descs: [8, u64],
      infos: [16, u64],
      head_id: [24, counter],
      tail_id: [32, counter],
    });
    const texts = model.struct("prb_data_ring", { size_bits: [0, { ...u64, size: 4 }], data: [8, u64] });
    model.struct("printk_ringbuffer", { desc_ring: [0, descriptors], text_data_ring: [40, texts] });
    model.symbols.set("prb", at.pointer);
    model.word(at.pointer, at.ring);
    model.put(at.descriptors, new Uint8Array(Number((1n << countBits) * descriptorSize)));
    model.put(at.infos, new Uint8Array(Number((1n << countBits) * infoSize)));
    model.put(at.text, new Uint8Array(1 << Number(textBits)));
    this.publish();
  }

  write(text: string): void {
    const bytes = Buffer.from(text);
    const size = 1n << this.textBits;
    const need = (8n + BigInt(bytes.length) + 7n) & ~7n;
    this.head = (this.head + 1n) & idMask;
    const number = BigInt(this.written.length);
    if (number === 0n) this.tail = this.head;
    if (((this.head - this.tail) & idMask) >= 1n << this.countBits) this.dropTail();
    let begin = 1n;
    let next = 1n;
    if (bytes.length > 0) {
      begin = this.headPosition;
      next = begin + need;
      if (begin >> this.textBits !== (next - 1n) >> this.textBits)
        next = ((begin >> this.textBits) + 1n) * size + need;
      next = BigInt.asUintN(64, next);
      this.headPosition = next;
      while (BigInt.asUintN(64, next - this.tailPosition) > size) this.dropTail();
      const start =
        begin >> this.textBits !== BigInt.asUintN(64, next - 1n) >> this.textBits ? 0n : begin & (size - 1n);
      this.model.word(at.text + start, this.head);
      this.model.put(at.text + start + 8n, bytes);
    }
    this.blocks.push({ begin, next });
    this.written.push({ sequence: number, text });
    const index = this.head & ((1n << this.countBits) - 1n);
    const descriptor = at.descriptors + index * descriptorSize;
    this.model.word(descriptor, this.head | (2n << 62n));
    this.model.word(descriptor + 8n, begin);
    this.model.word(descriptor + 16n, next);
    const info = at.infos + index * infoSize;
    this.model.word(info, number);
    this.model.word(info + 8n, number * 1_000_000n);
    this.model.word(info + 16n, BigInt(bytes.length) | (3n << 24n));
    this.publish();
  }

  /** The records that were not overwritten. */
  get kept() {
    return this.written.slice(Number((this.tail - this.firstId) & idMask));
  }

  private dropTail(): void {
    const dropped = this.blocks[Number((this.tail - this.firstId) & idMask)];
    if (dropped && !(dropped.begin & 1n)) this.tailPosition = dropped.next;
    const index = this.tail & ((1n << this.countBits) - 1n);
    this.model.word(at.descriptors + index * descriptorSize, this.tail | (3n << 62n));
    this.tail = (this.tail + 1n) & idMask;
  }

  private publish(): void {
    this.model.word(at.ring, this.countBits);
    this.model.word(at.ring + 8n, at.descriptors);
    this.model.word(at.ring + 16n, at.infos);
    this.model.word(at.ring + 24n, this.head);
    this.model.word(at.ring + 32n, this.tail);
    this.model.word(at.ring + 40n, this.textBits);
    this.model.word(at.ring + 48n, at.text);
  }
}

describe("the kernel's log", () => {
  test("is what was written and not yet overwritten", async () => {
    const texts = fc.array(fc.string({ maxLength: 60 }), { maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(texts, fc.bigInt(0n, idMask), async (lines, firstId) => {
        const ring = new RingModel(4n, 9n, firstId & ~15n);
        for (const line of lines) ring.write(line);
        const { records, lost } = await readKernelLog(ring.model.guest());
        expect(records.map(({ sequence, text }) => ({ sequence, text }))).toEqual(ring.kept);
        expect(lost).toBe(ring.kept[0]?.sequence ?? 0n);
      }),
      { numRuns: 60 },
    );
  });

  test("has levels and times, and lines as dmesg prints them", async () => {
    const ring = new RingModel(4n, 10n, 16n);
    for (let i = 0; i < 2; i++) ring.write("one\ntwo");
    const { records } = await readKernelLog(ring.model.guest());
    expect(records[1]).toMatchObject({ level: 3, facility: 0, time: 1_000_000n });
    expect(formatLogRecord({ ...records[1]!, time: 1_234_567_891_000n })).toBe(
      "[ 1234.567891] one\n[ 1234.567891] two",
    );
  });

  test("that claims more than it can hold is refused", async () => {
    const ring = new RingModel(4n, 9n, 16n);
    ring.write("x");
    ring.model.word(at.ring + 24n, 1n << 40n);
    await expect(readKernelLog(ring.model.guest())).rejects.toMatchObject({ code: "bad-memory" });
    ring.model.word(at.ring, 60n);
    await expect(readKernelLog(ring.model.guest())).rejects.toMatchObject({ code: "bad-memory" });
  });

  test("of a kernel before 5.10 is not there, which is said", async () => {
    await expect(readKernelLog(new ModelGuest().guest("5.4.0"))).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("5.4.0"),
    });
  });
});
