/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Programs of lists.bpf.c that push. First those that run, then those that the verifier is expected to refuse. */

#define PUSH(name, call)                                                                                               \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		for (int key = 1; key <= 3; key++) {                                                                   \
			struct item *item = NEW_IMPL(struct item);                                                     \
                                                                                                                       \
			if (!item)                                                                                     \
				break;                                                                                 \
			item->key = key;                                                                               \
			bpf_spin_lock(&lock);                                                                          \
			result.ret = call(&list, &item->node);                                                         \
			bpf_spin_unlock(&lock);                                                                        \
		}                                                                                                      \
		drain();                                                                                               \
		return 0;                                                                                              \
	}

/* Pushed twice: that takes a second reference. */
#define PUSH_TWICE(name, call)                                                                                         \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		struct counted *one = NEW_IMPL(struct counted), *other;                                                \
		struct bpf_list_node *node;                                                                            \
                                                                                                                       \
		if (!one)                                                                                              \
			return 0;                                                                                      \
		one->key = 5;                                                                                          \
		other = SHARE_IMPL(one);                                                                               \
		bpf_spin_lock(&counted_lock);                                                                          \
		result.ret = call(&counted_list, &one->node);                                                          \
		bpf_spin_unlock(&counted_lock);                                                                        \
		if (!other)                                                                                            \
			return 0;                                                                                      \
		bpf_spin_lock(&counted_lock);                                                                          \
		result.again_ret = call(&counted_list, &other->node);                                                  \
		bpf_spin_unlock(&counted_lock);                                                                        \
		bpf_spin_lock(&counted_lock);                                                                          \
		node = bpf_list_pop_front(&counted_list);                                                              \
		bpf_spin_unlock(&counted_lock);                                                                        \
		if (!node)                                                                                             \
			return 0;                                                                                      \
		result.taken = CONTAINER(node, struct counted, node)->key;                                             \
		DROP_IMPL(CONTAINER(node, struct counted, node));                                                      \
		return 0;                                                                                              \
	}

#define PUSH_UNLOCKED(name, call)                                                                                      \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		struct item *item = NEW_IMPL(struct item);                                                             \
                                                                                                                       \
		if (item)                                                                                              \
			result.ret = call(&list, &item->node);                                                         \
		return 0;                                                                                              \
	}

#define PUSH_OTHER_TYPE(name, call)                                                                                    \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		struct counted *item = NEW_IMPL(struct counted);                                                       \
                                                                                                                       \
		if (!item)                                                                                             \
			return 0;                                                                                      \
		bpf_spin_lock(&lock);                                                                                  \
		result.ret = call(&list, &item->node);                                                                 \
		bpf_spin_unlock(&lock);                                                                                \
		return 0;                                                                                              \
	}

/* What was pushed belongs to the list. */
#define PUSH_AND(name, call, more)                                                                                     \
	PROGRAM(N(name))                                                                                               \
	{                                                                                                              \
		struct item *item = NEW_IMPL(struct item);                                                             \
                                                                                                                       \
		if (!item)                                                                                             \
			return 0;                                                                                      \
		bpf_spin_lock(&lock);                                                                                  \
		result.ret = call(&list, &item->node);                                                                 \
		bpf_spin_unlock(&lock);                                                                                \
		more;                                                                                                  \
		return 0;                                                                                              \
	}

PUSH(push_front, PUSH_FRONT)
PUSH(push_back, PUSH_BACK)
PUSH_TWICE(push_front_twice, PUSH_FRONT)
PUSH_TWICE(push_back_twice, PUSH_BACK)
PUSH_UNLOCKED(push_front_unlocked, PUSH_FRONT)
PUSH_UNLOCKED(push_back_unlocked, PUSH_BACK)
PUSH_OTHER_TYPE(push_front_other_type, PUSH_FRONT)
PUSH_OTHER_TYPE(push_back_other_type, PUSH_BACK)
PUSH_AND(push_front_use, PUSH_FRONT, result.peeked = READ_OF(item->key))
PUSH_AND(push_back_use, PUSH_BACK, result.peeked = READ_OF(item->key))
PUSH_AND(push_front_drop, PUSH_FRONT, DROP_IMPL(item))
PUSH_AND(push_back_drop, PUSH_BACK, DROP_IMPL(item))

#undef PUSH
#undef PUSH_TWICE
#undef PUSH_UNLOCKED
#undef PUSH_OTHER_TYPE
#undef PUSH_AND
