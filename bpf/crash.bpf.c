// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that start the crash kernel: what crash.yaml asks about. */
#include "program.h"

struct pt_regs {
	__u64 any[96];
};

KFUNC(void, crash_kexec, (struct pt_regs *registers))

/* Inputs. */
__u32 flow = 0;

/* Results. */
struct {
	__u32 done;
} result;

static struct pt_regs registers; /* more than any kernel's */

PROGRAM(crash)
{
	crash_kexec(&registers);
	result.done = 1;
	return 0;
}

char _license[] SEC("license") = "GPL";
