// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that call what kernels have for their own tests: what tests.yaml asks about.
 *
 * This needs clang 19: older ones write no type tags into BTF, and without them no map holds a pointer.
 */
#include "program.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct prog_test_member1 {
	int a;
};

struct prog_test_member {
	struct prog_test_member1 m;
	int c;
};

struct prog_test_ref_kfunc {
	int a;
	int b;
	struct prog_test_member memb;
};

#pragma clang attribute pop

struct sock {
	int any;
};

/* Their members decide what the verifier makes of them, in the kernel's own types. */
struct prog_test_pass1 {
	int any[4];
};

struct prog_test_pass2 {
	__u64 any[11];
};

struct prog_test_fail1 {
	__u64 any[2];
};

struct prog_test_fail2 {
	int any[5];
};

struct prog_test_fail3 {
	int any[2];
};

#define COUNTED struct prog_test_ref_kfunc

KFUNC(__u64, bpf_kfunc_call_test1, (struct sock *sk, __u32 a, __u64 b, __u32 c, __u64 d))
KFUNC(int, bpf_kfunc_call_test2, (struct sock *sk, __u32 a, __u32 b))
KFUNC(struct sock *, bpf_kfunc_call_test3, (struct sock *sk))
KFUNC(COUNTED *, bpf_kfunc_call_test_acquire, (unsigned long *number))
KFUNC(void, bpf_kfunc_call_test_release, (COUNTED *))
KFUNC(COUNTED *, bpf_kfunc_call_test_kptr_get, (COUNTED **, int a, int b))
KFUNC(void, bpf_kfunc_call_test_ref, (COUNTED *))
KFUNC(int *, bpf_kfunc_call_test_get_rdwr_mem, (COUNTED *, const int rdwr_buf_size))
KFUNC(int *, bpf_kfunc_call_test_get_rdonly_mem, (COUNTED *, const int rdonly_buf_size))
KFUNC(int *, bpf_kfunc_call_test_acq_rdonly_mem, (COUNTED *, const int rdonly_buf_size))
KFUNC(void, bpf_kfunc_call_int_mem_release, (int *))
KFUNC(struct prog_test_member *, bpf_kfunc_call_memb_acquire, (void))
KFUNC(void, bpf_kfunc_call_memb_release, (struct prog_test_member *))
KFUNC(void, bpf_kfunc_call_memb1_release, (struct prog_test_member1 *))
KFUNC(void, bpf_kfunc_call_test_pass_ctx, (struct __sk_buff *))
KFUNC(void, bpf_kfunc_call_test_pass1, (struct prog_test_pass1 *))
KFUNC(void, bpf_kfunc_call_test_pass2, (struct prog_test_pass2 *))
KFUNC(void, bpf_kfunc_call_test_fail1, (struct prog_test_fail1 *))
KFUNC(void, bpf_kfunc_call_test_fail2, (struct prog_test_fail2 *))
KFUNC(void, bpf_kfunc_call_test_fail3, (struct prog_test_fail3 *))
KFUNC(void, bpf_kfunc_call_test_mem_len_pass1, (void *memory, int size))
KFUNC(void, bpf_kfunc_call_test_mem_len_fail1, (void *memory, int size))
KFUNC(void, bpf_kfunc_call_test_mem_len_fail2, (__u64 *memory, int size))
KFUNC(void, bpf_kfunc_call_test_destructive, (void))
KFUNC(int, bpf_modify_return_test_tp, (int number))

struct slot {
	COUNTED __attribute__((btf_type_tag("kptr_ref"))) *counted; /* the tag's name before 6.2 */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

/* Inputs. */
__u32 flow = 0;
int number = 7;

/* Results. */
struct {
	__u64 ret;
	__u32 found;
	__s32 a;
	__s32 b;
	__u32 done;
} result = { .ret = UNTOUCHED };

#define DOES(name, ...)                                                                                                \
	SEC("tc") int tc_##name(struct __sk_buff *ctx)                                                                 \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
		result.done = 1;                                                                                       \
		return 0;                                                                                              \
	}

#define WITH_SOCKET(name, ...)                                                                                         \
	SEC("tc") int tc_##name(struct __sk_buff *ctx)                                                                 \
	{                                                                                                              \
		struct bpf_sock *sk = ctx->sk ? bpf_sk_fullsock(ctx->sk) : NULL;                                       \
                                                                                                                       \
		if (!sk)                                                                                               \
			return 0;                                                                                      \
		result.found = 1;                                                                                      \
		__VA_ARGS__;                                                                                           \
		return 0;                                                                                              \
	}

