"""Sums, dots and products of numbers up to the largest against fractions, and `np.errstate` of every kind."""

import warnings
from fractions import Fraction
from math import isnan, log2

import numpy as np
import pytest

from backprop_reference import (
    OPERATIONS,
    affine,
    affine_vjp,
    dot,
    elementwise_vjp,
    exp,
    gelu_tanh,
    linear_regression_vjp,
    matvec,
    matvec_jacobian,
    matvec_vjp,
    scale_jacobian,
    scale_vjp,
    squared_error_vjp,
    sum_reduction,
    tanh,
)
from backprop_reference.numerics.range import SCALES

FLOATS = [np.dtype(np.float64), np.dtype(np.float32)]


def fractions(a):
    return [Fraction(float(number)) for number in a]


def products(a, b):
    return [p * q for p, q in zip(fractions(a), fractions(b), strict=True)]


def is_right(actual, terms, dtype):
    """Within (4 + log₂ n) ULP of `Σ|terms|`, or an infinity where the sum is beyond the range by then."""
    info, actual = np.finfo(dtype), float(actual)
    total, size = sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))
    room = Fraction(4 + log2(len(terms))) * Fraction(float(info.eps)) * size + len(terms) * Fraction(float(info.tiny))
    if np.isfinite(actual):
        return abs(Fraction(actual) - total) <= room
    return not isnan(actual) and (total if actual > 0 else -total) + room >= Fraction(float(info.max))


