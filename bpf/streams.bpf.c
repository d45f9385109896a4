// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that write to their streams: what streams.yaml asks about. */
#include "program.h"

/* By their three prototypes: 6.17, 6.18 and 6.19, and from 7.0 on. What stands behind ___ is no part of a name. */
KFUNC(int, bpf_stream_vprintk___6_17, (int stream, const char *format, const void *values, __u32 size, void *program))
KFUNC(int, bpf_stream_vprintk_impl, (int stream, const char *format, const void *values, __u32 size, void *program))
KFUNC(int, bpf_stream_vprintk, (int stream, const char *format, const void *values, __u32 size))
KFUNC(int, bpf_stream_print_stack, (int stream))

#define PRINT(stream, format, values, size)                                                                            \
	(bpf_stream_vprintk      ? bpf_stream_vprintk(stream, format, values, size) :                                  \
	 bpf_stream_vprintk_impl ? bpf_stream_vprintk_impl(stream, format, values, size, NULL) :                       \
				   bpf_stream_vprintk___6_17(stream, format, values, size, NULL))

/* Inputs. */
__u32 flow = 0;
int stream = 1;
__u64 number = 7;
__u32 times = 1;
char text[8] = "text";

/* Results. */
struct {
	__s32 ret;
	__u32 times; /* that it was written */
} result = { .ret = UNTOUCHED };

static const char line[] = "a line\n";
static const char number_and_text[] = "%d and %s, \n";
static const char unknown_kind[] = "%q\n";
static const char hundred[] = "....................................................................................................";

PROGRAM(plain)
{
	result.ret = PRINT(stream, line, &number, 0);
	return 0;
}

PROGRAM(no_values)
{
	result.ret = PRINT(stream, line, NULL, 0);
	return 0;
}

PROGRAM(values)
{
	__u64 values[] = { number, (__u64)text };

	result.ret = PRINT(stream, number_and_text, values, sizeof(values));
	return 0;
}

PROGRAM(fewer)
{
	__u64 values[] = { number };

	result.ret = PRINT(stream, number_and_text, values, sizeof(values));
	return 0;
}

PROGRAM(part)
{
	__u64 values[] = { number, (__u64)text };

	result.ret = PRINT(stream, number_and_text, values, 12);
	return 0;
}

PROGRAM(many)
{
	__u64 values[13] = {};

	result.ret = PRINT(stream, line, values, sizeof(values));
	return 0;
}

PROGRAM(unknown)
{
	__u64 values[] = { number };

	result.ret = PRINT(stream, unknown_kind, values, sizeof(values));
	return 0;
}

static long print_hundred(__u32 i, void *unused)
{
	result.ret = PRINT(stream, hundred, &number, 0);
	if (result.ret)
		return 1;
	result.times++;
	return 0;
}

/* More than a stream has room for. */
PROGRAM(full)
{
	bpf_loop(1100, print_hundred, NULL, 0);
	return 0;
}

/* The text that says what to write is no constant. */
PROGRAM(variable)
{
	result.ret = PRINT(stream, text, &number, 0);
	return 0;
}

static __noinline int inner(int where)
{
	return bpf_stream_print_stack(where);
}

PROGRAM(stack)
{
	result.ret = inner(stream);
	return 0;
}

char _license[] SEC("license") = "GPL";
