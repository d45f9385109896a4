#!/bin/sh
# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later
# Two network namespaces, and a ping from one to the other over each kind of pair.
number=0
echo 1..3
for pair in "veth peer" "netkit peer" "dummy"; do
	number=$((number + 1))
	kind=${pair% *}
	if why=$(
		exec 2>&1
		ip netns add a-$kind && ip netns add b-$kind || exit
		if [ $kind = dummy ]; then
			ip -n a-$kind link add left type dummy
			exit
		fi
		ip -n a-$kind link add left type $kind peer name right netns b-$kind || exit
		ip -n a-$kind address add 10.0.0.1/24 dev left
		ip -n b-$kind address add 10.0.0.2/24 dev right
		ip -n a-$kind link set left up
		ip -n b-$kind link set right up
		ip netns exec a-$kind ping -c 1 -W 20 10.0.0.2
	); then echo "ok $number - $kind"; else echo "not ok $number - $kind # $why"; fi
done
