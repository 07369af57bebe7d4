"""The laws of the ends of the range: what overflows on its way or raises for nothing is rejected."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from backprop_properties.cases.case import directions
from backprop_properties.cases.regimes import regime_case, regimes_of
from backprop_properties.cases.shapes import shape_pool
from backprop_properties.checking.python_files import Implementation
from backprop_properties.laws.claims import Violation
from backprop_properties.laws.ends import END_LAWS
from backprop_properties.laws.table import point
from backprop_properties.laws.trial import violations
from backprop_reference import OPERATIONS

SUMS, ERRORS = END_LAWS
DTYPES = [np.dtype(np.float64), np.dtype(np.float32)]


def broken(name, law, dtype, count=40, **functions):
    """What a law says against functions of an operation, over its regimes."""
    row, draw = OPERATIONS[name], np.random.default_rng(0)
    regimes, pool = regimes_of(row), shape_pool(row, 0)
    drawn = (regime_case(row, regimes[k % len(regimes)], dtype, draw, pool[k % len(pool)]) for k in range(count))
    cases = (replace(case, tangents=directions(case.args)) for case in drawn)
    each = (violations({law: END_LAWS[law]}, point(row, Implementation(**functions), case)) for case in cases)
    return [found for claims in each for _, _, found in claims if isinstance(found, Violation)]


def halves(x):
    """A sum of numbers scaled by 2⁻⁶⁴, and back."""
    return np.ldexp(np.ldexp(x, -64).sum(-1), 64)


def exact(x, y):
    """A dot product of fractions."""
    total = sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)), Fraction(0))
    size = Fraction(float(np.finfo(x.dtype).max))
    return x.dtype.type(float(total) if abs(total) <= size else np.inf if total > 0 else -np.inf)


def quietly(f):
    def g(*args):
        with np.errstate(all="ignore"):
            return f(*args)

    return g


def hadamard_vjp(delta, x, y):
    return delta * y, delta * x


WRONG = [
    ("sum_reduction", SUMS, {"forward": lambda x: x.sum(-1)}),
    ("sum_reduction", SUMS, {"forward": lambda x: np.nan_to_num(x.sum(-1))}),
    ("sum_reduction", SUMS, {"forward": lambda x: np.ldexp(np.ldexp(x, -1).sum(-1), 1)}),  # of three numbers at most
    ("dot", SUMS, {"forward": lambda x, y: x @ y}),
    ("matvec", SUMS, {"forward": lambda W, x: W @ x}),
    ("matvec", SUMS, {"vjp": lambda d, W, x: (np.outer(d, x), d @ W)}),
    ("affine", SUMS, {"forward": lambda W, x, b: W @ x + b}),
    ("scale", SUMS, {"vjp": lambda d, x, alpha: (d * alpha, (d * x).sum(-1))}),
    ("squared_error", SUMS, {"vjp": lambda d, x, y: (2 * d * (x - y), -2 * d * (x - y))}),
    ("hadamard", ERRORS, {"forward": np.multiply}),
    ("hadamard", ERRORS, {"vjp": hadamard_vjp}),
    ("tanh", ERRORS, {"vjp": lambda d, x: (d * (1 - np.tanh(x) ** 2),)}),
    ("softmax", ERRORS, {"forward": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum()}),
    ("sigmoid", ERRORS, {"forward": lambda x: 1 / (1 + np.exp(-x))}),
]
RIGHT = [
    ("sum_reduction", SUMS, {"forward": halves}),
    ("dot", SUMS, {"forward": exact}),
    ("squared_error", SUMS, {"vjp": lambda d, x, y: (4 * (d * (x / 2 - y / 2)), 4 * (d * (y / 2 - x / 2)))}),
    ("hadamard", ERRORS, {"forward": quietly(np.multiply), "vjp": quietly(hadamard_vjp)}),
    ("tanh", ERRORS, {"vjp": quietly(lambda d, x: (d * (1 - np.tanh(x) ** 2),))}),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "law", "functions"), WRONG)
def test_what_overflows_on_its_way_or_raises_for_nothing_is_rejected(name, law, functions, dtype):
    found = broken(name, law, dtype, **functions)
    assert found
    assert not any("Error:" in violation.message for violation in found), found[0].message


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "law", "functions"), RIGHT)
def test_other_right_ways_are_accepted(name, law, functions, dtype):
    assert broken(name, law, dtype, **functions) == []


def test_every_law_rejects_something_and_accepts_something():
    assert {law for _, law, _ in WRONG} == {law for _, law, _ in RIGHT} == set(END_LAWS)


def test_nothing_is_asked_of_the_numbers_that_overflow():
    assert broken("exp", ERRORS, DTYPES[0], forward=lambda x: np.exp(np.abs(x) + 1000)) == []