WITH_SOCKET(sum, result.ret = bpf_kfunc_call_test1((struct sock *)sk, 1, (1ULL << 32) | 2, 3, (1ULL << 32) | 4))
WITH_SOCKET(sum_of_two, result.ret = bpf_kfunc_call_test2((struct sock *)sk, 1, 2))
WITH_SOCKET(same, result.ret = bpf_kfunc_call_test3((struct sock *)sk) != NULL)

#define WITH_COUNTED(name, ...)                                                                                        \
	SEC("tc") int tc_##name(struct __sk_buff *ctx)                                                                 \
	{                                                                                                              \
		unsigned long unused = 0;                                                                              \
		COUNTED *it = bpf_kfunc_call_test_acquire(&unused);                                                    \
                                                                                                                       \
		if (!it)                                                                                               \
			return 0;                                                                                      \
		result.found = 1;                                                                                      \
		__VA_ARGS__;                                                                                           \
		bpf_kfunc_call_test_release(it);                                                                       \
		result.done = 1;                                                                                       \
		return 0;                                                                                              \
	}

WITH_COUNTED(acquire, result.a = it->a; result.b = it->b)
WITH_COUNTED(write, int *at = bpf_kfunc_call_test_get_rdwr_mem(it, 8); if (at) { at[1] = number; result.b = at[1]; at[1] = 108; })
WITH_COUNTED(read, int *at = bpf_kfunc_call_test_get_rdonly_mem(it, 8); if (at) { result.a = at[0]; result.b = at[1]; })
WITH_COUNTED(read_memory, int *at = bpf_kfunc_call_test_acq_rdonly_mem(it, 8); if (at) bpf_kfunc_call_int_mem_release(at))
WITH_COUNTED(pass, bpf_kfunc_call_test_ref(it))

SEC("tc") int tc_get(struct __sk_buff *ctx)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &(__u32){ 0 });
	unsigned long unused = 0;
	COUNTED *it;

	if (!slot)
		return 0;
	it = bpf_kfunc_call_test_acquire(&unused);
	if (!it)
		return 0;
	it = bpf_kptr_xchg(&slot->counted, it);
	if (it)
		bpf_kfunc_call_test_release(it);
	it = bpf_kfunc_call_test_kptr_get(&slot->counted, 0, 0);
	if (!it)
		return 0;
	result.a = it->a;
	bpf_kfunc_call_test_release(it);
	return 0;
}

SEC("tc") int tc_member(struct __sk_buff *ctx)
{
	struct prog_test_member *it = bpf_kfunc_call_memb_acquire();

	if (it)
		bpf_kfunc_call_memb_release(it);
	return 0;
}

DOES(int_release, bpf_kfunc_call_int_mem_release(&number))
DOES(member_release, bpf_kfunc_call_memb_release((void *)&number))
DOES(member1_release, bpf_kfunc_call_memb1_release((void *)&number))
DOES(release_other, bpf_kfunc_call_test_release((void *)&number))
DOES(context, bpf_kfunc_call_test_pass_ctx(ctx))
DOES(pass1, struct prog_test_pass1 it = {}; bpf_kfunc_call_test_pass1(&it))
DOES(pass2, struct prog_test_pass2 it = {}; bpf_kfunc_call_test_pass2(&it))
DOES(fail1, struct prog_test_fail1 it = {}; bpf_kfunc_call_test_fail1(&it))
DOES(fail2, struct prog_test_fail2 it = {}; bpf_kfunc_call_test_fail2(&it))
DOES(fail3, struct prog_test_fail3 it = {}; bpf_kfunc_call_test_fail3(&it))
DOES(memory, __u64 it = 0; bpf_kfunc_call_test_mem_len_pass1(&it, sizeof(it)))
DOES(memory_without_size, __u64 it = 0; bpf_kfunc_call_test_mem_len_fail1(&it, sizeof(it)))
DOES(numbers, __u64 it = 0; bpf_kfunc_call_test_mem_len_fail2(&it, -1))
DOES(destructive, bpf_kfunc_call_test_destructive())

PROGRAM(tracepoint)
{
	result.ret = bpf_modify_return_test_tp(number);
	return 0;
}

char _license[] SEC("license") = "GPL";
