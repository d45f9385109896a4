/* SPDX-FileCopyrightText: 2026 The kfunc-runner authors */
/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finer questions: which bytes are written, zones by direction, dying entries, both translations at once, and what else
 * the verifier should refuse. Included once per program type, after conntrack_programs.h.
 */

SECTION int T(alloc_bytes)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = T(do_alloc)(ctx, &call);
	record(&call);
	record_outside(&call);
	if (!new)
		return 0;
	result.acquired = 1;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup_bytes)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = T(do_lookup)(ctx, &call);
	record(&call);
	record_outside(&call);
	if (!ct)
		return 0;
	result.acquired = 1;
	bpf_ct_release(ct);
	return 0;
}

/* Is the entry found by a lookup whose zone counts for `zone_dir`? */
static __always_inline int T(found_by)(CTX *ctx, struct call *call, __u32 zone_dir, __u32 reverse)
{
	struct nf_conn *ct;

	fill(call, &lookup_opts, reverse);
	call->opts.ct_zone_dir = zone_dir;
	ct = T(do_lookup)(ctx, call);
	if (!ct)
		return 0;
	bpf_ct_release(ct);
	return 1;
}

SECTION int T(zone_dirs)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;
	struct call call;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	bpf_ct_release(ct);
#pragma unroll
	for (int dir = 0; dir < 5; dir++) {
		result.found_dirs |= T(found_by)(ctx, &call, dir, 0) << dir;
		result.found_reply_dirs |= T(found_by)(ctx, &call, dir, 1) << dir;
	}
	return 0;
}

/* An entry whose time is over is taken out of the table by the lookup that meets it; we still hold it. */
SECTION int T(dying)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct, *again;
	struct call call;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	result.set_ret = bpf_ct_change_timeout(ct, 0);
	fill(&call, &lookup_opts, 0);
	again = T(do_lookup)(ctx, &call);
	result.lookup_error = call.opts.error;
	if (again) {
		result.found = 1;
		bpf_ct_release(again);
	}
	result.change_ret = bpf_ct_change_timeout(ct, 60000);
	result.status = ct->status;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(fixed)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	result.set_ret = bpf_ct_set_status(new, set_status);
	bpf_ct_set_timeout(new, set_timeout_ms);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	result.change_ret = bpf_ct_change_timeout(ct, change_timeout_ms);
	result.changed_timeout_ms = timeout_left_ms(ct->timeout);
	bpf_ct_release(ct);
	return 0;
}

/* What the kernel's own test does: both translations, then a status that names none of them. */
SECTION int T(nat_both)(CTX *ctx)
{
	union nf_inet_addr addr = {};
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	addr.ip = bpf_htonl(nat_addr);
	result.set_ret = bpf_ct_set_nat_info(new, &addr, nat_port, NF_NAT_MANIP_SRC);
	addr.ip = bpf_htonl(0x0c000000 + flow); /* the reply tuple must be another one in every question */
	result.set_again_ret = bpf_ct_set_nat_info(new, &addr, nat_port + 1, NF_NAT_MANIP_DST);
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	result.inserted = 1;
	result.nat_addr = bpf_ntohl(ct->tuplehash[1].tuple.dst.u3.ip);
	result.nat_port = bpf_ntohs(ct->tuplehash[1].tuple.dst.u.all);
	result.nat_other_addr = bpf_ntohl(ct->tuplehash[1].tuple.src.u3.ip) - flow;
	result.nat_other_port = bpf_ntohs(ct->tuplehash[1].tuple.src.u.all);
	if (change_status != SKIP)
		result.change_ret = bpf_ct_change_status(ct, change_status);
	result.status = ct->status;
	bpf_ct_release(ct);
	return 0;
}

/* Broken on purpose. */

SECTION int T(alloc_readonly_opts)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = CT_ALLOC(ctx, &call.tuple, sizeof(call.tuple.ipv4), (struct bpf_ct_opts *)&readonly_opts, 12);
	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup_readonly_opts)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = CT_LOOKUP(ctx, &call.tuple, sizeof(call.tuple.ipv4), (struct bpf_ct_opts *)&readonly_opts, 12);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(alloc_null_context)(CTX *ctx)
{
	struct nf_conn___init *new;
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	new = CT_ALLOC(NULL, &call.tuple, sizeof(call.tuple.ipv4), &call.opts, 12);
	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(lookup_null_context)(CTX *ctx)
{
	struct nf_conn *ct;
	struct call call;

	fill(&call, &opts, 0);
	ct = CT_LOOKUP(NULL, &call.tuple, sizeof(call.tuple.ipv4), &call.opts, 12);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}

SECTION int T(release_context)(CTX *ctx)
{
	bpf_ct_release((struct nf_conn *)ctx);
	return 0;
}

SECTION int T(release_null)(CTX *ctx)
{
	bpf_ct_release(NULL);
	return 0;
}

SECTION int T(set_timeout_inserted)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	bpf_ct_set_timeout((struct nf_conn___init *)ct, 1000);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(set_status_inserted)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	bpf_ct_set_status((struct nf_conn___init *)ct, IPS_SEEN_REPLY | IPS_ASSURED);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(set_nat_info_inserted)(CTX *ctx)
{
	union nf_inet_addr addr = {};
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	ct = bpf_ct_insert_entry(new);
	if (!ct)
		return 0;
	bpf_ct_set_nat_info((struct nf_conn___init *)ct, &addr, 4242, NF_NAT_MANIP_SRC);
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(mark_wide)(CTX *ctx)
{
	struct nf_conn *ct = T(find)(ctx);

	if (!ct)
		return 0;
	*(__u64 *)__builtin_preserve_access_index(&ct->mark) = 1;
	bpf_ct_release(ct);
	return 0;
}

SECTION int T(write_timeout_new)(CTX *ctx)
{
	struct nf_conn___init *new = T(new_entry)(ctx);
	struct nf_conn *ct;

	if (!new)
		return 0;
	new->ct.timeout = 1000;
	ct = bpf_ct_insert_entry(new);
	if (ct)
		bpf_ct_release(ct);
	return 0;
}
