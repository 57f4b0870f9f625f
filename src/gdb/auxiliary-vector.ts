/** Names of a program's auxiliary vector. Source: Linux, include/uapi/linux/auxvec.h; arch/x86/include/uapi/asm/auxvec.h. */
const names: readonly (string | undefined)[] = [
  ...["NULL", "IGNORE", "EXECFD", "PHDR", "PHENT", "PHNUM", "PAGESZ", "BASE", "FLAGS", "ENTRY", "NOTELF"],
  ...["UID", "EUID", "GID", "EGID", "PLATFORM", "HWCAP", "CLKTCK", "FPUCW", "DCACHEBSIZE", "ICACHEBSIZE"],
  ...["UCACHEBSIZE", "IGNOREPPC", "SECURE", "BASE_PLATFORM", "RANDOM", "HWCAP2", "RSEQ_FEATURE_SIZE"],
  ...["RSEQ_ALIGN", "HWCAP3", "HWCAP4", "EXECFN", "SYSINFO", "SYSINFO_EHDR"],
];
const minimumSignalStack = 51;

/** Formats a vector as lines: number, name, value. */
export function formatAuxiliary(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const lines: string[] = [];
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const type = Number(view.getBigUint64(at, true));
    const known = type === minimumSignalStack ? "MINSIGSTKSZ" : names[type];
    const name = known === undefined ? "???" : `AT_${known}`;
    lines.push(
      `${String(type).padEnd(5)}${name.padEnd(22)}0x${view.getBigUint64(at + 8, true).toString(16)}`,
    );
  }
  return lines;
}
