#!/bin/busybox sh
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

# The first program of a guest whose root is a disk. It loads what the disks need, mounts a root that can be written to,
# brings up the network and becomes the ssh server. The shell is busybox's own, and so is each command. Each process that
# is started takes five milliseconds or more under emulation: one modprobe loads all modules, one mount mounts many.
busybox mount -t proc proc /proc # the shell finds the other commands by /proc/self/exe
read -r modules < /modules
[ -z "$modules" ] || modprobe -a $modules
mount -a -T /proc/self/fd/0 << END
sys /sys sysfs defaults 0 0
dev /dev devtmpfs defaults 0 0
written /written tmpfs defaults 0 0
END
mkdir /dev/pts /dev/shm /written/upper /written/work
system=/dev/vda modules=
for disk in /sys/block/vd*; do
    read -r serial < "$disk/serial"
    case $serial in
    modules) modules=/dev/${disk##*/} ;;
    container) ;; # a command's root
    *) system=/dev/${disk##*/} ;;
    esac
done
mount -t ext4 -o ro "$system" /disk # the driver; the disk is ext2
if ! mount -t overlay -o lowerdir=/disk,upperdir=/written/upper,workdir=/written/work root /root; then
    mount -o remount,rw /disk # a kernel without overlayfs: qemu throws away what is written
    mount --move /disk /root
fi
read -r release < /proc/sys/kernel/osrelease
mkdir -p "/root/usr/lib/modules/$release"
# not every kernel has all of them
mount -a -T /proc/self/fd/0 2> /dev/null << END
proc /root/proc proc nosuid,noexec,nodev 0 0
sys /root/sys sysfs nosuid,noexec,nodev 0 0
dev /root/dev devtmpfs mode=755 0 0
run /root/run tmpfs mode=755 0 0
$modules /root/usr/lib/modules/$release ext4 ro 0 0
devpts /root/dev/pts devpts defaults 0 0
shm /root/dev/shm tmpfs mode=1777,nosuid,nodev 0 0
debugfs /root/sys/kernel/debug debugfs defaults 0 0
tracefs /root/sys/kernel/tracing tracefs defaults 0 0
securityfs /root/sys/kernel/security securityfs defaults 0 0
configfs /root/sys/kernel/config configfs defaults 0 0
cgroup2 /root/sys/fs/cgroup cgroup2 defaults 0 0
END
cd /root
cp -a /links/. dev
cp -a /own/. run # dropbear wants its keys to be root's and nobody else's: in the archive they are
rm -r /own
echo virtme-ng > proc/sys/kernel/hostname
ifconfig lo up
for device in sys/class/net/*; do
    name=${device##*/}
    [ "$name" = lo ] || ifconfig "$name" 10.0.2.15 netmask 255.255.255.0
done
if [ -e run/key/network ]; then # qemu's user network: its gateway is the host, and it has a name server
    route add default gw 10.0.2.2
    echo nameserver 10.0.2.3 > etc/resolv.conf
fi
echo "<6>runner: ssh server" > dev/kmsg
mount --move . /
# -F foreground, -E log to the console, -s no passwords; /root/.ssh is a link to /run/ssh
exec chroot . /usr/sbin/dropbear -F -E -s -p 22 -r /run/ssh/host -P /run/dropbear.pid
