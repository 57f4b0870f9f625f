import fc from "fast-check";
import { type ReplayLogDialect, shutdownCauses } from "../../src/formats/replay-log-dialect.js";
import { encodeLogHeader, ReplayLogEncoder } from "../../src/formats/replay-log-encoder.js";
import type { EventBody, Payload } from "../../src/formats/replay-log-event.js";
import { logVersion } from "../../src/formats/replay-log-layout.js";

/** A whole log: header, events as given. */
export function makeLog(
  events: readonly EventBody[],
  dialect: ReplayLogDialect,
  version: number = logVersion,
): Uint8Array {
  const encoder = new ReplayLogEncoder(dialect);
  for (const event of events) encoder.add(event);
  return Buffer.concat([encodeLogHeader(version), encoder.take()]);
}

export function payload(...bytes: number[]): Payload {
  return { size: bytes.length, bytes: Uint8Array.from(bytes) };
}

/** One event of every kind and of every input type. */
export const oneOfEach: readonly EventBody[] = [
  { kind: "clock-host", ns: 1795364349501118000n },
  { kind: "clock-virtual-rt", ns: -1n },
  { kind: "checkpoint-init" },
  { kind: "checkpoint-reset" },
  { kind: "instruction", count: 0x7fffffff },
  { kind: "interrupt" },
  { kind: "exception" },
  { kind: "async-bh", id: 0xffffffffffffffffn },
  { kind: "async-bh-oneshot", id: 5n },
  { kind: "async-input", input: { type: "key", number: 30n, down: 1 } },
  { kind: "async-input", input: { type: "key", qcode: 7, down: 0 } },
  { kind: "async-input", input: { type: "button", button: 2, down: 1 } },
  { kind: "async-input", input: { type: "relative", axis: 0, value: -3n } },
  { kind: "async-input", input: { type: "absolute", axis: 1, value: 32767n } },
  { kind: "async-input", input: { type: "touch", touch: 1, slot: 2n, trackingId: -1n, axis: 0, value: 9n } },
  { kind: "async-input-sync" },
  { kind: "async-char-read", device: 1, data: payload(0x68, 0x69, 0x0a) },
  { kind: "async-block", request: 12n },
  { kind: "async-net", filter: 0, flags: 0xfffffffe, data: payload(1, 2, 3, 4, 5) },
  { kind: "instruction", count: 1 },
  { kind: "char-write", result: 1, written: 1 },
  { kind: "char-write", result: -1, written: 0 },
  { kind: "char-read-all", data: payload() },
  { kind: "char-read-all-error", result: -5 },
  { kind: "audio-out", played: 441n },
  {
    kind: "audio-in",
    position: 3n,
    samples: { size: 32, bytes: Uint8Array.from({ length: 32 }, (_, i) => i) },
  },
  { kind: "random", result: 0, data: payload(0xde, 0xad) },
  { kind: "checkpoint-clock-warp-start" },
  { kind: "checkpoint-clock-warp-account" },
  { kind: "checkpoint-reset-requested" },
  { kind: "checkpoint-suspend-requested" },
  { kind: "checkpoint-clock-virtual" },
  { kind: "checkpoint-clock-host" },
  { kind: "checkpoint-clock-virtual-rt" },
  { kind: "instruction", count: 300 },
  { kind: "shutdown", cause: "guest-shutdown" },
  { kind: "shutdown", cause: "host-signal" },
  { kind: "end" },
];

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const i32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const i64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const u8 = fc.integer({ min: 0, max: 255 });
const data = (maxLength: number, unit = 1) =>
  fc
    .integer({ min: 0, max: maxLength })
    .chain((length) => fc.uint8Array({ minLength: length * unit, maxLength: length * unit }))
    .map((bytes) => ({ size: bytes.length, bytes: Uint8Array.from(bytes) }));
const body = <Kind extends EventBody["kind"]>(kind: Kind, fields: object = {}) =>
  fc.record({ kind: fc.constant(kind), ...fields }) as unknown as fc.Arbitrary<EventBody>;

/** Any event but the end. */
export const anyEvent: fc.Arbitrary<EventBody> = fc.oneof(
  { weight: 5, arbitrary: body("instruction", { count: fc.integer({ min: 1, max: 0x7fffffff }) }) },
  { weight: 2, arbitrary: body("char-write", { result: i32, written: u32 }) },
  body("checkpoint-clock-warp-account"),
  body("interrupt"),
  body("exception"),
  body("clock-host", { ns: i64 }),
  body("async-bh", { id: u64 }),
  body("async-block", { request: u64 }),
  body("async-char-read", { device: u8, data: data(40) }),
  body("async-net", { filter: u8, flags: u32, data: data(200) }),
  body("async-input", {
    input: body("end", {}).map(() => ({ type: "button" as const, button: 1, down: 0 })),
  }),
  body("random", { result: i32, data: data(20) }),
  body("audio-in", { position: u64, samples: data(3, 16) }),
  body("shutdown", { cause: fc.constantFrom(...shutdownCauses.slice(0, 10)) }),
);
