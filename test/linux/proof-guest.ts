/**
 * A guest that prints on its console what its own kernel says in /proc: processes, mappings, files, modules, log. All
 * tasks of which it prints something are asleep by then, so that it is still true at the instant at which it prints
 * that it is ready.
 */
export const proofInit = `#!/bin/sh
export PATH=/sbin:/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /mnt /jail/bin
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/deep/er /mnt/inner
mount -t tmpfs inner /mnt/inner
cp /bin/busybox /jail/bin/sleep
while read -r module; do insmod "$module"; done < /etc/modules
ip link set lo up
echo some words > /mnt/deep/er/file
echo more > "/mnt/inner/a name"
sleep 1001 3</mnt/deep/er/file 4>>"/mnt/inner/a name" 5<>/mnt/gone 6</mnt/deep &
rm /mnt/gone
(sleep 1002; echo) | sleep 1003 &
nc -l -p 5555 &
start-stop-daemon -S -b -c 1234:4321 -x /bin/sleep -- 1004
chroot /jail /bin/sleep 1005 &
sleep 1006 &
kill -STOP $!
sh -c 'sleep 0 & exec sleep 1007' &
[ -x /bin/objects ] && /bin/objects "with words" "" &
sleep 2
section() { echo; echo "@@ $*"; }
section stat; cat /proc/[0-9]*/stat
section ids; grep -h -E '^(Pid|Uid|Gid):' /proc/[0-9]*/status
for pid in $(ls /proc | grep '^[0-9]*$' | sort -n); do
  readlink /proc/$pid/exe > /dev/null || continue
  section maps $pid; cat /proc/$pid/maps
  section cmdline $pid; tr '\\0' '|' < /proc/$pid/cmdline
  section fd $pid; ls -l /proc/$pid/fd
  section fdinfo $pid; grep -H -E '^(pos|flags):' /proc/$pid/fdinfo/* /dev/null
done 2>/dev/null
section modules; cat /proc/modules
section log; dmesg
section ready
poweroff -f
`;

/** What the guest printed, by section. */
export type GuestAccount = ReadonlyMap<string, readonly string[]>;

/** Splits its console into sections. CR LF at the end of lines is removed. */
export function readAccount(console: string): GuestAccount {
  const sections = new Map<string, string[]>();
  let lines: string[] | undefined;
  for (const line of console.split(/\r*\n/)) {
    if (line.startsWith("@@ ")) {
      lines = [];
      sections.set(line.slice(3), lines);
    } else if (line !== "") {
      lines?.push(line);
    }
  }
  return sections;
}

/** The byte offset on the console at which it prints that it is ready. */
export function readyOffset(console: Buffer): number {
  const offset = console.indexOf("@@ ready");
  if (offset < 0) throw new Error(`the guest did not get ready:\n${console.toString("latin1").slice(-2000)}`);
  return offset;
}
