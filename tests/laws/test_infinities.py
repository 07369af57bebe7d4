"""An infinity gives what the definition gives there, to whoever promises it."""

from typing import Any

import numpy as np
import pytest

from backprop_oracle.definition import Definition
from backprop_properties import check
from backprop_reference import OPERATIONS, affine

HELD = {"infinities": True}
LAW = "infinities_give_what_the_definition_gives"


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("relu", {"forward": lambda x: x * (x > 0)}),
        ("relu", {"vjp": lambda delta, x: delta * np.maximum(x, 0) / np.where(x > 0, x, 1)}),
        ("add", {"forward": lambda x, y: np.where(np.abs(x) > 1e300, x - 1 * x, x) + y}),
        ("softmax", {"forward": lambda x: softmax(np.where(np.isinf(x), 0, x))}),
    ],
)
def test_what_is_wrong_at_an_infinity_is_found(name: str, functions: Any) -> None:
    report = check(name, **functions, domain=HELD)
    assert not report.holds
    assert LAW in {checked.law for checked in report.checks if checked.failed}, report


def test_relu_as_a_product_is_nan_there_and_right_by_default() -> None:
    report = check("relu", forward=lambda x: x * (x > 0), domain=HELD)
    assert report.verdicts["forward"].range == "NaN at -inf"
    assert report.failures[0].cause == "infinity"
    assert check("relu", forward=lambda x: x * (x > 0))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "softplus", "softmax", "affine", "squared_error", "log"])
def test_the_reference_is_right_there(name: str, dtype: str) -> None:
    row = OPERATIONS[name]
    report = check(name, forward=row.forward, vjp=row.vjp, domain=HELD, dtypes=[dtype], max_examples=100)
    assert report.passed, report
    assert any(checked.law == LAW and checked.entries for checked in report.checks)


def test_where_the_definition_gives_nan_nothing_is_claimed() -> None:
    definition = Definition(lambda x: x / (1 + abs(x)), "(n)", name="softsign")
    report = check(definition, forward=lambda x: x / (1 + np.abs(x)), domain=HELD, max_examples=60)
    assert not report.failures, report
    sizes = check(definition, forward=lambda x: x / (1 + np.abs(x)), domain={**HELD, "n": 1}, max_examples=60)
    assert "nothing was compared of what was asked for" in str(sizes)


def test_an_infinity_and_a_weight_that_is_next_to_nothing() -> None:
    with np.errstate(invalid="ignore"):
        z = affine(np.array([[1.0], [4.3e-161]]), np.array([np.inf]), np.zeros(2))
    assert z.tolist() == [np.inf, np.inf]
