"""Workers that die and executors that give up or close: what was done stays, the rest is named."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from backprop_properties.verification import run as verification
from backprop_properties.verification import workers
from backprop_properties.verification.findings import Outcome

# ── Processes of our own ────────────────────────────────────────────────────────────────────────────────────────────


def killed_on_three(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return -task


def ended_on_three(task: int) -> int:
    if task == 3:
        os._exit(7)
    return -task


def ended_by_signal_40(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), 40)
    return -task


@pytest.mark.parametrize(
    ("work", "how"),
    [(killed_on_three, "SIGKILL"), (ended_on_three, "exit code 7"), (ended_by_signal_40, "signal 40")],
)
def test_workers_that_died_are_counted_and_what_they_tried_is_named(work: Callable[[int], int], how: str) -> None:
    notes: list[str] = []
    found = dict(workers.done(work, range(8), 2, None, notes, "task {}".format))
    assert found == {k: -k for k in range(8) if k != 3}
    assert notes == [
        f"worker processes died and were replaced: 3 by {how}; they were trying task 3",
        "left undone, since 3 workers died at each: task 3",
    ]


def die() -> None:
    os._exit(1)


def test_workers_of_which_none_can_begin_are_not_replaced_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "keep_compiled_programs", die)
    notes: list[str] = []
    assert not list(workers.done(abs, range(100, 120), 2, None, notes))
    assert "6 by exit code 1" in notes[0]
    assert notes[-1].startswith("left undone, since 6 workers died in a row: 1")
    assert notes[-1].endswith(" and 12 more")


def raising(task: int) -> int:
    return 1 // task


def test_what_a_task_raises_is_raised_here_with_the_traceback_of_its_worker() -> None:
    for executor in (None, Inline({})):
        with pytest.raises(ZeroDivisionError) as raised:
            list(workers.done(raising, [1, 0], 2, executor, []))
        assert "return 1 // task" in raised.value.__notes__[0]


# ── An executor of somebody's ───────────────────────────────────────────────────────────────────────────────────────


class KilledWorker(Exception):
    """As `distributed` names it: of no class that we know."""


class Inline(Executor):
    """Does each task at once, but for those that `ends` ends in another way."""

    def __init__(self, ends: dict[int, Callable[[Future[Any]], object]]) -> None:
        self.ends = ends

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future = Future[Any]()
        if args[0] in self.ends:
            self.ends[args[0]](future)
        else:
            future.set_result(work(*args))
        return future


def killed(future: Future[Any]) -> None:
    future.set_exception(KilledWorker("its workers died\nfour times"))


def test_a_task_that_an_executor_gives_up_is_named_and_all_others_are_done() -> None:
    notes: list[str] = []
    found = dict(workers.done(abs, range(8), 2, Inline({3: killed, 5: killed}), notes, "task {}".format))
    assert found == {k: k for k in range(8) if k not in (3, 5)}
    assert notes == ["given up by the executor: task 3, task 5; KilledWorker: its workers died"]


def test_what_an_executor_cancels_is_left_undone_and_what_it_has_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "UNDER_WAY", 4)
    notes: list[str] = []
    found = dict(workers.done(abs, range(8), 2, Inline({1: Future.cancel, 2: Future.cancel}), notes))
    assert found == {k: k for k in (0, 3, 4)}
    assert notes == ["the executor came to an end: it cancelled what was under way; left undone: 1, 2, 5, 6, 7"]


def test_an_executor_that_takes_no_more_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(future: Future[Any]) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    notes: list[str] = []
    assert dict(workers.done(abs, range(4), 2, Inline({2: refuse}), notes)) == {0: 0, 1: 1}
    assert "after shutdown; left undone: 2, 3" in notes[0]


def test_an_executor_that_is_silent_is_given_up() -> None:
    notes: list[str] = []
    found = dict(workers.done(abs, range(4), 2, Inline({2: lambda future: None}), notes, patience=0.2))
    assert found == {0: 0, 1: 1, 3: 3}
    assert notes == ["the executor came to an end: nothing came back within 0.2 s; left undone: 2"]


def test_a_run_on_an_executor_that_closes_reports_what_was_found() -> None:
    class Closing(Inline):
        def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
            self.ends = {args[0]: Future.cancel} if args[0].name == "dot" else {}
            return super().submit(work, *args, **options)

    report = verification.verify(["dot", "add"], examples=5, executor=Closing({}))
    assert [outcome.operation for outcome in report.outcomes] == ["add"]
    assert report.unfinished == ["dot"]
    assert not report.passed
    assert "left undone: dot" in report.notes[0]


# ── A cluster of dask ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cluster() -> Any:
    """A scheduler here with two workers, and a client of it; both may be closed already in the end."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.exhaustive
def test_a_task_that_kills_four_workers_of_a_cluster_loses_nothing_else(cluster: Any) -> None:
    notes: list[str] = []
    tasks = ["-1", "__import__('os')._exit(1)", *map(str, range(6))]
    found = dict(workers.done(eval, tasks, 2, cluster.get_executor(), notes))
    assert tasks[1] not in found
    assert all(value == int(task) for task, value in found.items())
    assert "given up by the executor" in notes[0]
    assert "KilledWorker" in notes[0]
    assert all(task in found or task in notes[0] for task in tasks)  # beside it one may be unlucky four times


def checked_in_part(report: verification.Run, names: list[str]) -> None:
    """Everything is in the report: either as it is found without a cluster, or named as not done."""
    alone = {outcome.operation: outcome for outcome in verification.verify(names, examples=10, jobs=1).outcomes}
    for outcome in report.outcomes:
        assert outcome.tallies == alone[outcome.operation].tallies
    assert {outcome.operation for outcome in report.outcomes} | {*report.unfinished} == {*names}
    assert report.passed == (not report.unfinished)


NAMES = ["several_paths", "softmax", "affine", "dot", "add", "tanh", "square", "exp", "log", "matvec"]


@pytest.mark.exhaustive
def test_a_run_whose_scheduler_closes_in_the_middle_reports_what_was_found(cluster: Any) -> None:
    def close(outcome: Outcome) -> None:
        cluster.sync(cluster.cluster.scheduler.close)

    report = verification.verify(NAMES, examples=10, executor=cluster.get_executor(), on_outcome=close)
    checked_in_part(report, NAMES)
    assert report.outcomes
    assert len(report.unfinished) > 5
    assert "the executor came to an end: it cancelled what was under way; left undone: " in report.notes[0]


@pytest.mark.exhaustive
def test_a_run_whose_workers_are_killed_every_three_seconds_reports_what_was_found(cluster: Any) -> None:
    killed, over = list[int](), threading.Event()

    def kill() -> None:
        """Eight of them at most: on a slow machine none begins within these seconds."""
        while len(killed) < 8 and not over.wait(3 if killed else 0.5):
            pids = [nanny.pid for nanny in cluster.cluster.workers.values() if nanny.pid]
            for pid in pids[len(killed) % 2 :][:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        report = verification.verify(NAMES, examples=10, executor=cluster.get_executor(), patience=120)
    finally:
        over.set()
        killer.join()
    assert killed
    checked_in_part(report, NAMES)
    if report.unfinished:
        assert any("given up by the executor" in n or "nothing came back" in n for n in report.notes)
