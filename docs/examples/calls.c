/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* System calls and a socket option, each from another kernel on: a test that prints TAP. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STATMOUNT 457
#define MSEAL 462
#define OPEN_TREE_ATTR 467
#define LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE */

static int tests, failed;

static void is(const char *name, long returned, int wanted)
{
	int error = returned < 0 ? errno : 0;

	printf("%sok %d - %s\n", error == wanted ? "" : "not ", ++tests, name);
	if (error == wanted)
		return;
	failed = 1;
	printf("  ---\n  message: %s\n  ...\n", strerror(error));
}

int main(void)
{
	unsigned int range = 40000u << 16 | 30000;
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	printf("1..4\n");
	is("IP_LOCAL_PORT_RANGE", setsockopt(udp, IPPROTO_IP, LOCAL_PORT_RANGE, &range, sizeof(range)), 0);
	is("mseal", syscall(MSEAL, page, 4096, 0), 0);
	is("statmount knows no request without a size", syscall(STATMOUNT, NULL, NULL, 0, 0), EFAULT);
	is("open_tree_attr", syscall(OPEN_TREE_ATTR, AT_FDCWD, "/", 0, NULL, 0), 0);
	return failed;
}
