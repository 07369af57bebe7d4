"""Whatever a domain says, no function is called outside it, and a right one is right in it."""

from typing import Any

import numpy as np
import pytest

from backprop_oracle.kinds import KINDS
from backprop_properties import check
from backprop_reference import OPERATIONS
from samples import sampled


def sums(a: Any) -> Any:
    """Of each row; those without entries have none."""
    rows = np.atleast_1d(a).astype(float)
    return rows.sum(-1) if rows.size else np.ones(0)


WITHIN = {
    "positive": lambda a: (a > 0).all(),
    "non-negative": lambda a: (a >= 0).all(),
    "non-zero": lambda a: (a != 0).all(),
    "one-hot": lambda a: np.isin(a, (0, 1)).all() and (sums(a) == 1).all(),
    "distribution": lambda a: (a >= 0).all() and (abs(sums(a) - 1) < 1e-6).all(),
    "integers": lambda a: (a == np.rint(a)).all(),
    "real": lambda a: True,
    "moderate": lambda a: (np.isfinite(a) & ((a == 0) | ((abs(a) <= 30.01) & (abs(a) >= 0.99e-3)))).all(),
    "finite": lambda a: np.isfinite(a).all(),
}
ARGUMENTS = [
    *(("linear_regression", argument) for argument in ("w", "x", "y", "delta")),
    *(("scale", argument) for argument in ("x", "alpha", "delta")),
    *(("affine", argument) for argument in ("W", "b", "delta")),
    *(("softmax", argument) for argument in ("x", "delta")),
    ("softmax_cross_entropy", "y"),
]
ROWS = [(operation, argument, kind) for operation, argument in ARGUMENTS for kind in KINDS]
ROWS += [(operation, "values", kind) for operation in ("softmax", "tanh", "dot") for kind in ("moderate", "finite")]
SAMPLE = {
    ("linear_regression", "y", "one-hot"),
    ("scale", "alpha", "one-hot"),
    ("affine", "W", "one-hot"),
    ("softmax", "delta", "one-hot"),
    ("softmax", "x", "positive"),
    ("softmax", "values", "moderate"),
}


@pytest.mark.parametrize(("operation", "argument", "kind"), sampled(ROWS, SAMPLE))
def test_nobody_is_called_outside_a_domain(operation: str, argument: str, kind: str) -> None:
    row = OPERATIONS[operation]

    def within(names: Any, args: Any) -> None:
        for name, a in zip(names, args, strict=True):
            if argument in (name, "values"):
                assert WITHIN[kind](a), f"{name} = {a!r} is not {kind}"

    def forward(*args: Any) -> Any:
        within(row.arguments, args)
        return row.forward(*args)

    def vjp(delta: Any, *args: Any) -> Any:
        within(("delta", *row.arguments), (delta, *args))
        return row.vjp(delta, *args)

    report = check(
        operation, forward=forward, vjp=vjp, domain={argument: kind}, batch=False, max_examples=40, waive=["manners"]
    )
    assert report.passed, str(report)


def test_a_naive_softmax_is_right_in_moderate_numbers_and_nowhere_else() -> None:
    def softmax(x: Any) -> Any:
        e = np.exp(x)
        return e / e.sum()

    assert check("softmax", forward=softmax, domain={"values": "moderate"}, max_examples=60).passed
    assert not check("softmax", forward=softmax, max_examples=60).passed
