/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Programs of rbtrees.bpf.c that add. First those that run, then those that the verifier is expected to refuse. */

PROGRAM(N(add))
{
	for (int i = 0; i < 3; i++) {
		struct item *item = NEW_IMPL(struct item);

		if (!item)
			break;
		item->key = keys[i];
		bpf_spin_lock(&lock);
		result.ret = ADD(&tree, &item->node, less);
		bpf_spin_unlock(&lock);
	}
	drain();
	return 0;
}

PROGRAM(N(add_twice))
{
	struct counted *one = NEW_IMPL(struct counted), *other;
	struct bpf_rb_node *node;

	if (!one)
		return 0;
	one->key = 5;
	other = SHARE_IMPL(one);
	bpf_spin_lock(&counted_lock);
	result.ret = ADD(&counted_tree, &one->node, less_counted);
	bpf_spin_unlock(&counted_lock);
	if (!other)
		return 0;
	bpf_spin_lock(&counted_lock);
	result.again_ret = ADD(&counted_tree, &other->node, less_counted);
	bpf_spin_unlock(&counted_lock);
	bpf_spin_lock(&counted_lock);
	node = bpf_rbtree_first(&counted_tree);
	if (node)
		node = bpf_rbtree_remove(&counted_tree, node);
	bpf_spin_unlock(&counted_lock);
	if (!node)
		return 0;
	result.taken = CONTAINER(node, struct counted, node)->key;
	DROP_IMPL(CONTAINER(node, struct counted, node));
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

PROGRAM(N(add_unlocked))
{
	struct item *item = NEW_IMPL(struct item);

	if (item)
		result.ret = ADD(&tree, &item->node, less);
	return 0;
}

PROGRAM(N(add_other_type))
{
	struct counted *item = NEW_IMPL(struct counted);

	if (!item)
		return 0;
	bpf_spin_lock(&lock);
	result.ret = ADD(&tree, &item->node, less);
	bpf_spin_unlock(&lock);
	return 0;
}

#define ADD_AND(name, less, more)                                                                                      \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		struct item *item = NEW_IMPL(struct item);                                                             \
                                                                                                                       \
		if (!item)                                                                                             \
			return 0;                                                                                      \
		bpf_spin_lock(&lock);                                                                                  \
		result.ret = ADD(&tree, &item->node, less);                                                            \
		bpf_spin_unlock(&lock);                                                                                \
		more;                                                                                                  \
		return 0;                                                                                              \
	}

ADD_AND(add_use, less, result.peeked = READ_OF(item->key))
ADD_AND(add_drop, less, DROP_IMPL(item))
ADD_AND(add_changes, less_changes, )
ADD_AND(add_unlocks, less_unlocks, )

#undef ADD_AND
