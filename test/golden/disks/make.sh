#!/bin/sh
# Makes the disk images here with e2fsprogs, qemu-img and sfdisk; run once, on Debian 12. Texts are lines "NUMBER NAME".
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lines() { seq -f "%.0f $2" "$1"; }
root=$work/root
mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/many" "$root/etc/alternatives"
lines 40000 program > "$root/usr/bin/program"
lines 3 small > "$root/usr/bin/small"
ln -s usr/bin "$root/bin"
ln -s /etc/alternatives/tool "$root/usr/bin/tool"
ln -s ../../bin/small "$root/etc/alternatives/tool"
ln -s ../../usr/lib/../lib/../lib/../lib/../lib/../lib/../lib/../bin/small "$root/usr/lib/long"
ln -s loop "$root/usr/lib/loop"
ln -s ../../../../bin/small "$root/usr/lib/above"
for i in $(seq 300); do echo "$i" > "$root/many/a-file-with-a-rather-long-name-$i"; done
truncate -s 300000 "$root/usr/lib/sparse"
printf end | dd of="$root/usr/lib/sparse" bs=1 seek=200000 conv=notrunc status=none
: > "$root/usr/lib/empty"
mkdir "$root/dev"
# Time does not matter, and the same bytes are nice to have.
export E2FSPROGS_FAKE_TIME=1700000000
id=11111111-2222-4333-8444-555555555555
image() { mke2fs -q -F -U $id -E hash_seed=$id -d "$root" "$@"; }
image -t ext4 -b 1024 "$work/ext4.raw" 4M
qemu-img convert -f raw -O qcow2 -c -o cluster_size=4096 "$work/ext4.raw" ext4.qcow2
qemu-img convert -f raw -O qcow2 -c -o cluster_size=4096,compression_type=zstd "$work/ext4.raw" "$work/zstd.qcow2"
image -t ext2 -b 1024 "$work/ext2.raw" 4M
# The ext2 image is the second partition of a disk with a GPT, and a logical one of a disk with an MBR.
truncate -s 7M "$work/gpt.raw"
printf 'label: gpt\nsize=1M\nsize=4M\n' | sfdisk -q "$work/gpt.raw"
dd if="$work/ext2.raw" of="$work/gpt.raw" bs=512 seek=4096 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 -c -o cluster_size=4096 "$work/gpt.raw" gpt.qcow2
truncate -s 9M "$work/mbr.raw"
printf 'label: dos\n1 : size=1M,type=83\n2 : size=7M,type=5\n5 : size=1M,type=83\n6 : size=4M,type=83\n' | sfdisk -q "$work/mbr.raw"
sfdisk -d "$work/mbr.raw" > mbr.txt
at=$(sed -n 's/.*mbr.raw6 : start= *\([0-9]*\),.*/\1/p' mbr.txt)
dd if="$work/ext2.raw" of="$work/mbr.raw" bs=512 seek="$at" conv=notrunc status=none
qemu-img convert -f raw -O qcow2 -c -o cluster_size=4096 "$work/mbr.raw" mbr.qcow2
# What a guest wrote, over ext4.qcow2: a file is gone, and one is new.
cp ext4.qcow2 "$work/base.qcow2"
qemu-img create -q -f qcow2 -F qcow2 -b base.qcow2 -o cluster_size=4096 "$work/overlay.qcow2"
qemu-img convert -f raw -O raw "$work/ext4.raw" "$work/now.raw"
lines 5 new > "$work/new"
debugfs -w -R "rm /usr/bin/small" "$work/now.raw" 2> /dev/null
debugfs -w -R "write $work/new /usr/bin/new" "$work/now.raw" > /dev/null 2>&1
for block in $(cmp -l "$work/ext4.raw" "$work/now.raw" | awk '{ print int(($1 - 1) / 4096) }' | sort -un); do
  dd if="$work/now.raw" of="$work/block" bs=4096 skip="$block" count=1 status=none
  qemu-io -c "write -q -s $work/block $((block * 4096)) 4096" "$work/overlay.qcow2"
done
cp "$work/overlay.qcow2" overlay.qcow2
cp "$work/zstd.qcow2" zstd.qcow2
rm mbr.txt
