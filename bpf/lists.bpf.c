// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

/* Programs that keep objects in a list: what lists.yaml asks about.
 *
 * Every program leaves the lists empty. Those in lists_programs.h are there once for each of the names that a kfunc has.
 */
#include "program.h"
#include "graph.h"

struct item {
	__u64 key;
	struct bpf_list_node node;
};

struct counted {
	__u64 key;
	struct bpf_list_node node;
	struct bpf_refcount count;
};

KFUNC(int, bpf_list_push_front_impl, (struct bpf_list_head *head, struct bpf_list_node *node, void *meta,
      __u64 offset))
KFUNC(int, bpf_list_push_back_impl, (struct bpf_list_head *head, struct bpf_list_node *node, void *meta,
      __u64 offset))
KFUNC(int, bpf_list_push_front, (struct bpf_list_head *head, struct bpf_list_node *node))
KFUNC(int, bpf_list_push_back, (struct bpf_list_head *head, struct bpf_list_node *node))
KFUNC(struct bpf_list_node *, bpf_list_pop_front, (struct bpf_list_head *head))
KFUNC(struct bpf_list_node *, bpf_list_pop_back, (struct bpf_list_head *head))
KFUNC(struct bpf_list_node *, bpf_list_front, (struct bpf_list_head *head))
KFUNC(struct bpf_list_node *, bpf_list_back, (struct bpf_list_head *head))
KFUNC(int, bpf_list_add, (struct bpf_list_head *head, struct bpf_list_node *node, struct bpf_list_node *after))
KFUNC(struct bpf_list_node *, bpf_list_del, (struct bpf_list_head *head, struct bpf_list_node *node))
/* These return a bool, of which x86_64 sets the lowest byte alone; clang 14 takes the others for 0 if it is told. */
KFUNC(int, bpf_list_empty, (struct bpf_list_head *head))
KFUNC(int, bpf_list_is_first, (struct bpf_list_head *head, struct bpf_list_node *node))
KFUNC(int, bpf_list_is_last, (struct bpf_list_head *head, struct bpf_list_node *node))

PRIVATE(items) struct bpf_spin_lock lock;
PRIVATE(items) struct bpf_list_head list CONTAINS(item, node);
PRIVATE(counted) struct bpf_spin_lock counted_lock;
PRIVATE(counted) struct bpf_list_head counted_list CONTAINS(counted, node);

/* Inputs. */
__u32 flow = 0;

/* Results. */
struct {
	__u64 order; /* the keys of the list as digits, from its front */
	__u64 peeked; /* the key that was looked at in the list */
	__u64 taken; /* the key that was taken out */
	__s32 ret;
	__s32 again_ret; /* of a second call */
	__u32 none; /* NULL was returned */
	__u32 said; /* what was returned is true */
	__u32 before; /* ... of the same question before */
} result = { .ret = UNTOUCHED, .again_ret = UNTOUCHED, .said = UNTOUCHED, .before = UNTOUCHED };

#define ITEM(of) CONTAINER(of, struct item, node)

/* Take everything out, from the front. */
static __always_inline void drain(void)
{
	for (int i = 0; i < 4; i++) {
		struct bpf_list_node *node;

		bpf_spin_lock(&lock);
		node = bpf_list_pop_front(&list);
		bpf_spin_unlock(&lock);
		if (!node)
			return;
		result.order = result.order * 10 + ITEM(node)->key;
		DROP_IMPL(ITEM(node));
	}
}

static __always_inline void push(__u64 key)
{
	struct item *item = NEW_IMPL(struct item);

	if (!item)
		return;
	item->key = key;
	bpf_spin_lock(&lock);
	bpf_list_push_back_impl(&list, &item->node, NULL, 0);
	bpf_spin_unlock(&lock);
}

static __always_inline void push_three(void)
{
	for (int key = 1; key <= 3; key++)
		push(key);
}

PROGRAM(pop_front)
{
	push_three();
	drain();
	return 0;
}

PROGRAM(pop_back)
{
	push_three();
	for (int i = 0; i < 4; i++) {
		struct bpf_list_node *node;

		bpf_spin_lock(&lock);
		node = bpf_list_pop_back(&list);
		bpf_spin_unlock(&lock);
		if (!node)
			return 0;
		result.order = result.order * 10 + ITEM(node)->key;
		DROP_IMPL(ITEM(node));
	}
	return 0;
}

#define ON_EMPTY(name, call)                                                                                           \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&list);                                                                                    \
		bpf_spin_unlock(&lock);                                                                                \
		result.none = !node;                                                                                   \
		if (node)                                                                                              \
			DROP_IMPL(ITEM(node));                                                                         \
		push_three();                                                                                          \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

ON_EMPTY(pop_front_empty, bpf_list_pop_front)
ON_EMPTY(pop_back_empty, bpf_list_pop_back)

#define PEEK(name, call)                                                                                               \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&list);                                                                                    \
		result.none = !node;                                                                                   \
		bpf_spin_unlock(&lock);                                                                                \
		push_three();                                                                                          \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&list);                                                                                    \
		if (node)                                                                                              \
			result.peeked = ITEM(node)->key;                                                               \
		bpf_spin_unlock(&lock);                                                                                \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

PEEK(front, bpf_list_front)
PEEK(back, bpf_list_back)

PROGRAM(add)
{
	struct item *item = NEW_IMPL(struct item);
	struct bpf_list_node *node;

	if (!item)
		return 0;
	item->key = 7;
	push_three();
	bpf_spin_lock(&lock);
	node = bpf_list_front(&list);
	if (!node) {
		bpf_spin_unlock(&lock);
		DROP_IMPL(item);
		return 0;
	}
	result.ret = bpf_list_add(&list, &item->node, node);
	bpf_spin_unlock(&lock);
	drain();
	return 0;
}

