// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that keep objects in a tree: what rbtrees.yaml asks about.
 *
 * Every program leaves the tree empty. Those in rbtrees_programs.h are there once for each of the names of a kfunc.
 */
#include "program.h"
#include "graph.h"

struct item {
	__u64 key;
	struct bpf_rb_node node;
};

struct counted {
	__u64 key;
	struct bpf_rb_node node;
	struct bpf_refcount count;
};

typedef _Bool less_fn(struct bpf_rb_node *, const struct bpf_rb_node *);

KFUNC(int, bpf_rbtree_add_impl,
      (struct bpf_rb_root *root, struct bpf_rb_node *node, less_fn less, void *meta, __u64 offset))
KFUNC(int, bpf_rbtree_add, (struct bpf_rb_root *root, struct bpf_rb_node *node, less_fn less))
KFUNC(struct bpf_rb_node *, bpf_rbtree_remove, (struct bpf_rb_root *root, struct bpf_rb_node *node))
KFUNC(struct bpf_rb_node *, bpf_rbtree_first, (struct bpf_rb_root *root))
KFUNC(struct bpf_rb_node *, bpf_rbtree_root, (struct bpf_rb_root *root))
KFUNC(struct bpf_rb_node *, bpf_rbtree_left, (struct bpf_rb_root *root, struct bpf_rb_node *node))
KFUNC(struct bpf_rb_node *, bpf_rbtree_right, (struct bpf_rb_root *root, struct bpf_rb_node *node))

PRIVATE(items) struct bpf_spin_lock lock;
PRIVATE(items) struct bpf_rb_root tree CONTAINS(item, node);
PRIVATE(counted) struct bpf_spin_lock counted_lock;
PRIVATE(counted) struct bpf_rb_root counted_tree CONTAINS(counted, node);

/* Inputs. */
__u32 flow = 0;
__u64 keys[3] = { 2, 1, 3 }; /* in this order they are added */

/* Results. */
struct {
	__u64 order; /* the keys as digits, the smallest first */
	__u64 peeked; /* the key that was looked at in the tree */
	__u64 taken; /* the key that was taken out */
	__s32 ret;
	__s32 again_ret; /* of a second call */
	__u32 none; /* NULL was returned */
} result = { .ret = UNTOUCHED, .again_ret = UNTOUCHED };

#define ITEM(of) CONTAINER(of, struct item, node)

static _Bool less(struct bpf_rb_node *one, const struct bpf_rb_node *other)
{
	return ITEM(one)->key < ITEM(other)->key;
}

static _Bool less_counted(struct bpf_rb_node *one, const struct bpf_rb_node *other)
{
	return CONTAINER(one, struct counted, node)->key < CONTAINER(other, struct counted, node)->key;
}

/* Take everything out, the smallest first. */
static __always_inline void drain(void)
{
	for (int i = 0; i < 4; i++) {
		struct bpf_rb_node *node;

		bpf_spin_lock(&lock);
		node = bpf_rbtree_first(&tree);
		if (node)
			node = bpf_rbtree_remove(&tree, node);
		bpf_spin_unlock(&lock);
		if (!node)
			return;
		result.order = result.order * 10 + ITEM(node)->key;
		DROP_IMPL(ITEM(node));
	}
}

static __always_inline void grow(void)
{
	for (int i = 0; i < 3; i++) {
		struct item *item = NEW_IMPL(struct item);

		if (!item)
			return;
		item->key = keys[i];
		bpf_spin_lock(&lock);
		bpf_rbtree_add_impl(&tree, &item->node, less, NULL, 0);
		bpf_spin_unlock(&lock);
	}
}

#define LOOK(name, call)                                                                                               \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_rb_node *node;                                                                              \
                                                                                                                       \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&tree);                                                                                    \
		result.none = !node;                                                                                   \
		bpf_spin_unlock(&lock);                                                                                \
		grow();                                                                                                \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&tree);                                                                                    \
		if (node)                                                                                              \
			result.peeked = ITEM(node)->key;                                                               \
		bpf_spin_unlock(&lock);                                                                                \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

LOOK(first, bpf_rbtree_first)
LOOK(root, bpf_rbtree_root)

/* The child of the root, and that of a leaf. */
#define CHILD(name, call)                                                                                              \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_rb_node *node;                                                                              \
                                                                                                                       \
		grow();                                                                                                \
		bpf_spin_lock(&lock);                                                                                  \
		node = bpf_rbtree_root(&tree);                                                                         \
		if (node)                                                                                              \
			node = call(&tree, node);                                                                      \
		if (node) {                                                                                            \
			result.peeked = ITEM(node)->key;                                                               \
			result.none = !call(&tree, node);                                                              \
		}                                                                                                      \
		bpf_spin_unlock(&lock);                                                                                \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

