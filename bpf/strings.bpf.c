// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that call the string kfuncs: what strings.yaml asks about. */
#include "program.h"

KFUNC(int, bpf_strcmp, (const char *one, const char *two))
KFUNC(int, bpf_strcasecmp, (const char *one, const char *two))
KFUNC(int, bpf_strncasecmp, (const char *one, const char *two, __u64 count))
KFUNC(int, bpf_strchr, (const char *one, char character))
KFUNC(int, bpf_strchrnul, (const char *one, char character))
KFUNC(int, bpf_strnchr, (const char *one, __u64 count, char character))
KFUNC(int, bpf_strrchr, (const char *one, int character))
KFUNC(int, bpf_strlen, (const char *one))
KFUNC(int, bpf_strnlen, (const char *one, __u64 count))
KFUNC(int, bpf_strspn, (const char *one, const char *accept))
KFUNC(int, bpf_strcspn, (const char *one, const char *reject))
KFUNC(int, bpf_strstr, (const char *one, const char *two))
KFUNC(int, bpf_strcasestr, (const char *one, const char *two))
KFUNC(int, bpf_strnstr, (const char *one, const char *two, __u64 count))
KFUNC(int, bpf_strncasestr, (const char *one, const char *two, __u64 count))

#define XATTR_SIZE_MAX 65536 /* the longest string */

/* Which string. */
enum {
	EMPTY = 8, /* of `texts`, as all below */
	NOWHERE = 16, /* NULL */
	USER, /* an address of user space */
	UNMAPPED, /* one of the kernel at which nothing is */
	ENDLESS, /* longer than the limit */
};

const char texts[][16] = {
	[0] = "hello world", [1] = "HELLO World", [2] = "hello worlds", [3] = "help", [4] = "world",
	[5] = "WORLD",	     [6] = "hello",	  [7] = "xyz",		[EMPTY] = "", [9] = "lo",
	[10] = "ehlo",	     [11] = "HELLO",	  [15] = "",
};
const char endless[XATTR_SIZE_MAX + 1] SEC(".rodata.endless") = { [0 ... XATTR_SIZE_MAX] = 'a' };

/* Inputs. */
__u32 flow = 0;
__u32 one = 0; /* by default "hello world" */
__u32 two = 0;
__u32 character = 'o';
__u64 count = 0;

/* Results. `unreadable`: the answer is -ERANGE or -EFAULT, which of them depends on the architecture. */
struct {
	__s32 ret;
	__u32 unreadable;
} result = { .ret = UNTOUCHED };

static __always_inline const char *text(__u32 which)
{
	switch (which) {
	case NOWHERE:
		return (const char *)0;
	case USER:
		return (const char *)1;
	case UNMAPPED:
		return (const char *)-1;
	case ENDLESS:
		return endless;
	default:
		return texts[which & 15];
	}
}

#define STRING_PROGRAM(name, ...)                                                                                      \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		result.ret = bpf_##name(__VA_ARGS__);                                                                  \
		result.unreadable = result.ret == -34 || result.ret == -14;                                            \
		return 0;                                                                                              \
	}

STRING_PROGRAM(strcmp, text(one), text(two))
STRING_PROGRAM(strcasecmp, text(one), text(two))
STRING_PROGRAM(strncasecmp, text(one), text(two), count)
STRING_PROGRAM(strchr, text(one), character)
STRING_PROGRAM(strchrnul, text(one), character)
STRING_PROGRAM(strnchr, text(one), count, character)
STRING_PROGRAM(strrchr, text(one), character)
STRING_PROGRAM(strlen, text(one))
STRING_PROGRAM(strnlen, text(one), count)
STRING_PROGRAM(strspn, text(one), text(two))
STRING_PROGRAM(strcspn, text(one), text(two))
STRING_PROGRAM(strstr, text(one), text(two))
STRING_PROGRAM(strcasestr, text(one), text(two))
STRING_PROGRAM(strnstr, text(one), text(two), count)
STRING_PROGRAM(strncasestr, text(one), text(two), count)

char _license[] SEC("license") = "GPL";
