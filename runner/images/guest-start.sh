#!/usr/bin/ash
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

# The guest's only service: virtme-init has mounted everything, this brings up the network and becomes the ssh server.
echo "<6>runner: network" > /dev/kmsg
[ -c /dev/pts/ptmx ] || mount -t devpts devpts /dev/pts # virtme-init's options are not understood by busybox
modprobe -q virtio_net # there is no udev that would
for device in /sys/class/net/*; do
    name=${device##*/}
    [ "$name" = lo ] && continue
    ip addr add 10.0.2.15/24 dev "$name" && ip link set "$name" up
done
# dropbear wants its keys to be root's and nobody else's; on the host they belong to whoever started the guest
mkdir -m 700 /run/ssh
cp /run/key/host /run/key/authorized_keys /run/ssh/
chmod 600 /run/ssh/*
echo "<6>runner: ssh server" > /dev/kmsg
# -F foreground, -E log to the console, -s no passwords; /root/.ssh is a link to /run/ssh
exec dropbear -F -E -s -p 22 -r /run/ssh/host -P /run/dropbear.pid