#define DEL(name, which)                                                                                               \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		push_three();                                                                                          \
		bpf_spin_lock(&lock);                                                                                  \
		node = which(&list);                                                                                   \
		if (node)                                                                                              \
			node = bpf_list_del(&list, node);                                                              \
		bpf_spin_unlock(&lock);                                                                                \
		if (node) {                                                                                            \
			result.taken = ITEM(node)->key;                                                                \
			DROP_IMPL(ITEM(node));                                                                         \
		}                                                                                                      \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

DEL(del_front, bpf_list_front)
DEL(del_back, bpf_list_back)

PROGRAM(empty)
{
	bpf_spin_lock(&lock);
	result.before = (__u8)bpf_list_empty(&list);
	bpf_spin_unlock(&lock);
	push_three();
	bpf_spin_lock(&lock);
	result.said = (__u8)bpf_list_empty(&list);
	bpf_spin_unlock(&lock);
	drain();
	return 0;
}

#define IS(name, call, which, other)                                                                                   \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		push_three();                                                                                          \
		bpf_spin_lock(&lock);                                                                                  \
		node = which(&list);                                                                                   \
		if (node)                                                                                              \
			result.said = (__u8)call(&list, node);                                                                \
		node = other(&list);                                                                                   \
		if (node)                                                                                              \
			result.before = (__u8)call(&list, node);                                                             \
		bpf_spin_unlock(&lock);                                                                                \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

IS(is_first, bpf_list_is_first, bpf_list_front, bpf_list_back)
IS(is_last, bpf_list_is_last, bpf_list_back, bpf_list_front)

/* A node that is in no list: an owned one may be passed where a node of the list is meant. */
PROGRAM(not_in_list)
{
	struct counted *one = NEW_IMPL(struct counted), *other;

	if (!one)
		return 0;
	bpf_spin_lock(&counted_lock);
	result.said = (__u8)bpf_list_is_first(&counted_list, &one->node);
	bpf_spin_unlock(&counted_lock);
	other = NEW_IMPL(struct counted);
	if (!other) {
		DROP_IMPL(one);
		return 0;
	}
	bpf_spin_lock(&counted_lock);
	result.ret = bpf_list_add(&counted_list, &other->node, &one->node);
	bpf_spin_unlock(&counted_lock);
	DROP_IMPL(one);
	return 0;
}

/* --- refused ------------------------------------------------------------------------------------------------------- */

#define UNLOCKED(name, call)                                                                                           \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node = call(&list);                                                              \
                                                                                                                       \
		if (node)                                                                                              \
			DROP_IMPL(ITEM(node));                                                                         \
		return 0;                                                                                              \
	}

UNLOCKED(pop_front_unlocked, bpf_list_pop_front)
UNLOCKED(pop_back_unlocked, bpf_list_pop_back)
UNLOCKED(front_unlocked, bpf_list_front)
UNLOCKED(back_unlocked, bpf_list_back)

PROGRAM(empty_unlocked)
{
	result.said = (__u8)bpf_list_empty(&list);
	return 0;
}

PROGRAM(other_lock)
{
	struct bpf_list_node *node;

	bpf_spin_lock(&counted_lock);
	node = bpf_list_pop_front(&list);
	bpf_spin_unlock(&counted_lock);
	if (node)
		DROP_IMPL(ITEM(node));
	return 0;
}

#define LEAK(name, call)                                                                                               \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		bpf_spin_lock(&lock);                                                                                  \
		result.none = !call(&list);                                                                            \
		bpf_spin_unlock(&lock);                                                                                \
		return 0;                                                                                              \
	}

LEAK(pop_front_leak, bpf_list_pop_front)
LEAK(pop_back_leak, bpf_list_pop_back)

#define UNCHECKED(name, call)                                                                                          \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		bpf_spin_lock(&lock);                                                                                  \
		result.peeked = ITEM(call(&list))->key;                                                                \
		bpf_spin_unlock(&lock);                                                                                \
		return 0;                                                                                              \
	}

UNCHECKED(front_unchecked, bpf_list_front)
UNCHECKED(back_unchecked, bpf_list_back)

/* A look into the list ends with the lock. */
#define AFTER_UNLOCK(name, call)                                                                                       \
	PROGRAM(name)                                                                                                  \
	{                                                                                                              \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		bpf_spin_lock(&lock);                                                                                  \
		node = call(&list);                                                                                    \
		bpf_spin_unlock(&lock);                                                                                \
		if (node)                                                                                              \
			result.peeked = READ_OF(ITEM(node)->key);                                                      \
		return 0;                                                                                              \
	}

AFTER_UNLOCK(front_after_unlock, bpf_list_front)
AFTER_UNLOCK(back_after_unlock, bpf_list_back)

PROGRAM(del_leak)
{
	struct bpf_list_node *node;

	bpf_spin_lock(&lock);
	node = bpf_list_front(&list);
	if (node)
		result.none = !bpf_list_del(&list, node);
	bpf_spin_unlock(&lock);
	return 0;
}

#define N(name) impl_##name
#define NEW NEW_IMPL
#define DROP DROP_IMPL
#define SHARE SHARE_IMPL
#define PUSH_FRONT(head, node) bpf_list_push_front_impl(head, node, NULL, 0)
#define PUSH_BACK(head, node) bpf_list_push_back_impl(head, node, NULL, 0)
#include "lists_programs.h"
#undef N
#undef PUSH_FRONT
#undef PUSH_BACK

#define N(name) name
#define PUSH_FRONT(head, node) bpf_list_push_front(head, node)
#define PUSH_BACK(head, node) bpf_list_push_back(head, node)
#include "lists_programs.h"

char _license[] SEC("license") = "GPL";
