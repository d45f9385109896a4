/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The programs of one type. T(), CTX, PASS ... say which; see traffic.bpf.c. */

static __always_inline int T(ours)(CTX *ctx, struct call *call)
{
	if (!parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, call))
		return 0;
	result.packets++;
	return 1;
}

static __always_inline struct nf_conn *T(find)(CTX *ctx, struct call *call)
{
	struct nf_conn *ct;

	ct = CT_LOOKUP(ctx, &call->tuple, sizeof(call->tuple.ipv4), &call->opts, known_size());
	if (!ct) { /* asked once: the v6.1 verifier forgets the answer, and sees a leak */
		if (result.packets == 1)
			result.first_error = call->opts.error;
		return NULL;
	}
	result.found++;
	result.dir = call->opts.dir;
	return ct;
}

static __always_inline struct nf_conn___init *T(new_entry)(CTX *ctx, struct call *call)
{
	struct nf_conn___init *new;

	new = CT_ALLOC(ctx, &call->tuple, sizeof(call->tuple.ipv4), &call->opts, known_size());
	if (!new) {
		result.first_error = call->opts.error;
		return NULL;
	}
	return new;
}

/* For the first packet an entry is made; for each further one it is looked up and changed. */
SECTION int T(make)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	if (!T(ours)(ctx, &call))
		return PASS;
	if (result.packets > 1) {
		ct = T(find)(ctx, &call);
		if (!ct)
			return PASS;
		if (change_timeout_ms != SKIP)
			result.change_ret = bpf_ct_change_timeout(ct, change_timeout_ms);
		if (add_status != SKIP)
			result.change_status_ret = bpf_ct_change_status(ct, ct->status | add_status);
		bpf_ct_release(ct);
		return PASS;
	}
	new = T(new_entry)(ctx, &call);
	if (!new)
		return PASS;
	if (set_timeout_ms != SKIP)
		bpf_ct_set_timeout(new, set_timeout_ms);
	if (set_status != SKIP)
		result.set_ret = bpf_ct_set_status(new, set_status);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return PASS;
	result.inserted = 1;
	bpf_ct_release(ct);
	return PASS;
}

/* For the first packet an entry with a mark is made. */
SECTION int T(make_mark)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	if (!T(ours)(ctx, &call) || result.packets > 1)
		return PASS;
	new = T(new_entry)(ctx, &call);
	if (!new)
		return PASS;
	new->ct.mark = mark;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return PASS;
	result.inserted = 1;
	bpf_ct_release(ct);
	return PASS;
}

/* For the first packet an entry with a translated address is made. */
SECTION int T(make_nat)(CTX *ctx)
{
	union nf_inet_addr addr = {};
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	if (!T(ours)(ctx, &call) || result.packets > 1)
		return PASS;
	new = T(new_entry)(ctx, &call);
	if (!new)
		return PASS;
	addr.ip = bpf_htonl(nat_addr);
	result.nat_ret = bpf_ct_set_nat_info(new, &addr, nat_port + (nat_own_port ? flow : 0), nat_manip);
	if (set_timeout_ms != SKIP)
		bpf_ct_set_timeout(new, set_timeout_ms);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return PASS;
	result.inserted = 1;
	bpf_ct_release(ct);
	return PASS;
}

/* The kernel's own entry, looked up for each packet and changed; there is none for the first. */
SECTION int T(change)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	if (!T(ours)(ctx, &call))
		return PASS;
	ct = T(find)(ctx, &call);
	if (!ct)
		return PASS;
	if (change_timeout_ms != SKIP)
		result.change_ret = bpf_ct_change_timeout(ct, change_timeout_ms);
	if (add_status != SKIP)
		result.change_status_ret = bpf_ct_change_status(ct, ct->status | add_status);
	bpf_ct_release(ct);
	return PASS;
}

/* The kernel's own entry, marked. */
SECTION int T(change_mark)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	if (!T(ours)(ctx, &call))
		return PASS;
	ct = T(find)(ctx, &call);
	if (!ct)
		return PASS;
	ct->mark = mark;
	bpf_ct_release(ct);
	return PASS;
}
