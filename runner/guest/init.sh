#!/bin/busybox sh
# The first program of a guest whose root is a disk. It loads what the disks need, mounts a root that can be written to,
# brings up the network and becomes the ssh server. The shell is busybox's own, and so is each command here.
busybox mount -t proc -o nosuid,noexec,nodev proc /proc # the shell finds the other commands, which are its own, by /proc/self/exe
for module in /modules/*; do insmod "$module"; done
mount -t sysfs -o nosuid,noexec,nodev sys /sys
mount -t devtmpfs dev /dev
system=/dev/vda modules=
for disk in /sys/block/vd*; do
    read -r serial < "$disk/serial"
    if [ "$serial" = modules ]; then modules=/dev/${disk##*/}; else system=/dev/${disk##*/}; fi
done
mount -t ext4 -o ro "$system" /disk # the driver; the disk is ext2
mount -t tmpfs written /written
mkdir /written/upper /written/work
if ! mount -t overlay -o lowerdir=/disk,upperdir=/written/upper,workdir=/written/work root /root; then
    mount -o remount,rw /disk # a kernel without overlayfs: qemu throws away what is written
    mount --move /disk /root
fi
folder=/root/usr/lib/modules/$(uname -r)
mkdir -p "$folder"
[ -z "$modules" ] || mount -t ext4 -o ro "$modules" "$folder"
cd /root
mount -t proc -o nosuid,noexec,nodev proc proc # the other one is still needed
mount --move /sys sys
mount --move /dev dev
mount -t tmpfs -o mode=755 run run
mkdir -p dev/pts dev/shm run/ssh run/key
mount -t devpts devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
for kind in debugfs:debug tracefs:tracing securityfs:security configfs:config; do
    mount -t "${kind%:*}" "${kind%:*}" "sys/kernel/${kind#*:}" 2> /dev/null
done
mount -t cgroup2 cgroup2 sys/fs/cgroup
ln -s /proc/self/fd dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%:*}" "dev/${stream#*:}"; done
hostname virtme-ng
ip link set lo up
for device in sys/class/net/*; do
    name=${device##*/}
    [ "$name" = lo ] || { ip addr add 10.0.2.15/24 dev "$name" && ip link set "$name" up; }
done
chmod 700 run/ssh
cp /key/host /key/authorized_keys run/ssh # dropbear wants them to be root's and nobody else's
chmod 600 run/ssh/*
[ ! -e /key/config ] || cp /key/config run/key
rm /key/*
echo "<6>runner: ssh server" > dev/kmsg
mount --move . /
# -F foreground, -E log to the console, -s no passwords; /root/.ssh is a link to /run/ssh
exec chroot . /usr/sbin/dropbear -F -E -s -p 22 -r /run/ssh/host -P /run/dropbear.pid
