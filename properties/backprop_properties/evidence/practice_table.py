"""The usual practices on every planted fault and right version: what each catches, and what it rejects wrongly."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

from backprop_oracle.rows import row_of

from ..verification.workers import done
from .practices import PRACTICES, installed
from .selftest import TABLE
from .versions import INPUTS, rejections, version_of

NAMED = 8  # operations at most
HEAD = ("practice", "faults", "caught, one input", f"caught, {INPUTS} inputs", "right ones", "rejected", "kinds seen")


class Found(NamedTuple):
    """Whether a practice rejects a version, on one input and on many; a fault has a `kind`, a right one none."""

    practice: str
    name: str
    operation: str
    kind: str
    one: bool
    many: bool


def tried_together(names: Sequence[str], practices: Sequence[str]) -> list[Found]:
    """The rows of one operation by each practice that can see them."""
    found = []
    for name in names:
        tried = TABLE[name]
        row = row_of(tried.operation)
        for practice in practices:
            if version := version_of(row, tried, PRACTICES[practice].dtype):
                found.append(Found(practice, name, row.name, version.kind, *rejections(practice, row, version)))
    return found


def run(
    names: Sequence[str] | None = None,
    practices: Sequence[str] | None = None,
    *,
    jobs: int | None = None,
    on_done: Callable[[str], None] = lambda operation: None,
) -> list[Found]:
    """All rows, or some, by all practices that are installed, or some, over `jobs` processes (one for each core).

    >>> [found.many for found in run(["exp-missing", "exp-of-the-output"], ["allclose-1e-4"], jobs=1)]
    [True, False]
    """
    by_operation: dict[str, list[str]] = {}
    for name in TABLE if names is None else names:
        by_operation.setdefault(TABLE[name].operation, []).append(name)
    work = partial(tried_together, practices=installed() if practices is None else practices)
    tasks, notes = sorted(by_operation.values(), key=len, reverse=True), list[str]()
    found, count = list[Found](), 0
    with closing(done(work, tasks, jobs or os.cpu_count() or 1, None, notes)) as results:
        for task, some in results:
            found, count = found + some, count + 1
            on_done(TABLE[task[0]].operation)
    if count < len(tasks):
        raise RuntimeError(notes[-1])
    return found


def lines(found: Sequence[Found]) -> list[list[str]]:
    """A line for each practice under `HEAD`."""
    table = []
    for name in dict.fromkeys(one.practice for one in found):
        faults = [one for one in found if one.practice == name and one.kind]
        right = [one for one in found if one.practice == name and not one.kind]
        kinds, seen = ({one.kind for one in faults}, {one.kind for one in faults if one.many})
        counts = [len(faults), sum(f.one for f in faults), sum(f.many for f in faults)]
        counts += [len(right), sum(r.many for r in right)]
        table.append([PRACTICES[name].title, *map(str, counts), f"{len(seen)} of {len(kinds)}"])
    return table


def summary(found: Sequence[Found]) -> str:
    """What the table is of, and which kinds no practice sees."""
    faults = [one for one in found if one.kind]
    seen = {one.kind for one in faults if one.many}
    unseen = [kind for kind in dict.fromkeys(one.kind for one in faults) if kind not in seen]
    operations = list(dict.fromkeys(one.operation for one in found))
    of = f"{len(operations)} operations" if len(operations) > NAMED else ", ".join(operations)
    text = f"Faults of {of}, each practice on one input and on {INPUTS}. "
    text += "The list of faults is ours: another would give other figures."
    return text + (f" What none of these practices sees: {', '.join(unseen)}." if unseen else "")


def markdown(found: Sequence[Found]) -> str:
    """The table, and what it is of."""
    rule = ["---", *["--:"] * (len(HEAD) - 1)]
    rows = [f"| {' | '.join(row)} |" for row in (HEAD, rule, *lines(found))]
    return "\n".join([*rows, "", summary(found)])


def to_dict(found: Sequence[Found]) -> Mapping[str, Any]:
    """What a machine reads."""
    return {"schema": "backprop-practices-1", "found": [one._asdict() for one in found]}
