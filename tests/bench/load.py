# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What `runner load` costs: an object of twenty programs over the boot of its cell; each alone over all together."""

from __future__ import annotations

import re
import statistics
import tempfile
from functools import cache
from pathlib import Path

from runner.caches import cache_root
from runner.engine.cellrun import run_cell
from runner.engine.fleet import this_machine
from runner.engine.plan import cell_orders, payloads
from runner.model import Outcome
from runner.model.deadline import Deadline
from runner.probes import Expectations, compile_program
from runner.probes.objects.written import ObjectEntry
from tests.bench.boot import cells
from tests.bench.measure import Figure

ROUNDS = 3
LIMIT_S = 600
PROGRAMS = 20
BEGUN = re.compile(r"\[ *(?P<at_s>\d+\.\d+)\][^\n]*runner: begin (?P<probe>\w+)")  # in the guest's own time
_HEAD = """\
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64); __uint(max_entries, 64); } \
counts SEC(".maps");
char LICENSE[] SEC("license") = "GPL";
"""
_PROGRAM = """
SEC("xdp") int program_{number}(struct xdp_md *xdp)
{{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 key = {number};

	if ((void *)(tcp + 1) > end || ip->protocol != 6)
		return XDP_PASS;
	for (int i = 0; i < 16; i++)
		if (data + i + 1 <= end)
			key += *(__u8 *)(data + i);
	__u64 *count = bpf_map_lookup_elem(&counts, &key), one = 1;
	if (count)
		*count += tcp->seq;
	else
		bpf_map_update_elem(&counts, &key, &one, BPF_ANY);
	return XDP_DROP;
}}
"""
_REFUSED = 'SEC("xdp") int refused(struct xdp_md *xdp) { return *(char *)(long)xdp->data; }\n'


def load_ratio() -> Figure:
    """All programs load: the seconds of the probe, over those of the boot."""
    boot, together, _ = _measured()
    how = f"{together:.2f} s for an object of {PROGRAMS} programs over {boot:.2f} s of boot, tcg, {ROUNDS} rounds"
    return Figure(together / boot, "x", how, at_most=0.2)


def alone_ratio() -> Figure:
    """One of them does not: each alone, over all together."""
    _, together, alone = _measured()
    how = f"{alone:.2f} s alone, one of them refused, over {together:.2f} s together, tcg, {ROUNDS} rounds"
    return Figure(alone / together, "x", how, at_most=2)


@cache
def _measured() -> tuple[float, ...]:
    """Seconds: boot, all programs together, each alone; the guest's first has what is read once. Medians."""
    with tempfile.TemporaryDirectory(dir=cache_root()) as name:
        rounds = [_round(Path(name)) for _ in range(ROUNDS)]
    return tuple(statistics.median(column) for column in zip(*rounds, strict=True))


def _round(folder: Path) -> tuple[float, ...]:
    cell = next(cell for cell in cells() if cell.arch == "x86_64" and cell.name == "6.12")
    limit = Deadline.after(LIMIT_S, "the bench's limit")
    expectations = Expectations.load(Path(), [ObjectEntry(object=str(it)) for it in _objects(folder, limit)])
    cell = cell.model_copy(update={"probes": tuple(file.name for file in expectations.files)})
    (order,) = cell_orders((cell,), expectations)
    asks = {ask.probe: ask for ask in order.asks}
    alone = asks["broken"].model_copy(update={"skip": ("@together",)})
    end = asks["whole"].model_copy(update={"probe": "end"})  # where it begins, the one before it has ended
    order = order.model_copy(update={"asks": (asks["whole"], alone, end)})
    payload = payloads((cell,), expectations, cache=cache_root(), offline=False, deadline=limit)["little"]
    result = run_cell(order, payload, this_machine(offline=False), folder, lambda phase, note: None)
    loaded = sum(it.body.get("errno") == 0 for it in result.answers)
    if result.outcome is not Outcome.RAN or loaded != 3 * PROGRAMS + 5:  # the maps, and two of all together
        raise RuntimeError(f"{cell.id}: {result.outcome}: {result.cause}; {loaded} answers are that it loads")
    begun = {found["probe"]: float(found["at_s"]) for found in BEGUN.finditer(result.console)}
    if result.timings.boot_s is None or begun.keys() != {"whole", "broken", "end"}:
        raise RuntimeError(f"{cell.id} was not booted, or its console does not show when probes begin: {begun}")
    return result.timings.boot_s, begun["broken"] - begun["whole"], begun["end"] - begun["broken"]


def _objects(folder: Path, limit: Deadline) -> list[Path]:
    """One of which every program loads, and the same with one in its middle that does not."""
    programs = [_PROGRAM.format(number=number) for number in range(PROGRAMS)]
    sources = {"whole": programs, "broken": [*programs[: PROGRAMS // 2], _REFUSED, *programs[PROGRAMS // 2 :]]}
    for name, parts in sources.items():
        source = folder / f"{name}.bpf.c"
        source.write_text(_HEAD + "".join(parts))
        compile_program(source, ["x86_64"], folder, deadline=limit)
    return [folder / "x86_64" / f"{name}.bpf.o" for name in sources]
