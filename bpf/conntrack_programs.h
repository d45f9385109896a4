/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The programs of one type. T(), CTX, CT_ALLOC ... say which; see conntrack.bpf.c.
 *
 * First those that run, then those that the verifier is expected to refuse.
 */

static __always_inline struct nf_conn___init *T(do_alloc)(CTX *ctx, struct call *call)
{
	__u32 tuple_bytes = tuple_size, opts_bytes = opts_size;

	BOUND(tuple_bytes, call->tuple_mem);
	BOUND(opts_bytes, call->opts_mem);
	return CT_ALLOC(ctx, &call->tuple, tuple_bytes, &call->opts, opts_bytes);
}

static __always_inline struct nf_conn *T(do_lookup)(CTX *ctx, struct call *call)
{
	__u32 tuple_bytes = tuple_size, opts_bytes = opts_size;

	BOUND(tuple_bytes, call->tuple_mem);
	BOUND(opts_bytes, call->opts_mem);
	return CT_LOOKUP(ctx, &call->tuple, tuple_bytes, &call->opts, opts_bytes);
}

/* A new entry, recorded. The caller owns it. */
static __always_inline struct nf_conn___init *T(new_entry)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct call call;

	fill(&call, &opts, 0);
	new = T(do_alloc)(ctx, &call);
	record(&call);
	if (!new)
		return NULL;
	result.acquired = 1;
	result.hz = new->ct.timeout / 10;
	result.new_status = new->ct.status;
	return new;
}

/* The entry that was inserted, found again. The caller owns it. */
static __always_inline struct nf_conn *T(find)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &lookup_opts, lookup_reverse);
	ct = T(do_lookup)(ctx, &call);
	result.lookup_error = call.opts.error;
	result.lookup_dir = call.opts.dir;
	if (!ct)
		return NULL;
	result.found = 1;
	return ct;
}

SECTION int T(alloc)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	bpf_ct_release(ct);
	ct = T(find)(ctx);
	if (!ct)
		return 0;
	result.status = ct->status;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = T(do_lookup)(ctx, &call);
	record(&call);
	if (!ct)
		return 0;
	result.acquired = 1;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(duplicate)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	bpf_ct_release(ct);
	new = T(new_entry)(ctx);
	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted_again = 1;
	bpf_ct_release(ct);
	return 0;
}

/* With nf_conntrack_max=1: the first entry fills the table. IPS_ASSURED keeps it from being dropped for another. */
SECTION int T(full)(CTX *ctx)
{
	struct nf_conn___init *first = T(new_entry)(ctx), *second;
	struct nf_conn *ct;
	struct call call;

	if (!first)
		return 0;
	bpf_ct_set_status(first, IPS_SEEN_REPLY | IPS_ASSURED);
	fill(&call, &opts, 1);
	second = T(do_alloc)(ctx, &call);
	record(&call);
	result.acquired = 0;
	if (second) { /* asked once: the v6.1 verifier forgets the answer, and sees a leak */
		result.acquired = 1;
		ct = bpf_ct_insert_entry(second);
		if (ct)
			bpf_ct_release(ct);
	}
	ct = bpf_ct_insert_entry(first);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(timeout)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	if (set_timeout_ms != SKIP)
		bpf_ct_set_timeout(new, set_timeout_ms);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	result.timeout_ms = timeout_left_ms(ct->timeout);
	if (change_timeout_ms != SKIP) {
		result.change_ret = bpf_ct_change_timeout(ct, change_timeout_ms);
		result.changed_timeout_ms = timeout_left_ms(ct->timeout);
	}
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(status)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	if (set_status != SKIP) {
		result.set_ret = bpf_ct_set_status(new, set_status);
		result.new_status = new->ct.status;
	}
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	if (change_status != SKIP)
		result.change_ret = bpf_ct_change_status(ct, change_status);
	result.status = ct->status;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(mark)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	new->ct.mark = mark;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	bpf_ct_release(ct);
	ct = T(find)(ctx);
	if (!ct)
		return 0;
	result.mark = ct->mark;
	ct->mark = mark + 1;
	bpf_ct_release(ct);
	ct = T(find)(ctx);
	if (!ct)
		return 0;
	result.changed_mark = ct->mark;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(nat)(CTX *ctx)
{
	union nf_inet_addr addr = {};
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	addr.ip = bpf_htonl(nat_addr);
	result.set_ret = bpf_ct_set_nat_info(new, &addr, nat_port, nat_manip);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	result.status = ct->status;
	if (nat_manip == NF_NAT_MANIP_SRC) {
		result.nat_addr = bpf_ntohl(ct->tuplehash[1].tuple.dst.u3.ip);
		result.nat_port = bpf_ntohs(ct->tuplehash[1].tuple.dst.u.all);
	} else {
		result.nat_addr = bpf_ntohl(ct->tuplehash[1].tuple.src.u3.ip);
		result.nat_port = bpf_ntohs(ct->tuplehash[1].tuple.src.u.all);
	}
	bpf_ct_release(ct);
	return 0;
}

/* The kernel may refuse these at load, or answer at run time: which of both is the question. */

SECTION int T(alloc_null_tuple)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = CT_ALLOC(ctx, NULL, null_size, &call.opts, 12);
	record(&call);
	if (!new)
		return 0;
	result.acquired = 1;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(alloc_null_opts)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	result.error = UNTOUCHED;
	new = CT_ALLOC(ctx, &call.tuple, sizeof(call.tuple.ipv4), NULL, null_size);
	if (!new)
		return 0;
	result.acquired = 1;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup_null_tuple)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = CT_LOOKUP(ctx, NULL, null_size, &call.opts, 12);
	record(&call);
	if (!ct)
		return 0;
	result.acquired = 1;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup_null_opts)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	result.error = UNTOUCHED;
	ct = CT_LOOKUP(ctx, &call.tuple, sizeof(call.tuple.ipv4), NULL, null_size);
	if (!ct)
		return 0;
	result.acquired = 1;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(foreign_alloc)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = FOREIGN_ALLOC((FOREIGN_CTX *)ctx, &call.tuple, sizeof(call.tuple.ipv4), &call.opts, 12);
	record(&call);
	if (!new)
		return 0;
	result.acquired = 1;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(foreign_lookup)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = FOREIGN_LOOKUP((FOREIGN_CTX *)ctx, &call.tuple, sizeof(call.tuple.ipv4), &call.opts, 12);
	record(&call);
	if (!ct)
		return 0;
	result.acquired = 1;
	bpf_ct_release(ct);
	return 0;
}

