import { createHash } from "node:crypto";

/**
 * Text whose last line is the SHA-256 of all before it: a file of a cache that was cut, damaged or edited is known
 * by it.
 */
const sealBytes = 64 + 1;

/** @param text ends with a line feed */
export function sealLines(text: string): string {
  return `${text}${digest(text)}\n`;
}

/** The text without its seal; undefined when it is not what was sealed. */
export function unsealLines(sealed: string): string | undefined {
  if (sealed.length < sealBytes || !sealed.endsWith("\n")) return undefined;
  const text = sealed.slice(0, -sealBytes);
  return sealed.slice(-sealBytes, -1) === digest(text) ? text : undefined;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
