"""Is `check` able to fail? Planted faults and right neighbours through it, beside checks by finite differences.

The figures are counted, by kind and by operation: how many faults are rejected, how many neighbours are, how many
hints name the cause, and what `gradcheck` and its relatives say of the same functions (`practices.py`).
"""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import backprop_oracle
import backprop_properties
import backprop_reference
from backprop_oracle.rows import Row, row_of

from ..checking.check import USUAL, examined
from ..checking.report import Report
from ..verification.workers import done
from .faults import FAULTS, NEIGHBOURS, Fault, Neighbour
from .practices import FINITE_DIFFERENCES, installed
from .versions import rejections, version_of

Verdicts = tuple[bool, bool] | None  # rejected on one input, on many; None: not to be seen
ROWS: tuple[Fault | Neighbour, ...] = (*FAULTS, *NEIGHBOURS)
TABLE = {row.name: row for row in ROWS}
DOMAINS: Mapping[str, Mapping[str, Any]] = {
    "kink": {"kinks": True},
    "mask": {"masks": True},
    "aliasing": {"aliasing": True},
    "infinity": {"infinities": True},
}
TOGETHER = 16  # rows of one operation that are tried by one process, one after the other


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
    of = row_of(row.operation)
    version = version_of(of, row) if isinstance(row, Fault) and rivals else None
    version = version and version.fresh()  # before `check` calls it
    report = checked(of, row, row.dtypes[0], shrink=False)
    seconds = time.perf_counter() - started
    laws = tuple(failure.law for failure in report.failures)
    first = report.failures[0] if report.failures else None
    found = (name, row.operation, row.kind if isinstance(row, Fault) else "", row.dtypes[0], not report.passed, laws)
    said = first.message if first else ""
    if isinstance(row, Neighbour):
        return Outcome(*found, message=said, seconds=seconds)
    verdicts = {FINITE_DIFFERENCES[rival].title: version and rejections(rival, of, version) for rival in rivals}
    return Outcome(*found, row.cause, first.cause if first else "", said, seconds, verdicts)


def checked(of: Row, row: Fault | Neighbour, dtype: str, *, shrink: bool) -> Report:
    """What `check` says of a row in one format, with default arguments, and with what the row asks for."""
    asks = row.asks if isinstance(row, Fault) else ""
    promised = asks == "batch" if isinstance(row, Fault) else "batch" not in row.unpromised
    functions = {"forward": row.forward, "vjp": row.vjp, "jacobian": row.jacobian}
    asked = {**USUAL, "dtypes": (dtype,), "domain": DOMAINS.get(asks), "batch": promised or None}
    return examined(of, functions, **asked, shrink=shrink)


def tried_together(names: Sequence[str], rivals: Sequence[str], drawn: Collection[str]) -> list[Outcome]:
    """Rows of one operation, one after the other: its programs are traced once."""
    return [tried(name, rivals if name in drawn else ()) for name in names]