def sums(draw, dtype, n, power):
    """Results and their terms: of arrays that go up to the largest number, or to a power of it."""
    largest = float(np.finfo(dtype).max)

    def array(shape, power=1.0):
        return np.asarray(draw.uniform(-1, 1, shape) * largest**power, dtype)

    x, b, W, v = array(n), array(3), array((3, n), power), array(n, 1 - power)
    V, one = array((n, 3), power), dtype.type(1)
    yield sum_reduction(x), fractions(x)
    yield dot(W[0], v), products(W[0], v)
    yield scale_vjp(W[0], v, one)[1], products(W[0], v)
    yield W[0] @ scale_jacobian(v, one)[1], products(W[0], v)
    pulled, by_jacobian = matvec_vjp(v, V, b)[1], v @ matvec_jacobian(V, b)[1]
    u, z, batch = matvec(W, v), affine(W, v, b), affine(W, np.array([0 * v, v, v / 2]), b)
    rows = array((n, 2), 0.0)
    dW, _, db = affine_vjp(np.ascontiguousarray(V / 2), array((3, 2), 0.0), rows, b)
    for i in range(3):
        terms = products(W[i], v)
        yield u[i], terms
        yield z[i], [*terms, *fractions(b[i : i + 1])]
        yield batch[1, i], [*terms, *fractions(b[i : i + 1])]
        yield batch[0, i], fractions(b[i : i + 1])
        yield pulled[i], products(V[:, i], v)
        yield by_jacobian[i], products(V[:, i], v)
        yield dW[i, 1], products(V[:, i] / 2, rows[:, 1])
        yield db[i], fractions(V[:, i] / 2)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_sums_dots_and_products_up_to_the_largest_are_within_their_bounds(dtype):
    draw, finite = np.random.default_rng(0), 0
    for k in range(180):
        n = 33 if k % 2 else int(draw.integers(1, 300))
        for actual, terms in sums(draw, dtype, n, (0.5, 0.75, 0.97, 1.0)[k // 2 % 4]):
            assert is_right(actual, terms, dtype), (actual, n)
            finite += bool(np.isfinite(actual))
    assert finite > 1000


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_sums_of_33_numbers_are_numbers_where_the_truth_is(dtype):
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 33)) * float(np.finfo(dtype).max)
    x = np.asarray(x, dtype)
    u = sum_reduction(x)
    with np.errstate(all="ignore"):
        assert np.count_nonzero(np.isfinite(u) & ~np.isfinite(x.sum(-1))) > 100
    assert not np.isnan(u).any()
    for row, number in zip(x, u, strict=True):
        assert is_right(number, fractions(row), dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_only_what_overflowed_is_made_again(dtype):
    """Beside a sum that is, a tiny one keeps all its digits, in one row and in a batch."""
    most, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    W = np.array([[most, most, -most], [3 * tiny, 0, 0]], dtype)
    x = np.ones(3, dtype)
    expected = np.array([most, 3 * tiny], dtype)
    assert np.array_equal(matvec(W, x), expected)
    assert np.array_equal(matvec(W, np.array([x, 0 * x, x])), [expected, 0 * expected, expected])
    rows = np.array([[most, most, -most], [tiny, tiny, tiny]], dtype)
    assert np.array_equal(sum_reduction(rows), expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_infinities_and_nan_go_through_as_in_ieee_754(dtype):
    most = np.finfo(dtype).max
    for x, expected in [
        ([np.inf, 1, 2], np.inf),
        ([-np.inf, most, most], -np.inf),
        ([np.inf, -np.inf, 1], np.nan),
        ([np.nan, most, most], np.nan),
        ([most, most, 1], np.inf),
        ([-most, -most, 1], -np.inf),
    ]:
        terms = np.array(x, dtype)
        one = np.ones(3, dtype)
        for u in (
            sum_reduction(terms),
            dot(terms, one),
            matvec(terms[None], one)[0],
            affine(terms[None], one, one[:1])[0],
        ):
            assert np.array_equal(u, expected, equal_nan=True), (x, u)


def test_a_difference_that_overflows_may_have_a_slope_that_does_not():
    dx, dy = squared_error_vjp(1e-10, [1.5e308, 1.0], [-1.5e308, 2.0])
    assert dx.tolist() == [pytest.approx(6e298), -2e-10]
    assert dy.tolist() == (-dx).tolist()
    *_, dy = linear_regression_vjp(0.25, [1.5e308, 1.0], [1.0, 0.0], 1e308)
    assert float(dy) == -0.5 * (1.5e308 - 1e308)
    *_, dy = linear_regression_vjp(0.25, [1e308, 1e308], [1.0, 1.0], 1.5e308)
    assert float(dy) == pytest.approx(-0.25e308)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("state", ["raise", "warn"])
def test_no_state_of_numpy_changes_a_result_that_underflows(operation, state):
    shapes = operation.shapes_at(dict.fromkeys(operation.letters, 3))
    draw = np.random.default_rng(0)
    *args, delta = (draw.uniform(0.5, 1, shape) * 1e-200 for shape in shapes)
    if operation.name in ("log", "reciprocal"):
        args = [np.ones(3)]
    with np.errstate(all=state), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [operation.forward(*args), *operation.vjp(delta, *args)]
        found += [delta @ J for J in operation.jacobian(*args)]
    with np.errstate(all="ignore"):
        expected = [operation.forward(*args), *operation.vjp(delta, *args)]
        expected += [delta @ J for J in operation.jacobian(*args)]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_gelu_tanh_is_that_of_the_double_0_044715():
    """-1.0061653127657711255e-272 with the double, -1.0061653127657416294e-272 with the decimal number."""
    assert abs(float(gelu_tanh(-20.3)) / -1.0061653127657711255e-272 - 1) < 4 * 2.0**-52


def test_a_slope_beyond_the_range_makes_an_infinite_product():
    with np.errstate(over="ignore"):
        assert np.isinf(elementwise_vjp(np.array([1e-35], np.float32), exp, np.array([90], np.float32))[0]).all()
    assert elementwise_vjp(np.array([1e-35]), exp, np.array([90.0]))[0] == pytest.approx(12204.03)
    assert elementwise_vjp(np.array([1e-35], np.float32), tanh, np.array([90], np.float32))[0] == 0


def test_a_network_without_classes_is_one_clear_line():
    row = OPERATIONS["backpropagation[tanh]"]
    with pytest.raises(ValueError, match=r"W1 must not be empty, got m1 = 0") as raised:
        row.forward(np.zeros((0, 3)), np.zeros(0), np.ones(3), np.zeros(0))
    assert "\n" not in str(raised.value)


def test_scales_leave_no_product_out_of_range():
    for dtype in FLOATS:
        scaled = np.finfo(dtype).max * dtype.type(SCALES[dtype.itemsize])
        assert np.isfinite(scaled * scaled * dtype.type(2.0**30))
