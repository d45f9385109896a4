// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that read memory and files into dynptrs: what reads.yaml asks about. */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct mm_struct {
	unsigned long arg_start; /* the name of the program that the task runs */
};

struct task_struct {
	struct mm_struct *mm;
};

struct file {
	int any;
};

struct vm_area_struct {
	void *vm_file; /* a pointer to a structure would make it a forward declaration, and no prototype has that */
};

#pragma clang attribute pop

struct bpf_iter_task_vma {
	__u64 opaque[1];
} __attribute__((aligned(8)));

KFUNC(int, bpf_probe_read_user_dynptr, (struct bpf_dynptr *to, __u64 offset, __u64 size, const void *from))
KFUNC(int, bpf_probe_read_kernel_dynptr, (struct bpf_dynptr *to, __u64 offset, __u64 size, const void *from))
KFUNC(int, bpf_probe_read_user_str_dynptr, (struct bpf_dynptr *to, __u64 offset, __u64 size, const void *from))
KFUNC(int, bpf_probe_read_kernel_str_dynptr, (struct bpf_dynptr *to, __u64 offset, __u64 size, const void *from))
KFUNC(int, bpf_dynptr_from_file, (struct file *file, __u32 flags, struct bpf_dynptr *content))
KFUNC(int, bpf_dynptr_file_discard, (struct bpf_dynptr *content))
KFUNC(int, bpf_iter_task_vma_new, (struct bpf_iter_task_vma *it, struct task_struct *task, __u64 address))
KFUNC(struct vm_area_struct *, bpf_iter_task_vma_next, (struct bpf_iter_task_vma *it))
KFUNC(void, bpf_iter_task_vma_destroy, (struct bpf_iter_task_vma *it))

/* Inputs. */
__u32 flow = 0;
__u64 offset = 0; /* in the dynptr */
__u64 size = 8;
__u32 nowhere = 0; /* read from where there is no memory */
__u32 crossed = 0; /* read the kernel's memory as a user's, or a user's as the kernel's */
__u32 flags = 0;
__u32 from = 0; /* offset in the file */
char text[16] = "a text";

/* Results. */
struct {
	__s64 ret;
	__u32 agreed; /* the helper that reads the same returned the same */
	__u32 same; /* what both have read */
	__u32 changed; /* bytes of the dynptr's memory */
	__u32 before; /* their sum before the offset */
	__s32 read_ret;
	__s32 discard_ret;
	__u32 first; /* bytes of the file, the first the most significant */
	__s32 write_ret;
} result = { .ret = UNTOUCHED };

char target[64];
char other[64];

static __always_inline void note(void)
{
	__u64 mine = 0, helpers = 0;

	bpf_probe_read_kernel(&mine, sizeof(mine), target + (offset & 31));
	bpf_probe_read_kernel(&helpers, sizeof(helpers), other);
	result.same = mine == helpers;
	for (int i = 0; i < 64; i++)
		result.changed += ((__u32)(__u8)target[i] + 255) >> 8; /* 1 for all but 0, without a branch for the verifier */
	for (int i = 0; i < 8; i++)
		result.before += i < offset ? (__u8)target[i] : 0;
}

static __always_inline const void *users(void)
{
	struct task_struct *task = bpf_get_current_task_btf();

	return (const void *)task->mm->arg_start;
}

#define READ(name, kfunc, helper, mine, others)                                                                        \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		const void *at = nowhere ? (void *)8 : crossed ? others : mine;                                        \
		struct bpf_dynptr into;                                                                                \
                                                                                                                       \
		bpf_dynptr_from_mem(target, sizeof(target), 0, &into);                                                 \
		result.ret = kfunc(&into, offset, size, at);                                                           \
		result.agreed = result.ret == helper(other, size & 63, at);                                            \
		note();                                                                                                \
		return 0;                                                                                              \
	}

READ(user, bpf_probe_read_user_dynptr, bpf_probe_read_user, users(), text)
READ(kernel, bpf_probe_read_kernel_dynptr, bpf_probe_read_kernel, text, users())
READ(user_text, bpf_probe_read_user_str_dynptr, bpf_probe_read_user_str, users(), text)
READ(kernel_text, bpf_probe_read_kernel_str_dynptr, bpf_probe_read_kernel_str, text, users())

/* --- files --------------------------------------------------------------------------------------------------------- */

static __always_inline void of_file(struct bpf_dynptr *content)
{
	__u8 bytes[4] = {};

	result.read_ret = bpf_dynptr_read(bytes, sizeof(bytes), content, from, 0);
	result.first = bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
	result.write_ret = bpf_dynptr_write(content, 0, bytes, sizeof(bytes), 0);
}

/* The first file in the memory of the task that runs the program: it is an ELF file. */
#define FILE(name, ...)                                                                                                \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_iter_task_vma it;                                                                           \
		struct vm_area_struct *vma;                                                                            \
		struct bpf_dynptr content;                                                                             \
                                                                                                                       \
		bpf_iter_task_vma_new(&it, bpf_get_current_task_btf(), 0);                                             \
		while ((vma = bpf_iter_task_vma_next(&it))) {                                                          \
			struct file *file = vma->vm_file;                                                              \
                                                                                                                       \
			if (!file)                                                                                     \
				continue;                                                                              \
			__VA_ARGS__;                                                                                   \
			break;                                                                                         \
		}                                                                                                      \
		bpf_iter_task_vma_destroy(&it);                                                                        \
		return 0;                                                                                              \
	}

#define OPEN result.ret = bpf_dynptr_from_file(file, flags, &content)
#define DISCARD result.discard_ret = bpf_dynptr_file_discard(&content)

FILE(file, OPEN, of_file(&content), DISCARD)
FILE(file_leak, OPEN)
FILE(file_twice, OPEN, DISCARD, DISCARD)
FILE(file_after, OPEN, DISCARD, of_file(&content))
FILE(file_other, bpf_dynptr_from_mem(target, sizeof(target), 0, &content), DISCARD)

PROGRAM(file_untrusted)
{
	struct bpf_dynptr content;

	bpf_dynptr_from_file((struct file *)&text, 0, &content);
	bpf_dynptr_file_discard(&content);
	return 0;
}

char _license[] SEC("license") = "GPL";