def run(
    names: Sequence[str] | None = None,
    *,
    rivals: Sequence[str] | None = None,
    every: int = 1,
    jobs: int | None = None,
    kept: "Kept | None" = None,
    on_outcome: Callable[[str], None] = lambda name: None,
) -> list[Outcome]:
    """All rows, or some, over `jobs` processes (one for each core), in the tables' order; but those that are `kept`.

    One fault of `every` so many is put to the rivals, too.

    >>> [outcome.right for outcome in run(["exp-missing", "exp-of-the-output"], rivals=[], jobs=1)]
    [True, True]
    """
    names = list(TABLE) if names is None else list(names)
    rivals = installed(FINITE_DIFFERENCES) if rivals is None else rivals
    drawn = [name for name, row in TABLE.items() if isinstance(row, Fault)][every // 2 :: every] if rivals else []
    found = {name: outcome for name, outcome in (kept.outcomes if kept else {}).items() if name in names}
    for name in found:
        on_outcome(name)
    notes: list[str] = []
    left = [name for name in names if name not in found]
    for outcome in _outcomes(left, rivals, drawn, jobs or os.cpu_count() or 1, notes):
        found[outcome.name] = outcome
        if kept:
            kept.add(outcome)
        on_outcome(outcome.name)
    if len(found) < len(names):
        raise RuntimeError(notes[-1])
    return [found[name] for name in names]


def _outcomes(
    names: Sequence[str], rivals: Sequence[str], drawn: Collection[str], jobs: int, notes: list[str]
) -> Iterator[Outcome]:
    by_operation: dict[str, list[str]] = {}
    for name in names:
        by_operation.setdefault(TABLE[name].operation, []).append(name)
    tasks = [some[i : i + TOGETHER] for some in by_operation.values() for i in range(0, len(some), TOGETHER)]
    work = partial(tried_together, rivals=rivals, drawn=frozenset(drawn))
    with closing(done(work, sorted(tasks, key=len, reverse=True), jobs, None, notes)) as results:
        for _, outcomes in results:
            yield from outcomes


class Kept:
    """A file of the rows that were tried, each put down as it is done: a run that was interrupted goes on after them.

    It holds for one state of the code, and for the same rivals on the same faults; `dropped` is how many rows it had of
    another, or that cannot be read.
    """

    def __init__(self, path: Path, rivals: Sequence[str], every: int) -> None:
        self.path, self.outcomes, self.dropped = path, dict[str, Outcome](), 0
        self.first = f"backprop selftest, one of {every} to {', '.join(rivals) or 'none'}, {_code()}"
        with suppress(FileNotFoundError, ValueError):
            first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
            for line in lines:
                with suppress(msgspec.DecodeError):
                    if first == self.first:
                        outcome = msgspec.json.decode(line, type=Outcome)
                        self.outcomes[outcome.name] = outcome
            self.dropped = len(lines) - len(self.outcomes)
        path.write_text(self.first + "\n", encoding="utf-8")
        for outcome in self.outcomes.values():
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        """Puts down one more."""
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(outcome) + b"\n")


def _code() -> str:
    """The sum of all that takes part in a verdict."""
    packages = backprop_reference, backprop_oracle, backprop_properties
    folders = [Path(str(package.__file__)).parent for package in packages]
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


# ── Counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Count:
    """How many faults there are, how many `check` rejects, and how many each rival rejects on one input and on many.

    The rivals were given `drawn` of them; `seen` of these are such that rivals can see them.
    """

    faults: int
    rejected: int
    drawn: int
    seen: int
    rivals: Mapping[str, tuple[int, int]]


def count(outcomes: Sequence[Outcome]) -> Count:
    """The faults among some outcomes, counted."""
    faults = [o for o in outcomes if o.kind]
    names = dict.fromkeys(name for o in faults for name in o.rivals)
    verdicts = {name: [v for o in faults if (v := o.rivals.get(name)) is not None] for name in names}
    rivals = {name: (sum(v[0] for v in vs), sum(v[1] for v in vs)) for name, vs in verdicts.items()}
    seen = max(map(len, verdicts.values()), default=0)
    return Count(len(faults), sum(o.rejected for o in faults), sum(bool(o.rivals) for o in faults), seen, rivals)


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
    head = [key, "faults", "check", *["drawn"] * bool(names)]
    head += [f"{name}, {how}" for name in names for how in ("one", "many")]
    body = []
    for name, c in table.items():
        of_rivals = [n for rival in names for n in c.rivals.get(rival, (0, 0))]
        body.append([name, *map(str, (c.faults, c.rejected, *[c.drawn] * bool(names), *of_rivals))])
    return head, body


def summary(outcomes: Sequence[Outcome]) -> str:
    """In a sentence or two, what the tables add up to."""
    right = [o for o in outcomes if not o.kind]
    total, hinted = count(outcomes), hints(outcomes)
    text = f"{total.rejected} of {total.faults} faults rejected, {sum(o.rejected for o in right)} of {len(right)} "
    text += f"right neighbours rejected. Hints where the cause has a name: {hinted['right']} right, "
    text += f"{hinted['none']} none, {hinted['wrong']} wrong."
    if total.rivals:
        text += (
            f" The checks by finite differences were given {total.drawn} of the faults, of which {total.seen} can be"
        )
        text += " seen by finite differences of float64 at all."
    return text


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table by kind, and the summary."""
    head, body = lines(outcomes, "kind")
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, rule, *body)] + ["", summary(outcomes)])
