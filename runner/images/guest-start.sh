#!/usr/bin/sh
# The guest's only service: virtme-init has mounted everything, this brings up the network and becomes the ssh server.
echo "<6>runner: network" > /dev/kmsg
modprobe -q virtio_net # there is no udev that would
for device in /sys/class/net/*; do
    name=${device##*/}
    [ "$name" = lo ] && continue
    ip addr add 10.0.2.15/24 dev "$name" && ip link set "$name" up
done
chmod 755 /run # dropbear refuses keys below a folder that others can write to
echo "<6>runner: ssh server" > /dev/kmsg
# -F foreground, -E log to the console, -s no passwords, -D the folder of authorized_keys
exec dropbear -F -E -s -r /run/key/host -p 22 -D /run/key -P /run/dropbear.pid
