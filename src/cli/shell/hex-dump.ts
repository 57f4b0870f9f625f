const perLine = 16;

/** Formats bytes as lines of `ADDRESS: hex bytes |text|`, sixteen bytes each. */
export function hexDump(address: bigint, bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += perLine) {
    const part = bytes.subarray(at, at + perLine);
    const numbers = Array.from(part, (byte) => byte.toString(16).padStart(2, "0"));
    const half = perLine / 2;
    const columns = `${numbers.slice(0, half).join(" ")}  ${numbers.slice(half).join(" ")}`;
    const text = Array.from(part, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".",
    ).join("");
    lines.push(
      `0x${(address + BigInt(at)).toString(16).padStart(16, "0")}: ${columns.padEnd(perLine * 3)} |${text}|`,
    );
  }
  return lines;
}
