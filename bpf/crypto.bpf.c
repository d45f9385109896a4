// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that encrypt and decrypt: crypto.yaml. A program that may sleep makes the context, and leaves it in a map.
 *
 * This needs clang 19: older ones write no type tags into BTF, and without them no map holds a context.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kfunc.h"

struct bpf_crypto_ctx {
	char any;
} __attribute__((preserve_access_index));

/* ABI between programs and the kernel. */
struct bpf_crypto_params {
	char type[14];
	__u8 reserved[2];
	char algo[128];
	__u8 key[256];
	__u32 key_len;
	__u32 authsize;
};

KFUNC(struct bpf_crypto_ctx *, bpf_crypto_ctx_create, (const struct bpf_crypto_params *, __u32 size, int *error))
KFUNC(struct bpf_crypto_ctx *, bpf_crypto_ctx_acquire, (struct bpf_crypto_ctx *))
KFUNC(void, bpf_crypto_ctx_release, (struct bpf_crypto_ctx *))
KFUNC(int, bpf_crypto_encrypt,
      (struct bpf_crypto_ctx *, const struct bpf_dynptr *from, const struct bpf_dynptr *to, const struct bpf_dynptr *iv))
KFUNC(int, bpf_crypto_decrypt,
      (struct bpf_crypto_ctx *, const struct bpf_dynptr *from, const struct bpf_dynptr *to, const struct bpf_dynptr *iv))

struct slot {
	struct bpf_crypto_ctx __kptr *ctx;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

/* Inputs. The first example of FIPS 197, appendix C, as two numbers each. */
__u32 flow = 0;
struct bpf_crypto_params params = {
	.type = "skcipher",
	.algo = "ecb(aes)",
	.key = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f },
	.key_len = 16,
};
__u32 params_size = sizeof(struct bpf_crypto_params);
__u32 chained = 0; /* cbc(aes) instead, whose initialization vector is 16 bytes of 0 */
__u64 text[2] = { 0x0011223344556677, 0x8899aabbccddeeff };
__u32 text_size = 16;
__u32 room = 16;
__u32 iv_size = 0;
__u32 without_iv = 1; /* NULL */

/* Results. */
struct {
	__s32 make_error;
	__u32 made;
	__s32 ret;
	__u64 first; /* 8 bytes of what came out, in their order */
	__u64 second;
	__u64 again_first; /* ... of what the reverse made of it */
	__u64 again_second;
	__s32 again_ret;
	__u32 found; /* there was a context */
	__u32 acquired;
	__u32 is_same; /* the acquired pointer and the one that was made */
} result;

__u64 source[2], target[2], again[2], iv[2];

static __always_inline struct slot *only_slot(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&slots, &zero);
}

static __always_inline struct bpf_crypto_ctx *new_context(void)
{
	struct bpf_crypto_ctx *made;
	__u32 size = params_size;
	int error = 0;

	if (chained)
		__builtin_memcpy(params.algo, "cbc", 3);
	made = bpf_crypto_ctx_create(&params, size > sizeof(params) ? sizeof(params) : size, &error);
	result.make_error = error;
	if (made)
		result.made = 1;
	return made;
}

static __always_inline void leave(struct slot *slot, struct bpf_crypto_ctx *ctx)
{
	struct bpf_crypto_ctx *old = bpf_kptr_xchg(&slot->ctx, ctx);

	if (old)
		bpf_crypto_ctx_release(old);
}

SEC("syscall") int syscall_make(void *unused)
{
	struct slot *slot = only_slot();
	struct bpf_crypto_ctx *made;

	if (!slot)
		return 0;
	leave(slot, NULL);
	made = new_context();
	if (made)
		leave(slot, made);
	return 0;
}

/* The reference that is left in the map is the second one. */
SEC("syscall") int syscall_share(void *unused)
{
	struct bpf_crypto_ctx *made, *acquired;
	struct slot *slot = only_slot();

	if (!slot)
		return 0;
	made = new_context();
	if (!made)
		return 0;
	acquired = bpf_crypto_ctx_acquire(made);
	if (!acquired) {
		bpf_crypto_ctx_release(made);
		return 0;
	}
	result.acquired = 1;
	result.is_same = (__u64)acquired == (__u64)made;
	bpf_crypto_ctx_release(made);
	leave(slot, acquired);
	return 0;
}

