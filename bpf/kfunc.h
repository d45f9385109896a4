/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* KFUNC(type, name, (parameters)) declares a kfunc: weak, so that a kernel without it loads the programs that do not call it.
 *
 * With NO_CALL it does nothing and returns 0. tests/guest/test_mutate.py compiles all programs so: whatever claims to show
 * a kfunc at work must then be broken.
 */
#ifdef NO_CALL
#pragma clang diagnostic ignored "-Weverything"
#define KFUNC(type, name, parameters)                                                                                  \
	static __always_inline type name parameters                                                                    \
	{                                                                                                              \
		return (type)0;                                                                                        \
	}
#else
#define KFUNC(type, name, parameters) extern type name parameters __ksym __weak;
#endif

/* Of a kfunc that returns a bool, declared to return an int: the kernel's compilers leave the bytes above a bool as they
 * are, and the JIT hands the whole register to the program. */
#define TRUTH(returned) ((returned) & 0xff)

/* Reads a byte of what the verifier should refuse to read. A wider read is refused for its alignment first, in other words,
 * where the kernel demands alignment (riscv64). */
#define READ_OF(member) (*(const volatile char *)&(member))
