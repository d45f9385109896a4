#!/bin/sh
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Is the caller of bpf_skb_ct_alloc told of an error, EINVAL (22), also when it passes the first field of its options alone?
echo 1..2
head -c 64 /dev/zero > packet
bpftool prog loadall ct.bpf.o /sys/fs/bpf/ct || exit
number=0
for program in whole only_netns_id; do
	number=$((number + 1))
	result=$(bpftool prog run pinned /sys/fs/bpf/ct/$program data_in packet)
	case $result in
	"Return value: 22,"*) echo "ok $number - $program" ;;
	*) echo "not ok $number - $program # $result" ;;
	esac
done