CHILD(left, bpf_rbtree_left)
CHILD(right, bpf_rbtree_right)

PROGRAM(remove)
{
	struct bpf_rb_node *node;

	grow();
	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&tree);
	if (node)
		node = bpf_rbtree_remove(&tree, node);
	bpf_spin_unlock(&lock);
	if (node) {
		result.taken = ITEM(node)->key;
		DROP_IMPL(ITEM(node));
	}
	drain();
	return 0;
}

/* Not the first one: with the kfuncs that walk through a tree. */
PROGRAM(remove_root)
{
	struct bpf_rb_node *node;

	grow();
	bpf_spin_lock(&lock);
	node = bpf_rbtree_root(&tree);
	if (node)
		node = bpf_rbtree_remove(&tree, node);
	bpf_spin_unlock(&lock);
	if (node) {
		result.taken = ITEM(node)->key;
		DROP_IMPL(ITEM(node));
	}
	drain();
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

#define UNLOCKED(name, call)                                                                                           \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		result.none = !call(&tree);                                                                            \
		return 0;                                                                                              \
	}

UNLOCKED(first_unlocked, bpf_rbtree_first)
UNLOCKED(root_unlocked, bpf_rbtree_root)

PROGRAM(other_lock)
{
	bpf_spin_lock(&counted_lock);
	result.none = !bpf_rbtree_first(&tree);
	bpf_spin_unlock(&counted_lock);
	return 0;
}

#define UNCHECKED(name, call)                                                                                          \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		bpf_spin_lock(&lock);                                                                                  \
		result.peeked = ITEM(call(&tree))->key;                                                                \
		bpf_spin_unlock(&lock);                                                                                \
		return 0;                                                                                              \
	}

UNCHECKED(first_unchecked, bpf_rbtree_first)
UNCHECKED(root_unchecked, bpf_rbtree_root)

#define AFTER_UNLOCK(name, call)                                                                                       \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_rb_node *node;                                                                              \
                                                                                                                       \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&tree);                                                                                    \
		bpf_spin_unlock(&lock);                                                                                \
		if (node)                                                                                              \
			result.peeked = READ_OF(ITEM(node)->key);                                                      \
		return 0;                                                                                              \
	}

AFTER_UNLOCK(first_after_unlock, bpf_rbtree_first)
AFTER_UNLOCK(root_after_unlock, bpf_rbtree_root)

#define CHILD_OF_NULL(name, call)                                                                                      \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		bpf_spin_lock(&lock);                                                                                  \
		result.none = !call(&tree, bpf_rbtree_first(&tree));                                                   \
		bpf_spin_unlock(&lock);                                                                                \
		return 0;                                                                                              \
	}

CHILD_OF_NULL(left_unchecked, bpf_rbtree_left)
CHILD_OF_NULL(right_unchecked, bpf_rbtree_right)
CHILD_OF_NULL(remove_unchecked, bpf_rbtree_remove)

PROGRAM(remove_leak)
{
	struct bpf_rb_node *node;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&tree);
	if (node)
		result.none = !bpf_rbtree_remove(&tree, node);
	bpf_spin_unlock(&lock);
	return 0;
}

PROGRAM(remove_unlocked)
{
	struct bpf_rb_node *node;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&tree);
	bpf_spin_unlock(&lock);
	if (node)
		bpf_rbtree_remove(&tree, node);
	return 0;
}

/* Of an object that is in no tree, and not counted. */
PROGRAM(remove_owned)
{
	struct item *item = NEW_IMPL(struct item);
	struct bpf_rb_node *node;

	if (!item)
		return 0;
	bpf_spin_lock(&lock);
	node = bpf_rbtree_remove(&tree, &item->node);
	bpf_spin_unlock(&lock);
	result.none = !node;
	if (node)
		DROP_IMPL(ITEM(node));
	DROP_IMPL(item);
	return 0;
}

static _Bool less_changes(struct bpf_rb_node *one, const struct bpf_rb_node *other)
{
	bpf_rbtree_remove(&tree, one);
	return 0;
}

static _Bool less_unlocks(struct bpf_rb_node *one, const struct bpf_rb_node *other)
{
	bpf_spin_unlock(&lock);
	return 0;
}

#define N(name) impl_##name
#define ADD(root, node, less) bpf_rbtree_add_impl(root, node, less, NULL, 0)
#include "rbtrees_programs.h"
#undef N
#undef ADD

#define N(name) name
#define ADD(root, node, less) bpf_rbtree_add(root, node, less)
#include "rbtrees_programs.h"

char _license[] SEC("license") = "GPL";
