"""Is `check` able to fail? Planted faults and right neighbours through it, beside checks by finite differences.

The figures are counted, by kind and by operation: how many faults are rejected, how many neighbours are, how many
hints name the cause, and what `gradcheck` and its relatives say of the same functions (`finite_differences.py`).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from ..checking.check import check, examined
from ..verification.workers import done
from .faults import FAULTS, NEIGHBOURS, Fault, Neighbour
from .finite_differences import installed, rejections

Verdicts = tuple[bool, bool] | None  # rejected on one input, on many; None: not to be seen
ROWS: tuple[Fault | Neighbour, ...] = (*FAULTS, *NEIGHBOURS)
TABLE = {row.name: row for row in ROWS}
DOMAINS: Mapping[str, Mapping[str, Any]] = {
    "kink": {"kinks": True},
    "mask": {"masks": True},
    "aliasing": {"aliasing": True},
}


@dataclass(frozen=True)
class Outcome:
    """What was said of one row: whether `check` rejected it, by which laws, and what the rivals did with a fault."""

    name: str
    operation: str
    kind: str  # of a fault; a neighbour has none
    dtype: str
    rejected: bool
    laws: tuple[str, ...]
    cause: str = ""  # the fault's, and what the first failure's hint says it is
    hint: str = ""
    message: str = ""
    seconds: float = 0.0
    rivals: Mapping[str, Verdicts] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """A fault is to be rejected, a neighbour is not."""
        return self.rejected == bool(self.kind)


def tried(name: str, rivals: Sequence[str] = ()) -> Outcome:
    """One row through `check` with its default arguments, and with what it asks for.

    >>> outcome = tried("exp-missing")
    >>> outcome.rejected, outcome.laws[0]
    (True, 'vjp_equals_jax_vjp')
    """
    row, started = TABLE[name], time.perf_counter()
    asks = row.asks if isinstance(row, Fault) else ""
    batch = asks == "batch" if isinstance(row, Fault) else "batch" not in row.unpromised
    functions = {"forward": row.forward, "vjp": row.vjp, "jacobian": row.jacobian}
    dtype = row.dtypes[0]
    usual = {name: value for name, value in (check.__kwdefaults__ or {}).items() if name not in functions}
    asked = {**usual, "dtypes": (dtype,), "domain": DOMAINS.get(asks), "batch": batch}
    report = examined(row.operation, functions, **asked, shrink=False)
    seconds = time.perf_counter() - started
    laws = tuple(failure.law for failure in report.failures)
    first = report.failures[0] if report.failures else None
    found = (name, row.operation, row.kind if isinstance(row, Fault) else "", dtype, not report.passed, laws)
    if isinstance(row, Neighbour):
        return Outcome(*found, message=first.message if first else "", seconds=seconds)
    verdicts = {rival: rejections(rival, row) for rival in rivals}
    return Outcome(*found, row.cause, first.cause if first else "", "", seconds, verdicts)


def tried_together(names: Sequence[str], rivals: Sequence[str]) -> list[Outcome]:
    """The rows of one operation, one after the other: its programs are traced once."""
    return [tried(name, rivals) for name in names]


def run(
    names: Sequence[str] | None = None,
    *,
    rivals: Sequence[str] | None = None,
    jobs: int | None = None,
    on_outcome: Callable[[str], None] = lambda name: None,
) -> list[Outcome]:
    """All rows, or some, over `jobs` processes (one for each core), in the tables' order.

    >>> [outcome.right for outcome in run(["exp-missing", "exp-of-the-output"], rivals=[], jobs=1)]
    [True, True]
    """
    names = list(TABLE) if names is None else list(names)
    rivals = installed() if rivals is None else rivals
    found: dict[str, Outcome] = {}
    notes: list[str] = []
    for outcome in _outcomes(names, rivals, jobs or os.cpu_count() or 1, notes):
        found[outcome.name] = outcome
        on_outcome(outcome.name)
    if len(found) < len(names):
        raise RuntimeError(notes[-1])
    return [found[name] for name in names]


def _outcomes(names: Sequence[str], rivals: Sequence[str], jobs: int, notes: list[str]) -> Iterator[Outcome]:
    by_operation: dict[str, list[str]] = {}
    for name in names:
        by_operation.setdefault(TABLE[name].operation, []).append(name)
    tasks = sorted(by_operation.values(), key=len, reverse=True)
    with closing(done(partial(tried_together, rivals=rivals), tasks, jobs, None, notes)) as results:
        for _, outcomes in results:
            yield from outcomes


# ── Counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Count:
    """How many faults there are, how many `check` rejects, and how many each rival rejects on one input and on many.

    `seen` of them are such that rivals can see them.
    """

    faults: int
    rejected: int
    seen: int
    rivals: Mapping[str, tuple[int, int]]


def count(outcomes: Sequence[Outcome]) -> Count:
    """The faults among some outcomes, counted."""
    faults = [o for o in outcomes if o.kind]
    names = dict.fromkeys(name for o in faults for name in o.rivals)
    verdicts = {name: [v for o in faults if (v := o.rivals.get(name)) is not None] for name in names}
    rivals = {name: (sum(v[0] for v in vs), sum(v[1] for v in vs)) for name, vs in verdicts.items()}
    return Count(len(faults), sum(o.rejected for o in faults), max(map(len, verdicts.values()), default=0), rivals)


def counts(outcomes: Sequence[Outcome], key: str) -> dict[str, Count]:
    """The faults counted by `kind` or by `operation`, and all of them last."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.kind:
            groups.setdefault(getattr(outcome, key), []).append(outcome)
    return {**{name: count(group) for name, group in groups.items()}, "all": count(outcomes)}


