/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The programs of objects.bpf.c. First those that run, then those that the verifier is expected to refuse. */

PROGRAM(N(new))
{
	struct plain *object = NEW(struct plain);

	if (!object)
		return 0;
	result.made++;
	object->key = key;
	result.key = object->key;
	DROP(object);
	return 0;
}

PROGRAM(N(two))
{
	struct plain *one, *other;

	one = NEW(struct plain);
	if (!one)
		return 0;
	result.made++;
	one->key = key;
	other = NEW(struct plain);
	if (!other) {
		DROP(one);
		return 0;
	}
	result.made++;
	other->key = key + 1;
	result.key = one->key;
	result.other_key = other->key;
	DROP(other);
	DROP(one);
	return 0;
}

static long N(one_of_many)(__u32 i, const __u64 *until)
{
	struct plain *object = NEW(struct plain);

	if (!object)
		return late(until);
	object->key = result.made++;
	result.key = object->key;
	DROP(object);
	return result.made == 2000;
}

/* More than the kernel has ready. An interrupt brings others. */
PROGRAM(N(many))
{
	soon(N(one_of_many));
	return 0;
}

PROGRAM(N(share))
{
	struct counted *one = NEW(struct counted), *other;

	if (!one)
		return 0;
	one->key = key;
	other = SHARE(one);
	DROP(one);
	if (!other)
		return 0;
	result.made++;
	result.key = other->key;
	DROP(other);
	return 0;
}

PROGRAM(N(share_write))
{
	struct counted *one = NEW(struct counted), *other;

	if (!one)
		return 0;
	one->key = 1;
	other = SHARE(one);
	if (!other) {
		DROP(one);
		return 0;
	}
	other->key = key;
	DROP(other);
	result.key = one->key;
	DROP(one);
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

PROGRAM(N(leak))
{
	struct plain *object = NEW(struct plain);

	if (object)
		result.key = object->key;
	return 0;
}

PROGRAM(N(unchecked))
{
	struct plain *object = NEW(struct plain);

	barrier_var(object);
	object->key = key;
	DROP(object);
	return 0;
}

PROGRAM(N(drop_unchecked))
{
	DROP(NEW(struct plain));
	return 0;
}

PROGRAM(N(use_after_drop))
{
	struct plain *object = NEW(struct plain);

	if (!object)
		return 0;
	DROP(object);
	result.key = READ_OF(object->key);
	return 0;
}

PROGRAM(N(drop_twice))
{
	struct plain *object = NEW(struct plain);

	if (!object)
		return 0;
	DROP(object);
	DROP(object);
	return 0;
}

PROGRAM(N(drop_inside))
{
	struct plain *object = NEW(struct plain);

	if (object)
		DROP(&object->more);
	return 0;
}

PROGRAM(N(drop_other))
{
	__u64 memory = 0;

	DROP(&memory);
	return 0;
}

PROGRAM(N(outside))
{
	struct plain *object = NEW(struct plain);

	if (!object)
		return 0;
	*(volatile __u64 *)&object->more[7] = key;
	DROP(object);
	return 0;
}

PROGRAM(N(share_leak))
{
	struct counted *one = NEW(struct counted);

	if (!one)
		return 0;
	if (SHARE(one))
		result.made++;
	DROP(one);
	return 0;
}

PROGRAM(N(share_uncounted))
{
	struct listed *one = NEW(struct listed), *other;

	if (!one)
		return 0;
	other = SHARE(one);
	DROP(one);
	if (other)
		DROP(other);
	return 0;
}

PROGRAM(N(share_other))
{
	struct counted *other = SHARE(&key);

	if (other)
		DROP(other);
	return 0;
}
