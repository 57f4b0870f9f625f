import type { EventBody, InputBody, Payload, ReplayEvent } from "./replay-log-event.js";

/** Events as text and as JSON. Pure: nothing is printed here. */

/** Bytes of a payload shown in a line. */
const shownBytes = 16;

/**
 * One line for people: icount, kind, what it says. Columns are padded so that lines stand under each other;
 * no control character of a payload gets through.
 *
 *     @12948116      char-write                     result 1, 1 byte written
 */
export function formatEvent(event: ReplayEvent): string {
  const position = `@${event.icount}`.padEnd(14);
  const details = describeBody(event);
  return details === "" ? `${position} ${event.kind}` : `${position} ${event.kind.padEnd(29)} ${details}`;
}

/** What an event says besides its kind; empty for kinds that carry nothing. */
export function describeBody(event: EventBody): string {
  switch (event.kind) {
    case "instruction":
      return `${event.count} executed`;
    case "async-bh":
    case "async-bh-oneshot":
      return `id ${event.id}`;
    case "async-input":
      return describeInput(event.input);
    case "async-char-read":
      return `device ${event.device}, ${describePayload(event.data)}`;
    case "async-block":
      return `request ${event.request}`;
    case "async-net":
      return `filter ${event.filter}, flags ${event.flags}, ${describePayload(event.data)}`;
    case "shutdown":
      return event.cause;
    case "char-write":
      return `result ${event.result}, ${countBytes(event.written)} written`;
    case "char-read-all":
      return describePayload(event.data);
    case "char-read-all-error":
      return `result ${event.result}`;
    case "audio-out":
      return `${event.played} samples played`;
    case "audio-in":
      return `position ${event.position}, ${describePayload(event.samples)}`;
    case "random":
      return `result ${event.result}, ${describePayload(event.data)}`;
    case "clock-host":
      return `${event.ns} ns, ${describeTime(event.ns)}`;
    case "clock-virtual-rt":
      return `${event.ns} ns`;
    default:
      return "";
  }
}

function describeInput(input: InputBody): string {
  switch (input.type) {
    case "key": {
      const key = "number" in input ? `number ${input.number}` : `qcode ${input.qcode}`;
      return `key ${key} ${input.down ? "down" : "up"}`;
    }
    case "button":
      return `button ${input.button} ${input.down ? "down" : "up"}`;
    case "relative":
    case "absolute":
      return `${input.type} axis ${input.axis}, value ${input.value}`;
    case "touch":
      return `touch ${input.touch}, slot ${input.slot}, tracking id ${input.trackingId}, axis ${input.axis}, value ${input.value}`;
  }
}

function describePayload({ size, bytes }: Payload): string {
  if (size === 0) return "0 bytes";
  const shown = bytes.subarray(0, shownBytes);
  const digits = Buffer.from(shown.buffer, shown.byteOffset, shown.length).toString("hex");
  const text = String.fromCharCode(...shown).replace(/[^ -~]/g, ".");
  const more = size > shown.length ? "…" : "";
  return `${countBytes(size)}: ${digits.replace(/(..)(?=.)/g, "$1 ")}${more} |${text}${more}|`;
}

function countBytes(count: number): string {
  return count === 1 ? "1 byte" : `${count} bytes`;
}

/** Host time as UTC, where it is a time a host can have. */
function describeTime(ns: bigint): string {
  const ms = Number(ns / 1_000_000n);
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : "no calendar time";
}

/** A JSON-able copy: a bigint is a number where that is exact, else a decimal string; bytes are base64. */
export type EventJson = { readonly [field: string]: JsonValue };
export type JsonValue = string | number | { readonly [field: string]: JsonValue };

/** The event as plain values for `JSON.stringify`; the same fields, `bytes` of payloads in base64. */
export function eventToJson(event: ReplayEvent): EventJson {
  return toJson(event) as EventJson;
}

function toJson(value: unknown): JsonValue {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, toJson(inner)]));
  }
  return value as string | number;
}