def hints(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Of the faults with a named cause: how many hints name it, how many there are none for, how many name another."""
    named = [o for o in outcomes if o.kind and o.cause != "none"]
    right, none = sum(o.hint == o.cause for o in named), sum(not o.hint for o in named)
    return {"right": right, "none": none, "wrong": len(named) - right - none}


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether every fault was rejected, every neighbour accepted, and there were any."""
    return bool(outcomes) and all(o.right for o in outcomes)


def to_dict(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What a machine reads."""
    return {
        "schema": "backprop-selftest-1",
        "passed": passed(outcomes),
        "hints": hints(outcomes),
        "kinds": {name: asdict(c) for name, c in counts(outcomes, "kind").items()},
        "operations": {name: asdict(c) for name, c in counts(outcomes, "operation").items()},
        "rows": [asdict(o) for o in outcomes],
    }


def lines(outcomes: Sequence[Outcome], key: str) -> tuple[list[str], list[list[str]]]:
    """The table of counts by `key`: its head, and its rows."""
    table = counts(outcomes, key)
    names = list(table["all"].rivals)
    head = [key, "faults", "check", *(f"{name}, {how}" for name in names for how in ("one", "many"))]
    body = [
        [name, str(c.faults), str(c.rejected), *(str(n) for rival in names for n in c.rivals.get(rival, (0, 0)))]
        for name, c in table.items()
    ]
    return head, body


def summary(outcomes: Sequence[Outcome]) -> str:
    """In a sentence or two, what the tables add up to."""
    right = [o for o in outcomes if not o.kind]
    total, hinted = count(outcomes), hints(outcomes)
    text = f"{total.rejected} of {total.faults} faults rejected, {sum(o.rejected for o in right)} of {len(right)} "
    text += f"right neighbours rejected. Hints where the cause has a name: {hinted['right']} right, "
    text += f"{hinted['none']} none, {hinted['wrong']} wrong."
    if total.rivals:
        text += f" {total.seen} of the faults can be seen by finite differences of float64 at all."
    return text


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table by kind, and the summary."""
    head, body = lines(outcomes, "kind")
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, rule, *body)] + ["", summary(outcomes)])
