# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Who gets which cell: played with hosts of given speed, against a clock of our own."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.fleet import Fleet, FleetHealth, Host
from runner.engine.scheduling import TURN, Job, Node, Pool, TurnScheduling
from runner.guest.interface import Accel

NAMES = ("a", "b", "fast", "slow")


def host(name: str, *, kvm: Sequence[str] = (), tcg: Sequence[str] = (), slots: int | Mapping[str, int] = 1) -> Host:
    accel: dict[str, Accel] = {**dict.fromkeys(kvm, "kvm"), **dict.fromkeys(tcg, "tcg")}
    return Host(name, slots if isinstance(slots, Mapping) else dict.fromkeys(accel, slots), accel)


def pool(jobs: Sequence[Job], *hosts: Host) -> Pool[str]:
    made: Pool[str] = Pool(jobs, FleetHealth(Fleet(hosts)))
    for one in hosts:
        for number in range(one.workers):
            made.join(f"{one.name}-{number}", one.name)
    return made


def run(made: Pool[str], seconds: Mapping[str, float]) -> tuple[float, dict[str, list[str]]]:
    """Play a run: `seconds` is what a host takes for a second of work. When it ended, and what each worker ran."""
    events: list[tuple[float, str, Job]] = []
    ran: dict[str, list[str]] = {}
    now = 0.0
    while True:
        for worker, job in made.assign(now, NAMES).items():
            name = worker.rpartition("-")[0]
            taken = job.seconds(made.hosts[name].accel[job.arch]) * seconds[name]
            heapq.heappush(events, (now + taken, worker, job))
            ran.setdefault(worker, []).append(job.id)
        if not events:
            return now, ran
        began, (now, worker, job) = now, heapq.heappop(events)
        assert now >= began
        name = worker.rpartition("-")[0]
        made.learn(name, job, job.seconds(made.hosts[name].accel[job.arch]) * seconds[name])
        made.done(worker)


def x86(*known_s: float) -> list[Job]:
    return [Job(f"6.{number}-x86_64", "x86_64", {"tcg": taken}) for number, taken in enumerate(known_s)]


def test_the_longest_known_goes_first() -> None:
    ended, ran = run(pool(x86(1, 2, 9, 3, 3), host("a", tcg=["x86_64"], slots=2)), {"a": 1})
    assert ended == 9
    assert ran["a-0"] == ["6.2-x86_64"]


def test_cells_go_only_where_their_architecture_runs() -> None:
    jobs = [Job("1-x86_64", "x86_64"), Job("1-arm64", "arm64"), Job("2-arm64", "arm64")]
    _, ran = run(pool(jobs, host("a", tcg=["x86_64"]), host("b", tcg=["arm64"])), {"a": 1, "b": 1})
    assert ran == {"a-0": ["1-x86_64"], "b-0": ["1-arm64", "2-arm64"]}


def test_kvm_runs_its_own_kind_first_and_the_emulating_host_the_other() -> None:
    jobs = [Job(f"{n}-{arch}", arch) for n in range(3) for arch in ("x86_64", "arm64")]
    _, ran = run(pool(jobs, host("fast", kvm=["x86_64"], tcg=["arm64"]), host("slow", tcg=["x86_64", "arm64"])),
                 {"fast": 1, "slow": 1})  # fmt: skip
    assert ran["fast-0"][:3] == ["0-x86_64", "1-x86_64", "2-x86_64"]
    assert {cell.partition("-")[2] for cell in ran["slow-0"]} == {"arm64"}


def test_a_host_of_half_the_speed_does_not_hold_the_end() -> None:
    """It takes a cell of 10 s in 20 s: with 5 cells the best is 4 on the fast one and 1 on the slow one, 40 s."""
    ended, ran = run(pool(x86(*[10] * 5), host("fast", tcg=["x86_64"]), host("slow", tcg=["x86_64"])),
                     {"fast": 1, "slow": 2})  # fmt: skip
    assert ended <= 40
    assert len(ran["slow-0"]) == 1


