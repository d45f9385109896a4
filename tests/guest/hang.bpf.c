// SPDX-License-Identifier: GPL-2.0
/* Keeps the kernel busy for days: 2^23 times 2^23 turns. The verifier sees a bounded loop. */
#define SEC(name) __attribute__((section(name), used))

static long (*bpf_loop)(unsigned int count, void *callback, void *context, unsigned long long flags) = (void *)181;

static long inner(unsigned int at, void *context)
{
	return 0;
}

static long outer(unsigned int at, void *context)
{
	bpf_loop(1 << 23, inner, 0, 0);
	return 0;
}

SEC("tc")
int hang(void *skb)
{
	bpf_loop(1 << 23, outer, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
