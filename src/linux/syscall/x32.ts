/**
 * System calls of x32 programs (32-bit pointers in 64-bit mode): the same numbers as others', with a bit more; those with
 * structures of pointers have numbers of their own. Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl, `__X32_SYSCALL_BIT`.
 */
export const x32Bit = 0x4000_0000;

/** Numbers of its own. */
export const firstX32 = 512;
const names = `
rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending
rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list
get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg process_vm_readv
process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 pwritev2
`
  .trim()
  .split(/\s+/);

/** Numbers of 64-bit programs that mean nothing with the bit. */
const longOnly: ReadonlySet<number> = new Set([
  ...[
    13, 15, 16, 19, 20, 45, 46, 47, 54, 55, 59, 101, 127, 128, 129, 131, 134, 156, 174, 177, 178, 180, 205,
    206,
  ],
  ...[
    209, 211, 214, 215, 222, 236, 244, 246, 247, 273, 274, 278, 279, 295, 296, 297, 299, 307, 310, 311, 322,
  ],
  ...[327, 328],
]);

/** What a 64-bit call is named when its number is given with the bit: as strace does, `readv#64` where x32 has none of it. */
export function x32NameOf({ number, name }: { readonly number: number; readonly name: string }): string {
  return longOnly.has(number) ? `${name}#64` : name;
}

/** Names of calls that x32 has other numbers for, without the bit. */
export const x32Names: ReadonlyMap<number, string> = new Map(names.map((name, i) => [firstX32 + i, name]));
