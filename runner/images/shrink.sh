#!/bin/sh
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

# Runs in mmdebstrap when the packages are extracted; $1 is the root. No maintainer script has run. The file `named`
# beside it has the packages that the user added and the paths of their programs, which stay as they are.
set -e
named=$(dirname "$0")/named
cd "$1"
# the overlay belonged to whoever builds the image
chown -h 0:0 . usr usr/lib usr/sbin
chown -hR 0:0 etc root usr/sbin/guest-start usr/lib/python3*
# virtme-init and the tests are shell scripts: statically linked applets start several times faster under emulation
for applet in '[' ash awk base64 basename cat chmod chown clear cp cut date dd df dirname dmesg du echo env expr false \
    find free grep head hostname id kill ln ls mkdir mknod mktemp mount mv nproc od poweroff printf ps pwd readlink \
    realpath reset rm rmdir sed seq setsid sleep sort stat stty sync sysctl tail tar tee test timeout touch tr true \
    umount uname uniq wc which xargs; do
    grep -qxF -e "usr/bin/$applet" -e "usr/sbin/$applet" "$named" && continue
    rm -f "usr/bin/$applet" "usr/sbin/$applet"
    ln -s busybox "usr/bin/$applet"
done
# what scripts call besides, where no package brings it
for applet in chgrp chroot chrt cmp comm cpio diff fallocate flock fold getopt gunzip gzip halt hexdump ifconfig install \
    killall less losetup md5sum mkfifo mkswap more mountpoint nc nice nohup nsenter nslookup paste patch pgrep pidof ping \
    ping6 pkill reboot renice rev sha1sum sha256sum shuf split strings swapoff swapon tac taskset telnet time top tr \
    traceroute truncate tty unlink unshare unzip uptime usleep vi watch wget xxd yes zcat; do
    [ -e "usr/bin/$applet" ] || [ -e "usr/sbin/$applet" ] || ln -sf busybox "usr/bin/$applet"
done
# sh is not busybox: of a command that is also an applet, such as ip, its shell runs the applet, wherever the program is
for shell in bash sh; do
    grep -qxF "usr/bin/$shell" "$named" || ln -sf bash-static "usr/bin/$shell"
done
rm -f etc/hostname etc/resolv.conf # mmdebstrap copies this host's
: > etc/apt/sources.list
# What no guest of ours needs; apt only wanted it installed. mmdebstrap itself still cleans up etc/apt and var.
[ -s "$named" ] || rm -rf usr/share usr/lib/*/gconv usr/lib/*/perl* usr/lib/apt usr/lib/dpkg usr/lib/systemd \
    usr/lib/tmpfiles.d usr/bin/dpkg* usr/sbin/dpkg* usr/bin/debconf* usr/bin/mawk usr/bin/openssl \
    usr/lib/python3*/sitecustomize.py usr/lib/python3*/ensurepip usr/lib/python3*/idlelib usr/lib/python3*/lib2to3 \
    usr/lib/python3*/pydoc_data usr/lib/python3*/test usr/lib/python3*/tkinter usr/lib/python3*/turtledemo
# virtme-init mounts something over each of these that is there: a fork and a mount, for nothing
rm -rf var/cache var/lib/apt var/lib/dpkg var/log var/spool var/tmp
mkdir -p dev home proc opt run srv sys tmp mnt root lib/modules usr/share # vng mounts over some of them
ln -s /run/ssh root/.ssh
chmod 1777 tmp
