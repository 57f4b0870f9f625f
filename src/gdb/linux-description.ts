/**
 * GDB knows `info proc` for a machine whose description has Linux's register `orig_rax`, the number of an interrupted
 * system call, which is no register of the processor. It is told that there is one, and that its value is not known.
 *
 * Source: GDB, gdb/amd64-linux-tdep.c, amd64_linux_init_abi; gdb/linux-tdep.c, linux_info_proc.
 */
export const systemCallRegister = 9999;

const feature =
  '<feature name="org.gnu.gdb.i386.linux">' +
  `<reg name="orig_rax" bitsize="64" type="int" regnum="${systemCallRegister}" group="system"/></feature>`;

/** A description of the 64-bit processor with Linux's feature; files that it includes stay as they are. */
export function withLinux(description: string): string {
  const isWhole = description.includes("<target") && description.includes("i386:x86-64");
  return isWhole ? description.replace("</target>", `${feature}</target>`) : description;
}
