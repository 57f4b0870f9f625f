/**
 * The default guest's `/init`, for busybox sh: it brings the machine up, does a little of everything that is
 * worth tracing (forks, pipes, signals, files, hashes, random numbers), and powers off.
 *
 * Lines that begin with `vmtape:` mark the steps on the console. What it does can be chosen on the kernel's
 * command line:
 *
 * - `vmtape.run=COMMAND` or `vmtape.run="COMMAND WITH SPACES"`: run this instead of the workload
 * - `vmtape.shell`: give a shell on the console; the machine powers off when it ends
 *
 * Disks are mounted, the first on /mnt.
 *
 * It works with any kernel from 5.10 on, and without any of the modules.
 */
export const defaultInit = `#!/bin/sh
# The default guest of vmtape. See "vmtape guest --help".
export PATH=/sbin:/bin HOME=/ TERM=linux
say() { echo "vmtape: $*"; }

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
read -r _ _ release _ < /proc/version
say "Linux $release is up"

while read -r module; do
  insmod "$module" || say "could not load $module"
done < /etc/modules
say "modules:" $(sed 's/ .*//' /proc/modules | sort)

# The first file system is /mnt, others are below /disks; of a disk with partitions each partition is tried.
disk=none
mounted=
for device in /dev/vd*; do
  [ -b "$device" ] || continue
  place=/mnt
  [ "$disk" = none ] || place=/disks/\${device##*/}
  mkdir -p "$place"
  if mount -t ext4 "$device" "$place" 2>/dev/null || mount "$device" "$place" 2>/dev/null; then
    mounted="$place $mounted"
    if [ "$disk" = none ]; then
      disk=/mnt
      say "disk: $device is mounted"
    else
      say "disk: $device is mounted on $place"
    fi
  elif [ ! -e "\${device}1" ]; then
    say "disk: $device has no file system known here"
  fi
done
if [ -d /sys/class/net/eth0 ]; then
  ip link set lo up
  ip link set eth0 up
  ip address add 10.0.2.15/24 dev eth0
  ip route add default via 10.0.2.2
  say "network: eth0 is 10.0.2.15"
fi

workload() {
  say "forks"
  count=0
  for i in 1 2 3 4 5 6 7 8; do
    (exit "$i")
    count=$((count + $?))
  done
  echo "sum of exit codes: $count"

  say "pipes"
  seq 1 500 | grep 7 | sort -rn | head -n 3 | tr '\\n' ' '
  echo

  say "files"
  seq 1 2000 > /tmp/numbers
  cp /tmp/numbers /tmp/copy
  echo changed >> /tmp/copy
  cmp -s /tmp/numbers /tmp/copy || md5sum /tmp/numbers /tmp/copy
  rm /tmp/copy

  say "random"
  head -c 16 /dev/urandom | hexdump -C | head -n 1

  say "signals"
  trap 'echo "got SIGUSR1"' USR1
  kill -USR1 $$
  trap - USR1

  say "shell"
  a=0 b=1
  for i in $(seq 60); do
    c=$((a + b)) a=$b b=$c
  done
  echo "fibonacci: $a"

  if [ "$disk" != none ] && touch "$disk/numbers" 2>/dev/null; then
    say "disk writes"
    seq 1 5000 > "$disk/numbers"
    mkdir -p "$disk/many"
    for i in 1 2 3 4 5 6 7 8 9 10; do echo "$i" > "$disk/many/$i"; done
    sync
    md5sum "$disk/numbers"
  fi
  cat /proc/uptime
}

command=$(sed -n 's/.*vmtape\\.run="\\([^"]*\\)".*/\\1/p;t;s/.*vmtape\\.run=\\([^ "]*\\).*/\\1/p' /proc/cmdline)
case " $(cat /proc/cmdline) " in
  *" vmtape.shell "*)
    say "a shell; leave it to power off"
    setsid cttyhack sh
    ;;
  *" vmtape.run="*)
    sh -c "$command"
    say "the command ended with $?"
    ;;
  *)
    workload
    ;;
esac

cd /
sync
for place in $mounted; do umount "$place"; done
say "done, powering off"
# The kernel's own power-off; the program sleeps a second before it, and is here only for a kernel without sysrq.
echo o > /proc/sysrq-trigger
poweroff -f
`;