/* Broken on purpose: the verifier should refuse each of these. */

SECTION int T(leak_alloc)(CTX *ctx)
{
	struct call call;

	fill(&call, &opts, 0);
	result.acquired = T(do_alloc)(ctx, &call) != NULL;
	return 0;
}

SECTION int T(leak_lookup)(CTX *ctx)
{
	struct call call;

	fill(&call, &opts, 0);
	result.acquired = T(do_lookup)(ctx, &call) != NULL;
	return 0;
}

SECTION int T(leak_insert)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);

	if (new)
		result.inserted = bpf_ct_insert_entry(new) != NULL;
	return 0;
}

SECTION int T(unchecked_alloc)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = T(do_alloc)(ctx, &call);
	bpf_ct_set_timeout(new, 1000);
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(unchecked_lookup)(CTX *ctx)
{
	struct call call;

	fill(&call, &opts, 0);
	bpf_ct_release(T(do_lookup)(ctx, &call));
	return 0;
}

SECTION int T(unchecked_insert)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);

	if (new)
		bpf_ct_release(bpf_ct_insert_entry(new));
	return 0;
}

SECTION int T(release_new)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);

	if (new)
		bpf_ct_release((struct nf_conn *)new);
	return 0;
}

SECTION int T(release_twice)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (ct) {
		bpf_ct_release(ct);
		bpf_ct_release(ct);
	}
	return 0;
}

SECTION int T(insert_twice)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	bpf_ct_release(ct);
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(insert_inserted)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	ct = bpf_ct_insert_entry((struct nf_conn___init *)ct);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(insert_found)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	ct = bpf_ct_insert_entry((struct nf_conn___init *)ct);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(set_timeout_found)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	bpf_ct_set_timeout((struct nf_conn___init *)ct, 1000);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(set_status_found)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	bpf_ct_set_status((struct nf_conn___init *)ct, IPS_SEEN_REPLY | IPS_ASSURED);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(set_nat_info_found)(CTX *ctx)
{
	union nf_inet_addr addr = {};
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	bpf_ct_set_nat_info((struct nf_conn___init *)ct, &addr, 4242, NF_NAT_MANIP_SRC);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(change_timeout_new)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	bpf_ct_change_timeout((struct nf_conn *)new, 1000);
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(change_status_new)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	bpf_ct_change_status((struct nf_conn *)new, IPS_SEEN_REPLY | IPS_ASSURED);
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(write_status)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	ct->status = IPS_SEEN_REPLY | IPS_ASSURED;
	bpf_ct_release(ct);
	return 0;
}
