/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The programs of percpu.bpf.c, once for each of the names that a kfunc has. */

static long N(each_kept)(__u32 i, const __u64 *until)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &(int){ 0 });
	struct plain *object, *mine;

	if (!slot)
		return 1;
	object = EACH_NEW(struct plain);
	if (!object)
		return late(until);
	result.made++;
	object = bpf_kptr_xchg(&slot->object, object);
	if (object)
		EACH_DROP(object);
	object = slot->object;
	if (!object)
		return 1;
	mine = bpf_this_cpu_ptr(object);
	mine->key = key;
	mine = bpf_per_cpu_ptr(object, bpf_get_smp_processor_id());
	if (mine)
		result.key = mine->key;
	result.elsewhere = bpf_per_cpu_ptr(object, 1 << 20) != NULL;
	object = bpf_kptr_xchg(&slot->object, NULL);
	if (!object)
		return 1;
	result.kept = 1;
	EACH_DROP(object);
	return 1;
}

/* The kernel has three of them ready at most. */
PROGRAM(N(each))
{
	soon(N(each_kept));
	return 0;
}

static long N(one_of_many)(__u32 i, const __u64 *until)
{
	struct plain *object = EACH_NEW(struct plain);

	if (!object)
		return late(until);
	EACH_DROP(object);
	return ++result.made == 200;
}

PROGRAM(N(each_many))
{
	soon(N(one_of_many));
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

PROGRAM(N(each_leak))
{
	if (EACH_NEW(struct plain))
		result.made++;
	return 0;
}

PROGRAM(N(each_unchecked))
{
	EACH_DROP(EACH_NEW(struct plain));
	return 0;
}

PROGRAM(N(each_twice))
{
	struct plain *object = EACH_NEW(struct plain);

	if (!object)
		return 0;
	EACH_DROP(object);
	EACH_DROP(object);
	return 0;
}

PROGRAM(N(each_direct))
{
	struct plain *object = EACH_NEW(struct plain);

	if (!object)
		return 0;
	result.key = object->key;
	EACH_DROP(object);
	return 0;
}

PROGRAM(N(each_as_one))
{
	struct plain *object = EACH_NEW(struct plain);

	if (object)
		DROP(object);
	return 0;
}

PROGRAM(N(one_as_each))
{
	struct plain *object = NEW(struct plain);

	if (object)
		EACH_DROP(object);
	return 0;
}

PROGRAM(N(each_large))
{
	struct large *object = EACH_NEW(struct large);

	if (object)
		EACH_DROP(object);
	return 0;
}

PROGRAM(N(each_listed))
{
	struct listed *object = EACH_NEW(struct listed);

	if (object)
		EACH_DROP(object);
	return 0;
}

PROGRAM(N(each_pointing))
{
	struct pointing *object = EACH_NEW(struct pointing);

	if (object)
		EACH_DROP(object);
	return 0;
}
