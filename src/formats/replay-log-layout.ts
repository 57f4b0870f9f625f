/**
 * The layout of QEMU's replay log (`-icount …,rrfile=FILE`), version word 0xe0200c, written by QEMU 7.1 to 10.2.
 * Source: QEMU's replay/replay-internal.h (order of the events), replay-internal.c (integers, arrays),
 * replay-events.c, replay-input.c, replay-char.c, replay-net.c, replay-audio.c, replay-random.c, replay-time.c
 * (payloads), replay.c (header, end).
 *
 * All integers are big-endian. The file:
 *
 *     0        4                 12
 *     | version | reserved (u64)  | event | event | …
 *
 * QEMU writes the version word last, at a clean exit: until then it is 0. An event is a kind byte and a payload;
 * the byte of each kind depends on the dialect (`replay-log-dialect.ts`), the payload does not.
 */

/** The header: u32 version, u64 reserved (QEMU never writes it: 0). */
export const logHeader = { versionAt: 0, reservedAt: 4, size: 12 } as const;

/** The one version word that is read. */
export const logVersion = 0xe0200c;

/** The version word of a log whose QEMU has not exited cleanly. */
export const unfinishedVersion = 0;

/**
 * Payload of each kind, after the kind byte. `fixed` is its length in bytes, or the length of the part that
 * says how long the rest is; `rest` says what follows.
 *
 *     instruction          | u32 count |                     instructions since the last such event: 1 … 2^31-1
 *     async-bh(-oneshot)   | u64 id |                        icount at which it was scheduled
 *     async-input          | u32 type | by type |            see `inputLayout`
 *     async-char-read      | u8 device | u32 n | n bytes |
 *     async-block          | u64 request |
 *     async-net            | u8 filter | u32 flags | u32 n | n bytes |
 *     char-write           | i32 result | u32 written |
 *     char-read-all        | u32 n | n bytes |
 *     char-read-all-error  | i32 result |
 *     audio-out            | u64 played |
 *     audio-in             | u64 n | u64 position | n × (u64 left, u64 right) |
 *     random               | i32 result | u32 n | n bytes |
 *     clock-…              | i64 ns |
 *     others               nothing
 */
export const kindLayouts = {
  instruction: { fixed: 4 },
  interrupt: { fixed: 0 },
  exception: { fixed: 0 },
  "async-bh": { fixed: 8 },
  "async-bh-oneshot": { fixed: 8 },
  "async-input": { fixed: 4, rest: "input" },
  "async-input-sync": { fixed: 0 },
  "async-char-read": { fixed: 1 + 4, rest: "array" },
  "async-block": { fixed: 8 },
  "async-net": { fixed: 1 + 4 + 4, rest: "array" },
  shutdown: { fixed: 0 },
  "char-write": { fixed: 4 + 4 },
  "char-read-all": { fixed: 4, rest: "array" },
  "char-read-all-error": { fixed: 4 },
  "audio-out": { fixed: 8 },
  "audio-in": { fixed: 8 + 8, rest: "samples" },
  random: { fixed: 4 + 4, rest: "array" },
  "clock-host": { fixed: 8 },
  "clock-virtual-rt": { fixed: 8 },
  "checkpoint-clock-warp-start": { fixed: 0 },
  "checkpoint-clock-warp-account": { fixed: 0 },
  "checkpoint-reset-requested": { fixed: 0 },
  "checkpoint-suspend-requested": { fixed: 0 },
  "checkpoint-clock-virtual": { fixed: 0 },
  "checkpoint-clock-host": { fixed: 0 },
  "checkpoint-clock-virtual-rt": { fixed: 0 },
  "checkpoint-init": { fixed: 0 },
  "checkpoint-reset": { fixed: 0 },
  end: { fixed: 0 },
} as const satisfies Record<string, KindLayout>;

/**
 * `array`: the last four fixed bytes count the bytes that follow. `samples`: the first eight fixed bytes count
 * the 16-byte samples that follow. `input`: the type says what follows.
 */
export interface KindLayout {
  readonly fixed: number;
  readonly rest?: "array" | "samples" | "input";
}

/** The stable name of an event kind, the same in every dialect. */
export type EventKind = keyof typeof kindLayouts;

/** Every kind; its place here is its code in `EventBatch.kinds`. */
export const eventKinds = Object.keys(kindLayouts) as readonly EventKind[];

/** Code of each kind in `EventBatch.kinds`. */
export const kindCodes = Object.fromEntries(eventKinds.map((kind, code) => [kind, code])) as Readonly<
  Record<EventKind, number>
>;

/** The kind of that name, if there is one. */
export function findKind(name: string): EventKind | undefined {
  return Object.hasOwn(kindLayouts, name) ? (name as EventKind) : undefined;
}

/** A sample of `audio-in`: u64 left, u64 right. */
export const sampleSize = 16;

/** What follows the u32 type of an input event (QAPI `InputEvent`); the place in the list is the type. */
export const inputTypes = ["key", "button", "relative", "absolute", "touch"] as const;

/**
 * Bytes after the type:
 *
 *     key       | u32 value kind | u64 number or u32 qcode | u8 down |
 *     button    | u32 button | u8 down |
 *     relative  | u32 axis | i64 value |
 *     absolute  | u32 axis | i64 value |
 *     touch     | u32 type | i64 slot | i64 tracking id | u32 axis | i64 value |   (QEMU 8.1 and later)
 */
export const inputLayout = {
  keyValueKinds: ["number", "qcode"],
  keyNumber: 4 + 8 + 1,
  keyQcode: 4 + 4 + 1,
  button: 4 + 1,
  relative: 4 + 8,
  absolute: 4 + 8,
  touch: 4 + 8 + 8 + 4 + 8,
} as const;

/** The longest event but for its array or samples; a reader's buffer must hold one. */
export const longestHead = 1 + 4 + inputLayout.touch;

/** QEMU counts instructions between events in a signed 32-bit integer and writes no empty run. */
export const longestRun = 0x7fffffff;
