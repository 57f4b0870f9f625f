import { valueText } from "./flags.js";
import { quoted } from "./text.js";

/** Address families. Source: include/linux/socket.h. */
const family = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;

/** A `struct sockaddr` as strace shows it; undefined when it is too short to be one. */
export function addressText(bytes: Uint8Array): string | undefined {
  if (bytes.length < 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = view.getUint16(0, true);
  const fields = fieldsOf(kind, view, bytes);
  return `{sa_family=${valueText("family", BigInt(kind))}${fields === undefined ? "" : `, ${fields}`}}`;
}

function fieldsOf(kind: number, view: DataView, bytes: Uint8Array): string | undefined {
  if (kind === family.unix) return pathText(bytes.subarray(2));
  if (kind === family.inet && bytes.length >= 8) {
    const address = [...bytes.subarray(4, 8)].join(".");
    return `sin_port=htons(${view.getUint16(2)}), sin_addr=inet_addr("${address}")`;
  }
  if (kind === family.inet6 && bytes.length >= 24) {
    const words = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i));
    return `sin6_port=htons(${view.getUint16(2)}), inet_pton(AF_INET6, "${inet6Text(words)}")`;
  }
  if (kind === family.netlink && bytes.length >= 12) {
    const groups = view.getUint32(8, true).toString(16).padStart(8, "0");
    return `nl_pid=${view.getUint32(4, true)}, nl_groups=${groups}`;
  }
  return undefined;
}

/** A path; one that begins with NUL is a name in no directory, shown with an @. */
function pathText(bytes: Uint8Array): string {
  if (bytes.length === 0) return "";
  if (bytes[0] === 0) return `sun_path=@${quoted(bytes.subarray(1), false)}`;
  const end = bytes.indexOf(0);
  return `sun_path=${quoted(end < 0 ? bytes : bytes.subarray(0, end), false)}`;
}

/** RFC 5952: the longest run of zero words is left out. */
function inet6Text(words: readonly number[]): string {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < words.length; start++) {
    let length = 0;
    while (words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = (part: readonly number[]) => part.map((word) => word.toString(16)).join(":");
  if (best.length < 2) return text(words);
  return `${text(words.slice(0, best.start))}::${text(words.slice(best.start + best.length))}`;
}
