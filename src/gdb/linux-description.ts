/**
 * The number of the register `orig_rax`. GDB has `info proc` only for a machine whose description has this register
 * of Linux: the number of an interrupted system call, which is no register of the processor. So the description names
 * it, and its value is always unknown.
 *
 * Source: GDB, gdb/amd64-linux-tdep.c, amd64_linux_init_abi; gdb/linux-tdep.c, linux_info_proc.
 */
export const systemCallRegister = 9999;

const feature =
  '<feature name="org.gnu.gdb.i386.linux">' +
  `<reg name="orig_rax" bitsize="64" type="int" regnum="${systemCallRegister}" group="system"/></feature>`;

/**
 * Adds Linux's feature to a description of the 64-bit processor. The files that the description includes are not
 * changed.
 */
export function withLinux(description: string): string {
  const isWhole = description.includes("<target") && description.includes("i386:x86-64");
  return isWhole ? description.replace("</target>", `${feature}</target>`) : description;
}
