"""The main job: every law on every operation, over as many processes as there are cores."""

import difflib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import jax

from backprop_reference import OPERATIONS

from .compositions import CHAIN_LAWS
from .trial import Failure, Outcome, try_chain_law, try_operation

ATTEMPTS = 3  # to do the work of a worker process that died again


@dataclass
class Report:
    """What `verify` found: the outcomes in slide order, and which tasks have none (after an interruption)."""

    seed: int
    examples: int
    outcomes: list[Outcome] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Failure]:
        return [failure for outcome in self.outcomes for failure in outcome.failures]

    @property
    def cases(self) -> int:
        return sum(outcome.cases for outcome in self.outcomes)

    @property
    def claims(self) -> int:
        return sum(tally.cases for outcome in self.outcomes for tally in outcome.tallies.values())

    @property
    def entries(self) -> int:
        """How many numbers were compared; a run that compared none has shown nothing."""
        return sum(tally.entries for outcome in self.outcomes for tally in outcome.tallies.values())

    @property
    def passed(self) -> bool:
        checked = all(sum(tally.entries for tally in outcome.tallies.values()) for outcome in self.outcomes)
        return bool(self.outcomes) and checked and not self.failures and not self.unfinished

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "backprop-verify-1",
            "passed": self.passed,
            "seed": self.seed,
            "examples": self.examples,
            "seconds": round(self.seconds, 3),
            "cases": self.cases,
            "claims": self.claims,
            "entries": self.entries,
            "unfinished": self.unfinished,
            "notes": self.notes,
            "operations": [
                {
                    "operation": outcome.operation,
                    "cases": outcome.cases,
                    "seconds": round(outcome.seconds, 3),
                    "laws": [
                        {"law": law, "quantity": what, **asdict(tally)}
                        for (law, what), tally in outcome.tallies.items()
                    ],
                    "failures": [failure.to_dict() for failure in outcome.failures],
                }
                for outcome in self.outcomes
            ],
        }


def tasks(operations: Sequence[str] | None = None) -> list[str]:
    """What there is to verify: operations in slide order, then the laws of the chain rule; or some of them by name.

    A family's name stands for all its members, as `activation` for `activation[tanh]` and the others.

    >>> tasks(["softmax", "two_layer_network"])[:2]
    ['softmax', 'two_layer_network[tanh]']
    """
    everything = [*OPERATIONS, *CHAIN_LAWS]
    if operations is None:
        return everything
    for name in operations:
        if not any(name in (task, task.partition("[")[0]) for task in everything):
            raise LookupError(unknown(name, everything))
    return [task for task in everything if task in operations or task.partition("[")[0] in operations]


def operation_names(names: Sequence[str] | None = None) -> list[str]:
    """The operations among `tasks`.

    >>> operation_names(["add"])
    ['add']
    """
    return [task for task in tasks(names) if task in OPERATIONS]


def unknown(name: str, known: Sequence[str]) -> str:
    """One line that says what is nearest to an unknown name.

    >>> unknown("sofmax", ["softmax", "scale"])
    "unknown operation 'sofmax'; did you mean 'softmax'? (`backprop list` shows all)"
    """
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? (`backprop list` shows all)" if near else "`backprop list` shows all"
    return f"unknown operation {name!r}; {hint}"


def verify(
    operations: Sequence[str] | None = None,
    *,
    examples: int = 30,
    seed: int = 0,
    jobs: int | None = None,
    executor: Executor | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Every law on every operation (or on those named), `examples` cases each.

    The work goes to `jobs` processes (one per core, if not given), or to any `concurrent.futures.Executor`. The same
    seed gives the same cases, whatever runs them. Ctrl-C ends the run with what was found so far.

    >>> report = verify(["add"], examples=5, jobs=1)
    >>> report.passed, report.cases
    (True, 5)
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}: a run that checks nothing shows nothing")
    names, started = tasks(operations), time.perf_counter()
    report, found = Report(seed, examples), {}
    try:
        for outcome in _outcomes(names, examples, seed, jobs or os.cpu_count() or 1, executor, report.notes):
            found[outcome.operation] = outcome
            on_outcome(outcome)
    except KeyboardInterrupt:
        report.notes.append("interrupted")
    report.outcomes = [found[name] for name in names if name in found]
    report.unfinished = [name for name in names if name not in found]
    report.seconds = time.perf_counter() - started
    return report


def try_task(name: str, examples: int, seed: int) -> Outcome:
    """One task of a run, in whatever process."""
    if name in CHAIN_LAWS:
        return try_chain_law(name, CHAIN_LAWS[name], examples=max(examples // 10, 1), seed=seed)
    return try_operation(OPERATIONS[name], examples=examples, seed=seed)


def _outcomes(
    names: Sequence[str], examples: int, seed: int, jobs: int, executor: Executor | None, notes: list[str]
) -> Iterator[Outcome]:
    if executor is not None:
        yield from _submitted(executor, names, examples, seed)
        return
    if jobs == 1:
        yield from (try_task(name, examples, seed) for name in names)
        return
    # The longest first, so that no core is left with a long one at the end: networks have the most arguments.
    waiting = sorted(
        names, key=lambda name: len(OPERATIONS[name].arguments) if name in OPERATIONS else 99, reverse=True
    )
    for attempt in range(ATTEMPTS):
        pool = ProcessPoolExecutor(
            min(jobs, len(waiting)), multiprocessing.get_context("spawn"), keep_compiled_programs
        )
        try:
            for outcome in _submitted(pool, waiting, examples, seed):
                waiting = [name for name in waiting if name != outcome.operation]
                yield outcome
            return
        except BrokenProcessPool:
            notes.append(f"a worker process died; {len(waiting)} tasks are done again (attempt {attempt + 2})")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if waiting:  # interrupted, or broken: what still runs is not waited for
                for worker in multiprocessing.active_children():
                    worker.kill()
    raise RuntimeError(f"worker processes died {ATTEMPTS} times; left undone: {', '.join(waiting)}")


def _submitted(executor: Executor, names: Sequence[str], examples: int, seed: int) -> Iterator[Outcome]:
    with _deaf_to_interrupts():  # workers that start here stay so: Ctrl-C is for the process that started them
        futures: list[Future[Outcome]] = [executor.submit(try_task, name, examples, seed) for name in names]
    for future in as_completed(futures):
        yield future.result()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Interrupts wait until the end; a process that is started meanwhile never hears of any."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows: there workers print a traceback each
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def keep_compiled_programs() -> None:
    """JAX's compilation cache, in the user's cache folder: a second run has nothing to compile."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(root, "backprop-reference", "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
