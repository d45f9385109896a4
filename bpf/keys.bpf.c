// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that look keys up, and verify signatures by them: what keys.yaml asks about. */
#include "program.h"
#include "later.h"
#include "signature.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct bpf_key {
	void *key;
	_Bool has_ref;
} __attribute__((preserve_access_index));

KFUNC(struct bpf_key *, bpf_lookup_system_key, (__u64 id))
KFUNC(struct bpf_key *, bpf_lookup_user_key, (__s32 serial, __u64 flags))
KFUNC(void, bpf_key_put, (struct bpf_key *key))
KFUNC(int, bpf_verify_pkcs7_signature,
      (const struct bpf_dynptr *content, const struct bpf_dynptr *signature, struct bpf_key *trusted))

KFUNC(int, bpf_dynptr_adjust, (const struct bpf_dynptr *, __u32 start, __u32 end))

#define USER_KEYRING -4 /* KEY_SPEC_USER_KEYRING, of root */
#define CREATE 1 /* KEY_LOOKUP_CREATE */

/* Inputs. */
__u32 flow = 0;
__u64 id = 0;
int serial = USER_KEYRING;
__u64 flags = CREATE;
__u32 built_in = 0; /* trust the keys that the kernel was built with instead */
__u32 size = 6; /* of the text that is verified */
char text[8] = "a text";
__u8 signature[] = SIGNATURE;

/* Results. */
struct {
	__u32 found;
	__u64 key; /* of a system keyring its id */
	__u32 counted; /* there is a reference to a key */
	__u32 put; /* and looked up again after that */
	__s32 ret; /* of the verification */
	__u32 done;
} result = { .ret = UNTOUCHED };

PROGRAM(system)
{
	struct bpf_key *key = bpf_lookup_system_key(id);

	if (!key)
		return 0;
	result.found = 1;
	result.key = (__u64)key->key;
	result.counted = key->has_ref;
	bpf_key_put(key);
	return 0;
}

static long one_of_many(__u32 i, void *unused)
{
	struct bpf_key *key = bpf_lookup_system_key(id);

	if (!key)
		return 1;
	bpf_key_put(key);
	result.put++;
	return 0;
}

/* More than a kernel would give without getting any back. */
PROGRAM(many)
{
	bpf_loop(1000, one_of_many, NULL, 0);
	return 0;
}

PROGRAM(leak)
{
	if (bpf_lookup_system_key(id))
		result.found = 1;
	return 0;
}

PROGRAM(unchecked)
{
	bpf_key_put(bpf_lookup_system_key(id));
	return 0;
}

PROGRAM(put_twice)
{
	struct bpf_key *key = bpf_lookup_system_key(id);

	if (!key)
		return 0;
	bpf_key_put(key);
	bpf_key_put(key);
	return 0;
}

PROGRAM(put_other)
{
	bpf_key_put((struct bpf_key *)&id);
	return 0;
}

PROGRAM(use_after_put)
{
	struct bpf_key *key = bpf_lookup_system_key(id);

	if (!key)
		return 0;
	bpf_key_put(key);
	result.key = READ_OF(key->key);
	return 0;
}

/* --- may sleep ----------------------------------------------------------------------------------------------------- */

static __always_inline void user_key(void)
{
	struct bpf_key *key = bpf_lookup_user_key(serial, flags);

	if (!key)
		return;
	result.found = 1;
	result.counted = key->has_ref;
	bpf_key_put(key);
}

LATER(user)
{
	user_key();
}

PROGRAM(user_at_once)
{
	user_key();
	return 0;
}

static __always_inline void verify_by(struct bpf_key *key)
{
	struct bpf_dynptr content, by;

	if (!key)
		return;
	result.found = 1;
	bpf_dynptr_from_mem(text, sizeof(text), 0, &content);
	bpf_dynptr_adjust(&content, 0, size);
	bpf_dynptr_from_mem(signature, sizeof(signature), 0, &by);
	result.ret = bpf_verify_pkcs7_signature(&content, &by, key);
	bpf_key_put(key);
}

LATER(verify)
{
	if (built_in)
		verify_by(bpf_lookup_system_key(0));
	else
		verify_by(bpf_lookup_user_key(serial, flags));
}

PROGRAM(verify_at_once)
{
	verify_by(bpf_lookup_system_key(0));
	return 0;
}

LATER(verify_unchecked)
{
	struct bpf_dynptr content, by;

	bpf_dynptr_from_mem(text, sizeof(text), 0, &content);
	bpf_dynptr_from_mem(signature, sizeof(signature), 0, &by);
	result.ret = bpf_verify_pkcs7_signature(&content, &by, NULL);
}

char _license[] SEC("license") = "GPL";