SEC("syscall") int syscall_leak(void *unused)
{
	struct bpf_crypto_ctx *made = new_context();

	if (!made)
		return 0;
	result.acquired = !!bpf_crypto_ctx_acquire(made);
	bpf_crypto_ctx_release(made);
	return 0;
}

SEC("syscall") int syscall_acquired_unchecked(void *unused)
{
	struct bpf_crypto_ctx *made = new_context();

	if (!made)
		return 0;
	bpf_crypto_ctx_release(bpf_crypto_ctx_acquire(made));
	bpf_crypto_ctx_release(made);
	return 0;
}

SEC("syscall") int syscall_release_twice(void *unused)
{
	struct bpf_crypto_ctx *made = new_context();

	if (!made)
		return 0;
	bpf_crypto_ctx_release(made);
	bpf_crypto_ctx_release(made);
	return 0;
}

static __always_inline void prepare(struct bpf_dynptr *from, struct bpf_dynptr *to, struct bpf_dynptr *back)
{
	source[0] = bpf_cpu_to_be64(text[0]);
	source[1] = bpf_cpu_to_be64(text[1]);
	bpf_dynptr_from_mem(source, sizeof(source), 0, from);
	bpf_dynptr_from_mem(target, sizeof(target), 0, to);
	bpf_dynptr_from_mem(again, sizeof(again), 0, back);
}

static __always_inline void record(void)
{
	result.first = bpf_be64_to_cpu(target[0]);
	result.second = bpf_be64_to_cpu(target[1]);
	result.again_first = bpf_be64_to_cpu(again[0]);
	result.again_second = bpf_be64_to_cpu(again[1]);
}

KFUNC(int, bpf_dynptr_adjust, (const struct bpf_dynptr *, __u32 start, __u32 end))

#define PROGRAM(section, prefix, context, name, there, back)                                                           \
	SEC(section) int prefix##name(context *ctx)                                                                    \
	{                                                                                                              \
		struct bpf_dynptr from, to, reversed, vector;                                                          \
		struct slot *slot = only_slot();                                                                       \
		struct bpf_crypto_ctx *crypto;                                                                         \
                                                                                                                       \
		if (!slot)                                                                                             \
			return 0;                                                                                      \
		crypto = slot->ctx;                                                                                    \
		if (!crypto)                                                                                           \
			return 0;                                                                                      \
		result.found = 1;                                                                                      \
		prepare(&from, &to, &reversed);                                                                        \
		bpf_dynptr_adjust(&from, 0, text_size);                                                                \
		bpf_dynptr_adjust(&to, 0, room);                                                                       \
		bpf_dynptr_from_mem(iv, sizeof(iv), 0, &vector);                                                       \
		bpf_dynptr_adjust(&vector, 0, iv_size);                                                                \
		if (without_iv) {                                                                                      \
			result.ret = there(crypto, &from, &to, NULL);                                                  \
			result.again_ret = back(crypto, &to, &reversed, NULL);                                         \
		} else {                                                                                               \
			result.ret = there(crypto, &from, &to, &vector);                                               \
			iv[0] = iv[1] = 0;                                                                             \
			result.again_ret = back(crypto, &to, &reversed, &vector);                                      \
		}                                                                                                      \
		record();                                                                                              \
		return 0;                                                                                              \
	}

PROGRAM("tc", tc_, struct __sk_buff, encrypt, bpf_crypto_encrypt, bpf_crypto_decrypt)
PROGRAM("tc", tc_, struct __sk_buff, decrypt, bpf_crypto_decrypt, bpf_crypto_encrypt)
PROGRAM("xdp", xdp_, struct xdp_md, encrypt, bpf_crypto_encrypt, bpf_crypto_decrypt)
PROGRAM("xdp", xdp_, struct xdp_md, decrypt, bpf_crypto_decrypt, bpf_crypto_encrypt)

#define UNCHECKED(section, prefix, context)                                                                            \
	SEC(section) int prefix##unchecked(context *ctx)                                                               \
	{                                                                                                              \
		struct bpf_dynptr from, to, reversed;                                                                  \
		struct slot *slot = only_slot();                                                                       \
                                                                                                                       \
		if (!slot)                                                                                             \
			return 0;                                                                                      \
		prepare(&from, &to, &reversed);                                                                        \
		result.ret = bpf_crypto_encrypt(slot->ctx, &from, &to, NULL);                                          \
		return 0;                                                                                              \
	}

UNCHECKED("tc", tc_, struct __sk_buff)
UNCHECKED("xdp", xdp_, struct xdp_md)

char _license[] SEC("license") = "GPL";
