/**
 * Turns a bootstrapped Debian system into a guest for recording, by two shell scripts. Both run on the host with the
 * new root as their first argument: {@link earlySetup} before the kernel is installed, {@link lateSetup} when
 * everything is.
 */
import { createHash } from "node:crypto";
import { defaultAppend } from "./append.js";
import type { ImageSpec } from "./image-spec.js";

/** The packages that a system needs beyond the essential ones to boot from a disk with systemd, and to work in. */
export const basePackages = [
  "systemd-sysv",
  "udev",
  "dbus",
  "initramfs-tools",
  "kmod",
  "iproute2",
  "iputils-ping",
  "netbase",
  "ca-certificates",
  "procps",
  "login",
] as const;

/** The kernel's command line of an image: its disk, and the options of the default guest. */
export const imageAppend = `root=/dev/vda rw ${defaultAppend}`;

/** Who may log in on the console, and how. */
export const imageLogin = "root, no password";

/** Memory of the guest in MB, enough for systemd and apt. */
export const imageMemoryMB = 1024;

/**
 * The modules in the initrd, only those that vmtape's machine needs: with `MODULES=most` it is four times as large,
 * and the guest unpacks it in every recording.
 */
export const initrdModules = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"] as const;

/** Units that start work by the clock. In a recording such work only makes the tape longer and harder to read. */
const maskedUnits = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "fstrim.timer",
  "man-db.timer",
  "systemd-networkd-wait-online.service",
] as const;

/** Configures how the initrd is made, before the kernel is installed. */
export const earlySetup = `set -e
root=$1
mkdir -p "$root/etc/initramfs-tools/conf.d"
printf '%s\\n' 'MODULES=list' 'RESUME=none' 'FSTYPE=ext4' > "$root/etc/initramfs-tools/conf.d/vmtape"
printf '%s\\n' ${initrdModules.join(" ")} > "$root/etc/initramfs-tools/modules"
`;

/** A shell function that runs a program in the new root, whatever the host's search path is. */
export const insideFunction = `inside() {
  chroot "$root" /usr/bin/env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
`;

/** Configures the system when all packages are installed. */
export function lateSetup(spec: ImageSpec): string {
  return `set -e
root=$1
${insideFunction}echo ${spec.suite} > "$root/etc/hostname"
printf '%s\\n' '127.0.0.1 localhost' '127.0.1.1 ${spec.suite}' '10.0.2.2 host' > "$root/etc/hosts"
echo '/dev/vda / ext4 errors=remount-ro 0 1' > "$root/etc/fstab"
echo ${machineId(spec)} > "$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
mkdir -p "$root/etc/systemd/network"
cat > "$root/etc/systemd/network/80-vmtape.network" <<'END'
# QEMU's user network: the guest is 10.0.2.15, the host 10.0.2.2.
[Match]
Name=en* eth*
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
END
ln -sf /lib/systemd/system/systemd-networkd.service "$root/etc/systemd/system/multi-user.target.wants/"
for unit in ${maskedUnits.join(" ")}; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
rm -f "$root"/etc/systemd/system/*.target.wants/systemd-networkd-wait-online.service
inside passwd -q -d root
printf '%s\\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' 'DPkg::Use-Pty "false";' \\
  > "$root/etc/apt/apt.conf.d/80vmtape"
rm -f "$root"/var/log/*.log "$root"/var/log/apt/*.log "$root"/var/cache/apt/archives/*.deb \\
  "$root"/var/cache/apt/*.bin "$root"/var/cache/ldconfig/aux-cache "$root"/var/lib/systemd/random-seed
`;
}

/**
 * The image's machine id. With one, systemd does not take each boot for the first, in which it asks questions on the
 * console.
 */
function machineId(spec: ImageSpec): string {
  return createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 32);
}
