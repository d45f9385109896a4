/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The programs of one type. T(), CTX, FROM ... say which; see packet.bpf.c. */

static __always_inline __u32 T(place)(CTX *ctx)
{
	result.linear = linear_bytes(ctx->data, ctx->data_end);
	return offset + (from_end ? result.linear : 0);
}

static __always_inline void T(look)(CTX *ctx, __u32 at)
{
	__u64 found = 0;

	LOAD(ctx, at, &found, sizeof(found));
	result.packet = bpf_be64_to_cpu(found);
}

SECTION int T(slice)(CTX *ctx)
{
	__u32 at = T(place)(ctx);
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	if (!is_ours(ctx->data, ctx->data_end))
		return PASS;
	result.from_ret = FROM(ctx, flags, &p);
	found = bpf_dynptr_slice(&p, at, &buffer, sizeof(buffer));
	if (found) {
		result.sliced = 1;
		result.value = bpf_be64_to_cpu(*found);
	}
	result.buffer = bpf_be64_to_cpu(buffer);
	T(look)(ctx, at);
	result.done = 1;
	return PASS;
}

SECTION int T(slice_plain)(CTX *ctx)
{
	__u32 at = T(place)(ctx);
	struct bpf_dynptr p;
	__u64 *found;

	result.from_ret = FROM(ctx, flags, &p);
	found = bpf_dynptr_slice(&p, at, NULL, sizeof(*found));
	if (found) {
		result.sliced = 1;
		result.value = bpf_be64_to_cpu(*found);
	}
	result.done = 1;
	return PASS;
}

SECTION int T(slice_rdwr)(CTX *ctx)
{
	__u32 at = T(place)(ctx);
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	if (!is_ours(ctx->data, ctx->data_end))
		return PASS;
	result.from_ret = FROM(ctx, flags, &p);
	found = bpf_dynptr_slice_rdwr(&p, at, &buffer, sizeof(buffer));
	if (found) {
		result.sliced = 1;
		*found = bpf_cpu_to_be64(value);
		if (write_back)
			result.ret = bpf_dynptr_write(&p, at, &buffer, sizeof(buffer), 0);
	}
	T(look)(ctx, at);
	result.done = 1;
	return PASS;
}

/* A part of the packet is looked at by a clone. */
SECTION int T(view)(CTX *ctx)
{
	struct bpf_dynptr p, part;
	__u8 byte = 0;

	result.from_ret = FROM(ctx, flags, &p);
	result.is_null = TRUTH(bpf_dynptr_is_null(&p));
	result.is_rdonly = TRUTH(bpf_dynptr_is_rdonly(&p));
	result.size = bpf_dynptr_size(&p);
	result.clone_ret = bpf_dynptr_clone(&p, &part);
	result.ret = bpf_dynptr_adjust(&part, start, end);
	result.new_size = bpf_dynptr_size(&part);
	result.old_size = bpf_dynptr_size(&p);
	bpf_dynptr_read(&byte, 1, &part, 0, 0);
	result.first = byte;
	return PASS;
}

SECTION int T(copy)(CTX *ctx)
{
	__u32 at = T(place)(ctx);
	struct bpf_dynptr p, own;

	result.from_ret = FROM(ctx, flags, &p);
	bpf_dynptr_from_mem(memory, sizeof(memory), 0, &own);
	if (to_packet)
		result.ret = bpf_dynptr_copy(&p, at, &own, memory_at, size);
	else
		result.ret = bpf_dynptr_copy(&own, memory_at, &p, at, size);
	result.memory = bpf_be64_to_cpu(memory[0]);
	T(look)(ctx, at);
	return PASS;
}

SECTION int T(fill)(CTX *ctx)
{
	__u32 at = T(place)(ctx);
	struct bpf_dynptr p;

	result.from_ret = FROM(ctx, flags, &p);
	result.ret = bpf_dynptr_memset(&p, at, size, value);
	T(look)(ctx, at);
	return PASS;
}

/* Broken on purpose: the verifier should refuse each of these. */

SECTION int T(slice_no_dynptr)(CTX *ctx)
{
	struct bpf_dynptr p;
	__u64 buffer = 0;

	result.sliced = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer)) != NULL;
	return PASS;
}

SECTION int T(size_no_dynptr)(CTX *ctx)
{
	struct bpf_dynptr p;

	result.size = bpf_dynptr_size(&p);
	return PASS;
}

SECTION int T(slice_overwritten)(CTX *ctx)
{
	struct bpf_dynptr p;
	__u64 buffer = 0;

	FROM(ctx, 0, &p);
	*(volatile __u64 *)&p = 1;
	result.sliced = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer)) != NULL;
	return PASS;
}

SECTION int T(slice_unchecked)(CTX *ctx)
{
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer));
	result.value = *found;
	return PASS;
}

SECTION int T(slice_written)(CTX *ctx)
{
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer));
	if (found)
		*found = value;
	return PASS;
}

SECTION int T(slice_beyond)(CTX *ctx)
{
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer));
	if (found)
		result.value = found[1];
	return PASS;
}

SECTION int T(slice_of_any_size)(CTX *ctx)
{
	__u64 buffer[2] = {}, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, buffer, size & 15);
	result.sliced = found != NULL;
	return PASS;
}

SECTION int T(slice_small_buffer)(CTX *ctx)
{
	__u64 buffer[1] = {}, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, buffer, 600);
	result.sliced = found != NULL;
	return PASS;
}

SECTION int T(slice_after_change)(CTX *ctx)
{
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice(&p, 0, &buffer, sizeof(buffer));
	if (!found)
		return PASS;
	CHANGE(ctx);
	result.value = READ_OF(*found);
	return PASS;
}

SECTION int T(slice_rdwr_after_write)(CTX *ctx)
{
	__u64 buffer = 0, *found;
	struct bpf_dynptr p;

	FROM(ctx, 0, &p);
	found = bpf_dynptr_slice_rdwr(&p, 0, &buffer, sizeof(buffer));
	if (!found)
		return PASS;
	bpf_dynptr_write(&p, 0, &buffer, sizeof(buffer), 0);
	*(volatile char *)found = value;
	return PASS;
}

SECTION int T(clone_over_itself)(CTX *ctx)
{
	struct bpf_dynptr p, part;

	FROM(ctx, 0, &p);
	bpf_dynptr_clone(&part, &p);
	return PASS;
}

SECTION int T(from_twice)(CTX *ctx)
{
	struct bpf_dynptr p;

	result.from_ret = FROM(ctx, 1, &p);
	result.from_ret = FROM(ctx, 0, &p);
	return PASS;
}