@settings(max_examples=30)
@given(
    st.lists(st.floats(5, 60), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([1.0, 2.0, 4.0]),
)
def test_slow_hosts_never_hold_the_end(known_s: list[float], fast: int, slow: int, slowness: float) -> None:
    """The bound is that of the fast hosts alone: the work over their number, and the longest cell."""
    hosts = (host("fast", tcg=["x86_64"], slots=fast), host("slow", tcg=["x86_64"], slots=slow))
    made = pool(x86(*known_s), *hosts)
    made.health.learn("slow", slowness)
    ended, ran = run(made, {"fast": 1, "slow": slowness})
    assert sorted(cell for cells in ran.values() for cell in cells) == sorted(job.id for job in x86(*known_s))
    assert ended <= sum(known_s) / fast + max(known_s) + 1e-6


def test_a_worker_that_waits_for_a_faster_one_is_used_when_that_one_hangs() -> None:
    made = pool(x86(10, 10), host("fast", tcg=["x86_64"]), host("slow", tcg=["x86_64"]))
    made.health.learn("slow", 4.0)
    assert list(made.assign(0.0, NAMES)) == ["fast-0"]
    assert made.assign(11.0, NAMES) == {}  # the fast one is about to be done
    assert list(made.assign(200.0, NAMES)) == ["slow-0"]


def test_slots_are_shared_between_architectures() -> None:
    jobs = [Job(f"{n}-{arch}", arch) for n in range(9) for arch in ("x86_64", "arm64")]
    made = pool(jobs, host("a", kvm=["x86_64"], tcg=["arm64"], slots={"x86_64": 4, "arm64": 2}))
    there = [job.arch for job in made.assign(0.0, NAMES).values()]
    assert there == ["x86_64"] * 4
    for worker in ("a-0", "a-1"):
        made.done(worker)
    made.waiting = {job.id: job for job in jobs if job.arch == "arm64"}
    assert [job.arch for job in made.assign(1.0, NAMES).values()] == [
        "arm64"
    ]  # two quarters are taken, one half is free


def test_a_cell_that_failed_goes_to_another_host_as_long_as_there_is_one() -> None:
    hosts = (host("a", tcg=["x86_64"]), host("b", tcg=["x86_64"]))
    made = pool(x86(10), *hosts)
    made.health.failed("a", "no disk", cell_id="6.0-x86_64")
    assert list(made.assign(0.0, NAMES)) == ["b-0"]
    assert made.leave("b-0") == x86(10)[0]
    made.put_back(x86(10)[0])
    assert made.assign(1.0, NAMES) == {}  # b gets another worker soon
    assert list(made.assign(2.0, ["a"])) == ["a-0"]


def test_a_host_is_set_aside_after_failures_in_a_row_but_never_the_last_one() -> None:
    health = FleetHealth(Fleet((host("a", tcg=["x86_64"]), host("b", tcg=["x86_64"]))))
    assert [health.failed("a", "no qemu") for _ in range(3)] == [False, False, True]
    assert health.aside == {"a": "no qemu"}
    assert not any(health.failed("b", "no qemu") for _ in range(9))


def test_a_host_that_alone_runs_an_architecture_is_not_set_aside() -> None:
    health = FleetHealth(Fleet((host("a", tcg=["x86_64", "arm64"]), host("b", tcg=["x86_64"]))))
    assert not any(health.failed("a", "no qemu") for _ in range(9))
    assert [health.failed("b", "no qemu") for _ in range(3)] == [False, False, True]


def test_what_no_host_can_run_is_known() -> None:
    made = pool([Job("1-arm64", "arm64"), *x86(1)], host("a", tcg=["x86_64"]), host("b", tcg=["arm64"]))
    assert [job.id for job in made.stranded({"a"})] == ["1-arm64"]
    assert made.stranded({"a", "b"}) == ()


# --- turns: xdist's side -------------------------------------------------------------------------------------------


class FakeNode:
    """A worker as xdist shows it. Runs an item only when it knows the next one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True


IDS = ["6.0-x86_64/1", "6.1-x86_64/1", "6.2-x86_64/1"]


def turns(*names: str) -> tuple[TurnScheduling, list[FakeNode]]:
    hosts = [host(name, tcg=["x86_64"]) for name in names]
    made: Pool[Node] = Pool(x86(3, 2, 1), FleetHealth(Fleet(tuple(hosts))))
    nodes = [FakeNode(name) for name in names]
    scheduling = TurnScheduling(IDS, made, lambda node: node.name, lambda: names)  # type: ignore[attr-defined]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, [*IDS, TURN])
        scheduling.schedule()
    return scheduling, nodes


def test_no_cell_waits_behind_another_one() -> None:
    scheduling, (a, b) = turns("a", "b")
    assert (a.queue, b.queue) == ([0, 3], [1, 3])  # the third cell waits for whoever is free first
    scheduling.mark_test_complete(b, b.queue.pop(0))
    assert b.queue == [3, 2, 3]
    assert not scheduling.tests_finished
    scheduling.mark_test_complete(b, b.queue.pop(0))
    scheduling.mark_test_complete(b, b.queue.pop(0))
    scheduling.mark_test_complete(a, a.queue.pop(0))
    assert scheduling.tests_finished


def test_a_dead_worker_loses_the_cell_it_was_at() -> None:
    scheduling, (a, b) = turns("a", "b")
    assert scheduling.remove_node(a) == IDS[0]
    assert scheduling.nodes == [b]
    assert scheduling.has_pending


def test_a_cell_that_had_not_begun_goes_back() -> None:
    scheduling, (a, b) = turns("a", "b")
    scheduling.mark_test_complete(b, b.queue.pop(0))
    assert b.queue == [3, 2, 3]
    assert scheduling.remove_node(b) is None  # it died at the turn
    scheduling.mark_test_complete(a, a.queue.pop(0))
    assert a.queue == [3, 2, 3]


def test_an_idle_worker_dies_without_loss() -> None:
    scheduling, (a, b) = turns("a", "b")
    for node in (b, b, b):
        scheduling.mark_test_complete(node, node.queue.pop(0))
    assert b.queue == [3]
    assert scheduling.remove_node(b) is None
    scheduling.mark_test_complete(a, a.queue.pop(0))
    assert scheduling.tests_finished


def test_a_worker_that_ends_gets_nothing_more() -> None:
    scheduling, (a, b) = turns("a", "b")
    b.shutdown()
    scheduling.mark_test_complete(b, b.queue.pop(0))
    assert b.queue == [3]
    scheduling.mark_test_complete(a, a.queue.pop(0))
    assert a.queue == [3, 2, 3]
