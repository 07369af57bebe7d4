"""Do functions take a batch? They do if they return what is right for rows of ordinary numbers, without being asked."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from ..cases.case import Array, sizes_of
from ..cases.plan import ordinary_case
from ..laws.trial import Trial

LEADS = ((11,), (2, 11), (2, 1, 11))  # of one, two and three axes, as long as no axis of an ordinary case
DIGITS = 1e-2  # relative: enough to tell a row's own numbers from those of a mixture of rows


def judged_on_batches(trial: Trial, batch: bool | str | None, dtype: np.dtype[Any]) -> Trial:
    """The trial with functions held to the law of batches on the axes that they take, or on all (True), or none."""
    law = "batch_equals_the_loop"
    if law not in trial.laws or batch:
        return trial
    axes = takers(trial, dtype) if batch is None else {}
    return replace(trial, laws={name: f for name, f in trial.laws.items() if name != law or axes}, batched=axes)


def takers(trial: Trial, dtype: np.dtype[Any]) -> dict[str, int]:
    """How many leading axes forward and vjp take: on how many they return right rows for ordinary examples.

    Who writes for one example may raise, or return another shape: that is no fault. But who returns right rows is
    taken at their word, and has gradients by parameters summed, and rows right whatever the others hold.
    """
    found: dict[str, int] = {}
    for lead in LEADS:
        found |= {kind: len(lead) for kind in _takers(trial, lead, dtype) if found.get(kind, 0) == len(lead) - 1}
    return found


def _takers(trial: Trial, lead: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[str]:
    """Which of forward and vjp take a batch with these axes."""
    is_data, given = trial.row.is_data, trial.implementation
    shared = ordinary_case(trial.domain, dtype)
    cases = [ordinary_case(trial.domain, dtype, sizes_of(trial.row, shared), k) for k in range(4)]
    examples = [
        (case.delta, *(a if data else b for a, b, data in zip(case.args, shared.args, is_data, strict=True)))
        for case in islice(cycle(cases), math.prod(lead))
    ]
    said = trial.point(shared).ask(*((delta, args) for delta, *args in examples))
    delta, *rows = (np.array(arrays).reshape(lead + arrays[0].shape) for arrays in zip(*examples, strict=True))
    args = [a if data else b for a, b, data in zip(rows, shared.args, is_data, strict=True)]
    if given.forward:
        with suppress(Exception):  # it is for one example
            if _right(given.forward(*args), [answer.forward.value for answer in said], lead):
                yield "forward"
    if given.vjp:
        with suppress(Exception):
            results = list(enumerate(zip(given.vjp(delta, *args), shared.args, is_data, strict=True)))
            own = [(i, d, data) for i, (d, _, data) in results if d is not None]
            fits = all(d is None or np.shape(d) in _shapes(lead, a, data) for _, (d, a, data) in results)
            if fits and any(_right(d, [answer.vjp[i].value for answer in said], lead) for i, d, data in own if data):
                yield "vjp"


def _shapes(lead: tuple[int, ...], a: Array, data: bool) -> tuple[tuple[int, ...], ...]:
    """What a batch's gradient may have: of data one for each row; of a parameter one, or (which is told) one a row."""
    return (lead + a.shape,) if data else (lead + a.shape, a.shape)


def _right(got: Any, rows: Sequence[Array], lead: tuple[int, ...]) -> bool:
    expected = np.reshape(np.array(rows), lead + rows[0].shape)
    if np.shape(got) != expected.shape or not np.any(expected):
        return False
    off = np.abs(np.asarray(got, np.float64) - expected)
    return bool((off <= DIGITS * np.abs(expected).max()).all())
