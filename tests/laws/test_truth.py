"""The last digit: the reference is within its bounds of the certified truth, and what is not is rejected."""

import math
import re
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backprop_oracle import certified
from backprop_oracle.autodiff import evaluated
from backprop_oracle.catalogue import CATALOGUE
from backprop_properties.cases import blocks as block_module
from backprop_properties.cases.blocks import draw_block
from backprop_properties.cases.case import Case
from backprop_properties.cases.regimes import regime_case, regimes_of
from backprop_properties.cases.shapes import draw_sizes
from backprop_properties.checking.python_files import Implementation
from backprop_properties.hints import textbook
from backprop_properties.laws.bounds import BOUNDS, bound_of, limit_of
from backprop_properties.laws.claims import Certified, Measure, Violation, certified_errors, judge
from backprop_properties.laws.conditions import scale
from backprop_properties.laws.trial import violations
from backprop_properties.laws.truth import JUDGE_LAWS, TRUTH_LAWS, questions, truth_point
from backprop_properties.laws.ulp import scaled_ulp_error
from backprop_reference import (
    OPERATIONS,
    DiagonalMinusOuter,
    Layer,
    Operation,
    activation,
    activation_vjp,
    affine,
    affine_vjp,
    backpropagation,
    dot,
    identity,
    linear_regression_vjp,
    logistic_regression,
    logistic_regression_vjp,
    matvec,
    matvec_jacobian,
    matvec_vjp,
    sigmoid,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_jacobian,
    softmax_cross_entropy_vjp,
    softmax_jacobian,
    softmax_vjp,
    sum_reduction,
    tanh,
)
from backprop_reference.numerics import errorfree
from backprop_reference.numerics.products import sum_of_rows
from samples import FAMILIES, sampled

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
DTYPES = [F64, F32]
THOROUGH = 20_000
# The thorough profile asks for more examples than the default one; then every operation gets its 20,000 cases.
CASES = THOROUGH if settings.default.max_examples > settings.get_profile("default").max_examples else 40


def broken(operation, case, implementation=None):
    """The violations of the truth laws at a case."""
    found = violations(TRUTH_LAWS, truth_point(operation, case, implementation))
    return [violation for _, _, violation in found if isinstance(violation, Violation)]


# ── The laws, over all regimes ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sampled(OPERATIONS, FAMILIES))
def test_within_its_bound_of_the_truth(name):
    operation = OPERATIONS[name]

    @settings(max_examples=CASES, deadline=None)
    @given(st.sampled_from(regimes_of(operation)), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
    def within(regime, dtype, seed):
        case = regime_case(operation, regime, dtype, np.random.default_rng(seed))
        for violation in broken(operation, case):
            raise violation

    within()


def broken_rows(operation, block, implementation=None):
    """The violations of the same laws in the rows of a batch; gradients of a parameter where each row has its own."""
    using = implementation or operation
    runs = list(block.runs())
    lone = len(runs) == len(block.delta)
    with np.errstate(all="ignore"):  # of what overflows nothing is asked
        results = {"value": [np.concatenate([using.forward(*args) for _, *args in runs])], "vjp": []}
        gradients = zip(*(using.vjp(*point) for point in runs), strict=True)
    for data, parts in zip(block.is_data, gradients, strict=True):
        results["vjp"].append(np.concatenate(parts) if data else np.array(parts) if lone else None)
    for k in range(len(block.delta)):
        for kind, arrays in results.items():
            asked = questions(operation, block.row(k), kind)
            for question, a in zip(asked, arrays if asked else (), strict=True):
                if a is not None:
                    try:
                        judge(question.claim(a[k]), block.dtype)
                    except Violation as violation:
                        yield violation


WITH_PARAMETERS = [name for name, row in OPERATIONS.items() if row.parameters]


BATCHES = [*((name, 32) for name in OPERATIONS), *((name, 1) for name in WITH_PARAMETERS)]


@pytest.mark.parametrize(("name", "together"), sampled(BATCHES, [(name, 32) for name in FAMILIES]))
def test_rows_of_a_batch_are_within_its_bound_too(name, together, monkeypatch):
    """A batch has other sums than an example: they run over many examples at a time."""
    operation = OPERATIONS[name]
    monkeypatch.setattr(block_module, "TOGETHER", (together,))

    @settings(max_examples=CASES // 10, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
    def within(seed, dtype):
        draw = np.random.default_rng(seed)
        for violation in broken_rows(operation, draw_block(operation, draw_sizes(operation, draw), dtype, 32, draw)):
            raise violation

    within()


def test_a_gradient_of_a_parameter_in_a_batch_is_looked_at(monkeypatch):
    operation, draw = OPERATIONS["matvec"], np.random.default_rng(0)
    monkeypatch.setattr(block_module, "TOGETHER", (1,))

    def vjp(delta, W, x):
        return 0 * W, operation.vjp(delta, W, x)[1]

    lazy = Operation("matvec", "", operation.arguments, operation.signature, operation.forward, operation.jacobian, vjp)
    block = draw_block(operation, {"d": 2, "n": 3}, F64, 8, draw)
    assert not list(broken_rows(operation, block))
    assert {violation.what for violation in broken_rows(operation, block, lazy)} == {"dW"}


def test_what_is_sloppy_in_batches_only_is_rejected():
    operation, draw = OPERATIONS["dot"], np.random.default_rng(0)

    def in_a_chain(x, y):
        products = x * y
        return products.cumsum(-1)[..., -1].astype(x.dtype) if x.ndim > 1 else operation.forward(x, y)

    sloppy = Operation(
        operation.name, "", operation.arguments, operation.signature, in_a_chain, operation.jacobian, operation.vjp
    )
    sizes = {"n": 300}
    block = draw_block(operation, sizes, F32, 32, draw)
    assert not list(broken_rows(operation, block))
    assert list(broken_rows(operation, block, sloppy))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("n", "rows"), sampled([(10, 600), (31, 200), (49, 60), (100, 20), (127, 20)], [(49, 60), (127, 20)])
)
@pytest.mark.parametrize("name", ["softmax", "softmax_cross_entropy"])
def test_many_rows_of_a_softmax_are_within_the_bound(name, n, rows, dtype):
    """Sums down the columns, where the classes are few: one row in a hundred tells."""
    assert worst_of_a_batch(name, n, rows, dtype) <= 1


def test_sums_in_chains_are_not_within_the_bound(monkeypatch):
    monkeypatch.setattr(errorfree, "total", lambda a, exact=True: np.add.reduce(a))
    assert worst_of_a_batch("softmax", 31, 300, F64) > 1


def worst_of_a_batch(name, n, rows, dtype):
    """The worst error over its limit."""
    operation, draw = OPERATIONS[name], np.random.default_rng(0)
    x, delta = draw.normal(size=(2, rows, n)).astype(dtype)
    y = draw.dirichlet(np.ones(n), rows).astype(dtype)
    args, delta = ((x,), delta) if name == "softmax" else ((x, y), np.ones(rows, dtype))
    results = {"value": [operation.forward(*args)], "vjp": operation.vjp(delta, *args)}
    found = 0.0
    for i in range(rows):
        case = Case(tuple(a[i] for a in args), delta[i], ())
        for kind, arrays in results.items():
            for question, a in zip(questions(operation, case, kind, work=10**9), arrays, strict=True):
                errors = certified_errors(question.claim(a[i]), dtype)  # NaN where nothing is asked
                found = max(found, np.nanmax(errors, initial=0) / question.limit)
    return found


@pytest.mark.parametrize("n", [47, 49, 100, 127])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_targets_that_are_hard_to_add_in_a_batch(n, dtype):
    """A 1 and many of half its ULP: found by a reviewer, 8.6 ULP in eight chains of 16."""
    operation = OPERATIONS["softmax_cross_entropy"]
    x = np.linspace(-1, 1, n).astype(dtype)
    for place in (0, n // 2):
        y = np.full(n, 1.01 * np.finfo(dtype).eps / 2, dtype)
        y[place] = 1
        dx, dy = operation.vjp(np.ones(2, dtype), np.stack([x, x]), np.stack([y, y]))
        case = Case((x, y), np.ones((), dtype), ())
        for question, d in zip(questions(operation, case, "vjp", work=10**9), (dx[1], dy[1]), strict=True):
            judge(question.claim(d), dtype)


@pytest.mark.parametrize("n", [37, 45, 91, 105, 300])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_mean_of_equal_terms_in_a_batch(n, dtype):
    """Equal logits, and δ of two values: the terms of the mean's correction are equal, 10 of 6 units in chains."""
    levels = np.random.default_rng(0).uniform(1, 2, 24).astype(dtype)
    delta = np.repeat(levels[:, None], n, axis=1)
    delta[:, 0] = 0
    (dx,) = softmax_vjp(delta, np.zeros_like(delta))
    for level, row in zip(levels, dx, strict=True):
        for k, exact in ((0, -Fraction(float(level)) * (n - 1) / n**2), (n - 1, Fraction(float(level)) / n**2)):
            unit = Fraction(float(np.spacing(dtype.type(abs(float(exact))))))  # |dx| is the condition here
            assert abs(Fraction(float(row[k])) - exact) <= 6 * unit


@pytest.mark.parametrize("n", [63, 500])
def test_a_confident_row_and_the_cotangent_of_another_class(n):
    """The largest terms of the mean's correction are as large and opposite: they meet last. Once 8 of 6 units."""
    draw, k, j = np.random.default_rng(7), n // 2, n // 3
    x = draw.normal(size=(60_000 // n, n))
    x[:, k] += 20
    delta = np.zeros_like(x)
    delta[:, j] = 1
    for _ in range(60):
        s = np.exp(x.astype(np.longdouble) - x[:, k, None])
        s /= s.sum(1, keepdims=True)
        exact, condition = -s[:, k] * s[:, j], s[:, k] * s[:, j]  # at k, where the condition is that of one term
        (dx,) = softmax_vjp(delta, x)
        errors = np.abs(dx[:, k] - exact) / np.spacing(condition.astype(F64))
        worst = np.argsort(-errors)[:20]
        assert errors[worst[0]] <= 6
        x = x[np.resize(worst, len(x))]  # the worst rows, and the same with a few logits moved
        x[20:] += 0.01 * draw.normal(size=x[20:].shape) * (draw.random(x[20:].shape) < 3 / n)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("n", [63, 511, 567, 575, 1015, 5000])
def test_a_row_that_is_no_number_leaves_its_neighbours_their_digits(n, bad):
    """567 classes once lost 35 ULP beside a NaN."""
    x = np.full((3, n), 1.7)
    x[:, n // 2] += 4
    alone = softmax(x)[1]
    x[0, 0] = bad
    np.testing.assert_allclose(softmax(x)[1], alone, rtol=2 * np.finfo(F64).eps)
    y = np.full((3, n), 0.1)
    alone = softmax_cross_entropy(x[1:], y[1:])[0]
    np.testing.assert_allclose(softmax_cross_entropy(x, y)[1], alone, rtol=2 * np.finfo(F64).eps)


@pytest.mark.parametrize("n", [500, 960, 1000, 2047, 2500, 5000, 40_000])
def test_a_long_softmax_of_equal_logits_and_of_those_made_for_it(n):
    """A single vector of 5000 once lost 5 ULP, made for it 8: parts of a 64th were added in eight chains."""
    x = np.full(n, 1.3)
    assert error(softmax(x)[:1], certified.value("softmax", x, at=[0])) <= 2
    x = np.full(n, np.log(1.02 * 2.0**-53))
    x[::64] = 0
    assert error(softmax(x)[:1], certified.value("softmax", x, at=[0])) <= 2


def test_softmax_pulls_back_without_overflow_or_lost_subnormals_and_keeps_the_dtype():
    J = DiagonalMinusOuter(np.array([0.5, 0.5], F32), np.array([0.5, 0.5], F32))
    J.s.flags.writeable = False
    huge = np.array([3e38, -3e38], F32)
    np.testing.assert_array_equal(huge @ J, huge / 2)
    assert (huge @ J).dtype == F32
    np.testing.assert_array_equal(np.array([1e300, 0.0]) @ J, [2.5e299, -2.5e299])
    with np.errstate(all="raise"):
        tiny = DiagonalMinusOuter(np.array([1.0, 1e-200]), np.array([1e-200, 1.0]))
        np.testing.assert_array_equal(np.array([0.0, 1e-200]) @ tiny, 0)
        np.testing.assert_array_equal(tiny.todense(), [[1e-200, -1e-200], [-1e-200, 1e-200]])
        delta = np.full(300, 5e-322)
        delta[0] = 0
        x = np.append(np.log(299.0), np.zeros(299))  # s = ½, 1/598, …
        assert (delta @ softmax_jacobian(x)[0])[0] == -1.25e-322
        assert softmax_vjp(delta, x)[0][0] == -1.25e-322


@pytest.mark.parametrize("x", [0.01, 1.7033254, 3.1172862, 4.161092281341553, 8.3, 12.99, 43.4, 43.6])
def test_the_float32_slopes_of_tanh_and_sigmoid_where_exp_is_farthest_off(x):
    """4e / (1 + e)², e^-2x = e by the same exp, is off by 5 ULP."""
    x = np.arange(-4000, 4001, dtype=np.int32) + F32.type(x).view(np.int32)
    x = x.view(F32)
    slope = 1 / np.cosh(x.astype(np.float64)) ** 2
    for found, exact in ((tanh.derivative(x), slope), (sigmoid.derivative(2 * x), slope / 4)):
        assert (np.abs(found - exact) <= 4 * np.spacing(exact.astype(F32)).astype(np.float64)).all()


def test_a_million_equal_shares_of_float32_against_one_cotangent():
    """Of a million terms, one dot's chains in float64 left 8 units, and the Jacobian's in float32 58."""
    x, delta = np.full(1_000_000, -0.0767796, F32), np.zeros(1_000_000, F32)
    x[0], delta[0] = 0, 1
    e = math.exp(x[1])
    g = 1 + (x.size - 1) * e
    for dx in (softmax_vjp(delta, x)[0], delta @ softmax_jacobian(x)[0]):
        assert abs(float(dx[1]) + e / g / g) <= float(np.spacing(abs(dx[1])))


@pytest.mark.parametrize("dtype", [np.float64, F32])
def test_an_infinite_cotangent_leaves_no_number_whichever_class_it_is_of(dtype):
    for delta in ([1, np.inf], [np.inf, 1], [-np.inf, np.inf]):
        assert np.isnan(softmax_vjp(np.array(delta, dtype), np.zeros(2, dtype))[0]).all()


def test_the_rest_of_a_very_long_row_is_no_longer_than_a_part():
    """2¹³ parts: their rest was once 8191 terms in a row, 70 ULP of terms made for it."""
    W = np.zeros((1, (1 << 24) - 1), F32)
    rest = W[0, -8191:]
    rest[:] = 1.01 * 2.0**-24
    rest[0] = 1
    exact = 1 + 8190 * float(rest[1])
    assert abs(float(matvec(W, np.ones(W.size, F32))[0]) - exact) <= (4 + np.log2(W.size)) * 2.0**-23


def test_a_batch_of_one_is_added_as_an_example_is():
    W, x = np.random.default_rng(0).normal(size=(2, 3, 1000))
    assert np.array_equal(matvec(W, x[:1]), [matvec(W, x[0])])
    assert matvec(W, x[:1, None]).shape == (1, 1, 3)


def test_a_softmax_jacobian_underflows_silently():
    with np.errstate(all="raise"):
        (J,) = softmax_jacobian([0.0, -740.0])
    assert J.rest[0] == np.exp(-740.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("h", [tanh, sigmoid], ids=lambda h: h.name)
def test_a_nan_beside_saturated_entries_changes_none_of_them(h, dtype):
    x = np.array([45, 360, 1000, 0.5, -50, -1e30, np.inf, np.nan], dtype)
    assert np.array_equal(h.derivative(x)[:-1], h.derivative(x[:-1]))
    assert np.isnan(h.derivative(x)[-1])


def test_a_jump_just_at_the_limit():
    """Found by the thorough profile: the unit was rounded to nearest, and the error 16.000000000000004 of 16."""
    case = regime_case(OPERATIONS["activation[leaky_relu]"], "tiny", F64, np.random.default_rng(14682))
    assert not broken(OPERATIONS["activation[leaky_relu]"], case)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_regime_asks_something(name):
    """Every regime has cases of both dtypes with entries that are judged: none is skipped altogether."""
    operation, draw = OPERATIONS[name], np.random.default_rng(5)
    for regime in regimes_of(operation):
        for dtype in DTYPES:
            cases = [regime_case(operation, regime, dtype, draw) for _ in range(20)]
            assert all(case.dtype == dtype for case in cases)
            judged = (np.count_nonzero(~np.isnan(q.scale)) for case in cases for q in questions(operation, case, "vjp"))
            assert any(judged) or (operation.promise, regime) == ("sum", "huge"), (regime, dtype)  # there sums overflow


def test_every_operation_has_bounds_and_regimes():
    for operation in OPERATIONS.values():
        assert regimes_of(operation)
        args = [np.eye(1, 3)[0] for _ in operation.arguments]
        for quantity in ["u", *("J" + a for a in operation.arguments), *("d" + a for a in operation.arguments)]:
            assert bound_of(operation, quantity, args) in BOUNDS.values()
            assert 0.5 <= limit_of(operation, quantity, args) <= 60


def test_no_bound_was_loosened():
    """The table, written out once more."""
    numbers = {key: (round(bound.fixed, 3), bound.logs) for key, bound in BOUNDS.items()}
    assert numbers == {
        **{("elementary", q): (0.5, 0) for q in ("u", "J", "d")},
        ("elementary", "dalpha"): (4, 1),
        **{("function", q): (4, 0) for q in ("u", "J")},
        ("function", "d"): (5, 0),
        **{("sum", q): (4, 1) for q in ("u", "J", "d")},
        ("softmax", "u"): (4, 0),
        ("softmax", "J"): (6, 0),
        ("softmax", "d"): (6, 0),
        **{("cross-entropy", q): (4, 0) for q in ("u", "Jy", "dy", "Jx one-hot", "dx one-hot")},
        **{("cross-entropy", q): (6, 0) for q in ("Jx", "dx")},
        **{("composition", q): (8, 1) for q in ("u", "J", "d")},
        ("kinked", "u"): (8, 1),
        **{("kinked", q): (16, 1) for q in ("J", "d")},
        **{("definition", q): (1, 0) for q in ("u", "J", "d")},
    }


# ── Long vectors ────────────────────────────────────────────────────────────────────────────────────────────────────

LONG = 100_000


def long_vectors(dtype):
    draw = np.random.default_rng(1)
    reach = 1.0 if dtype == F64 else 0.1
    normal = (draw.normal(size=LONG) * 3).astype(dtype)
    confident = normal.copy()
    confident[5] += dtype.type(400 * reach)
    tail = np.zeros(LONG, dtype)
    tail[5] = dtype.type(743) if dtype == F64 else dtype.type(101)
    spread = draw.uniform(-550 * reach, 550 * reach, LONG).astype(dtype)
    return {
        "normal": normal,
        "equal": np.full(LONG, 0.1, dtype),
        "confident": confident,
        "tail": tail,
        "spread": spread,
    }


def error(actual, truth, size=0.0):
    return float(scaled_ulp_error(np.asarray(actual), truth, size).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "equal", "confident", "tail", "spread"])
def test_long_vectors(kind, dtype):
    x, at = long_vectors(dtype)[kind], [0, 5, LONG - 1]
    few = np.zeros(LONG, dtype)
    few[[5, 77]] = 0.5, 0.25
    limit = 4 + np.log2(LONG)
    assert error(sum_reduction(x), certified.value("sum_reduction", x), np.abs(x.astype(F64)).sum()) <= limit
    assert error(dot(x, x), certified.value("dot", x, x)) <= limit
    assert error(softmax(x)[at], certified.value("softmax", x, at=at)) <= 4
    assert error(softmax_cross_entropy(x, few), certified.value("softmax_cross_entropy", x, few)) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_a_long_softmax(dtype):
    n, at = 2_000, [5, 1_999]
    x, hot = long_vectors(dtype)["confident"][:n], np.eye(1, n, 5, dtype=dtype)[0]
    delta = np.random.default_rng(2).normal(size=n).astype(dtype)
    corner = [0, 5, 5 * n, 5 * n + 5, n * n - 1]
    dense = softmax_jacobian(x)[0].todense().ravel()
    assert error(dense[corner], certified.jacobian("softmax", x, at={0: corner})[0]) <= 6
    size = scale("softmax", "vjp", delta, x, at={0: at})[0]
    assert error(softmax_vjp(delta, x)[0][at], certified.vjp("softmax", delta, x, at={0: at})[0], size) <= 6
    slope = softmax_cross_entropy_jacobian(x, hot)[0].v[at]
    assert error(slope, certified.jacobian("softmax_cross_entropy", x, hot, at={0: at})[0]) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cross_entropy_whose_logits_differ_by_more_than_the_largest_number(dtype):
    """The loss and `dy` are in range, since the weights are small; a sweep of 20,000 cases found it infinite."""
    huge = 0.6 * np.finfo(dtype).max
    x, y, delta = np.array([huge, -huge, 0.0], dtype), np.array([0.5, 0.25, 0.25], dtype), dtype.type(0.25)
    assert error(softmax_cross_entropy(x, y), certified.value("softmax_cross_entropy", x, y)) <= 4
    for actual, truth in zip(
        softmax_cross_entropy_vjp(delta, x, y), certified.vjp("softmax_cross_entropy", delta, x, y), strict=True
    ):
        assert error(actual, truth) <= 4


def equal_terms(k, dtype, rows=()):
    """Of equal terms every rounding goes the same way: the worst that a chain of sums can meet. And their exact sum."""
    c = dtype.type(np.random.default_rng(k).uniform(0.5, 1))
    return np.full((*rows, k), c), certified.value("sum_reduction", np.full(k, c))


LENGTHS = [64, 65, 96, 257, 1000, 4096, LONG]
THIN = [(), (1,), (3,), (32,)]  # batches


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", THIN, ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_long_rows_and_columns_of_a_matrix(n, batch, dtype):
    """`W x` sums over n, `δ W` over d: of a single example and of a batch, every way that a product with W is used."""
    W, truth = equal_terms(n, dtype, (2,))
    ones, zeros, limit = np.ones((*batch, n), dtype), np.zeros(2, dtype), 4 + np.log2(n)
    forwards = [matvec(W, ones), affine(W, ones, zeros), activation(identity, W, ones, zeros)]
    backwards = [
        matvec_vjp(ones, W.T, ones[..., :2])[1],
        affine_vjp(ones, W.T, ones[..., :2], np.zeros(n, dtype))[1],
        activation_vjp(ones, identity, W.T, ones[..., :2], np.zeros(n, dtype))[1],
    ]
    for got in [*forwards, *backwards]:
        assert max(error(entry, truth) for entry in np.unique(got)) <= limit
    if not batch:
        assert max(error(entry, truth) for entry in ones @ matvec_jacobian(W.T, ones[:2])[1]) <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_long_rows_of_a_network(n, dtype):
    """Logits of long rows, in a loss: `L = log(1 + e⁻ᶻ)` has the slope `−s(−z)`, where an error of z shows as it is."""
    W, _ = equal_terms(n, dtype, (2,))
    c = W[0, 0]
    W[1], one_hot = 0, np.array([0, 1], dtype)
    x, b = np.full(n, 2.0 ** -np.ceil(np.log2(n)), dtype), np.zeros(2, dtype)  # z = n c / 2ᵏ, between ¼ and 1
    z = float(c) * n * 2.0 ** -np.ceil(np.log2(n))
    logistic, layers = np.log1p(np.exp(z)), [Layer(W, b, identity)]
    eps, limit = np.finfo(dtype).eps, 8 + np.log2(n)
    slope = 1 / (1 + np.exp(-z))
    for loss in (logistic_regression(W, x, b, one_hot), backpropagation(layers, x, one_hot).loss):
        assert abs(float(loss) - logistic) <= limit * eps * logistic
    for dx in (logistic_regression_vjp(dtype.type(1), W, x, b, one_hot)[1], backpropagation(layers, x, one_hot).dx):
        assert np.abs(dx.astype(F64) - slope * float(c)).max() <= limit * eps * slope * float(c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [50, 400, 1000])
@pytest.mark.parametrize("ahead", [[5], [5, 6]], ids=["one", "two"])
def test_a_long_softmax_with_subnormal_probabilities(ahead, n, dtype):
    """All but one or two are subnormal. They are summed before they are rounded to it; `Σ s_j δ_j` comes too late."""
    draw, worst, late = np.random.default_rng(n), 0.0, 0.0
    for _ in range(3):
        x = draw.normal(size=n) - (735 if dtype == F64 else 99)
        x[ahead] = np.linspace(0, -1, len(ahead))
        x, delta, at = x.astype(dtype), draw.normal(size=n).astype(dtype), [0, 5, 6, n - 1]
        s, tiny = softmax(x), np.finfo(dtype).smallest_normal
        assert (s[[0, n - 1]] > 0).all()
        assert (s[[0, n - 1]] < tiny).all()
        size = scale("softmax", "vjp", delta, x, at={0: at})[0]
        truth = certified.vjp("softmax", delta, x, at={0: at})[0]
        worst = max(worst, error(softmax_vjp(delta, x)[0][at], truth, size))
        d = delta - delta[5]
        late = max(late, error((s * (d - (s * d).sum()))[at], truth, size))
    assert worst <= 6
    assert late > 6 or len(ahead) == 2 or n < 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [10, 12])
def test_a_logit_far_below_costs_subnormal_targets_no_digit(n, dtype):
    """In halves, which only an infinite difference needs, each product of a target and its cost would lose a bit."""
    x, y = np.zeros(n, dtype), np.full(n, 3 * np.finfo(dtype).smallest_subnormal)
    x[0], y[0] = {F64: -1e300, F32: -1e30}[dtype], 0
    assert error(softmax_cross_entropy(x, y), certified.value("softmax_cross_entropy", x, y)) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 1), (3, 2), (1, 40), (40, 8)], ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_parameters_of_a_long_batch(n, shape, dtype):
    """A gradient that is summed over the batch is a sum: of 100,000 equal terms, `sum(0)` would lose four digits."""
    delta, truth = equal_terms(n, dtype, shape[:1])
    delta, x, W = np.ascontiguousarray(delta.T), np.ones((n, shape[1]), dtype), np.ones(shape, dtype)
    limit, b = 4 + np.log2(n), np.zeros(shape[0], dtype)
    found = [
        matvec_vjp(delta, W, x)[:1],
        affine_vjp(delta, W, x, b)[::2],
        activation_vjp(delta, identity, W, x, b)[::2],
    ]
    for got in sum(found, ()):
        assert max(error(entry, truth) for entry in np.unique(got)) <= limit
    w, half = np.ones(1, dtype), np.full(n, 0.5, dtype)
    dw = linear_regression_vjp(delta[:, 0], w, x[:, :1], half)[0]  # 2δ(1 − ½) = δ
    assert error(dw[0], truth) <= limit
    y = np.tile(np.array([1, 0], dtype), (n, 1))
    half_truth = certified.value("sum_reduction", delta[:, 0] / 2)
    dW, _, db, _ = logistic_regression_vjp(delta[:, 0], np.zeros((2, 1), dtype), x[:, :1], np.zeros(2, dtype), y)
    layers = [Layer(np.zeros((2, 1), dtype), np.zeros(2, dtype), identity)]
    dW0, db0 = backpropagation(layers, x[:, :1], y).layers[0]
    assert error(-db[0], half_truth) <= limit
    assert error(-dW[0, 0], half_truth) <= limit
    assert -dW0[0, 0] == -db0[0] == n / 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_sums_of_equal_terms_are_beyond_the_bound(dtype):
    """What the blocks are for: BLAS's chains and `sum(0)` break the bound that the reference keeps."""
    terms, truth = equal_terms(LONG, dtype, (40,))
    limit, ones = 4 + np.log2(LONG), np.ones((40, LONG), dtype)
    plain = [np.ones(LONG, dtype) @ np.ascontiguousarray(terms.T), terms[:1] @ ones[0], (terms @ ones.T)[0]]
    assert max(error(got[0], truth) for got in plain) > limit
    assert error(np.ascontiguousarray(terms.T).sum(0)[0], truth) > limit


def test_sums_of_rows():
    draw = np.random.default_rng(4)
    for shape in [(0, 3), (1, 3), (2, 3), (7, 3), (8, 1), (4, 5, 3), (3,), (5, 0)]:
        a = draw.integers(-9, 9, size=shape).astype(F64)
        np.testing.assert_array_equal(
            sum_of_rows(a), a.reshape(-1, shape[-1]).sum(0) if a.size else np.zeros(shape[-1])
        )


# ── Edges of the softmax ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_cotangent_gives_exact_zeros(dtype):
    draw = np.random.default_rng(6)
    for c in (1e-30, 0.1, 1e9, -3e30, np.finfo(dtype).max):
        x = (draw.normal(size=(20, 7)) * 30).astype(dtype)
        assert not softmax_vjp(np.full_like(x, c), x)[0].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_the_exponentials_change_their_scale(dtype):
    """Both sides of ±600 (±60 in float32), where `exponentials` starts to subtract the largest logit."""
    edge = 600 if dtype == F64 else 40
    for start in (-edge, edge):
        for step in (-1, -1e-3, 0.0, 1e-3, 1):
            x = (start + step + np.linspace(-3, 3, 5)).astype(dtype)
            case = Case((x,), np.array([1, -2, 3, 0, 0.5], dtype), ())
            assert not broken(OPERATIONS["softmax"], case)


def test_rows_of_a_batch_do_not_see_each_other():
    """A row that is masked, huge or NaN leaves the others within their bounds, and its own NaN stays its own."""
    rows = np.array([[0.1, 0.2, 3.0], [-np.inf, 1.0, 1.5], [1e300, 5.0, 0.0], [np.nan, 0.0, 0.0], [-np.inf] * 3])
    batch = softmax(rows)
    for row, s in zip(rows[:3], batch[:3], strict=True):
        assert error(s, certified.value("softmax", row) if np.isfinite(row).all() else _unmasked(row)) <= 4
    assert np.isnan(batch[3:]).all()
    dx, _ = softmax_cross_entropy_vjp(np.ones(3), rows[:3], np.eye(3)[[2, 2, 0]])
    np.testing.assert_array_equal(dx[2], 0)
    assert dx[1, 0] == 0


def test_nor_do_they_of_many():
    """Where the largest of few classes is found by comparison."""
    x = np.random.default_rng(0).normal(size=(600, 10))
    wild = [np.full(10, 3.0), np.where(np.arange(10) < 4, -np.inf, 1.0), np.arange(10) * 1e307]
    x[7], x[300], x[599] = wild
    for row, s in zip(wild, softmax(x)[[7, 300, 599]], strict=True):
        np.testing.assert_allclose(s, softmax(row), rtol=1e-15)
    tame = np.delete(np.arange(600), [7, 300, 599])
    np.testing.assert_allclose(softmax(x)[tame], softmax(x[tame]), rtol=2e-15)
    x[5, 3] = np.nan
    assert np.array_equal(np.isnan(softmax(x)).any(-1), np.arange(600) == 5)
    np.testing.assert_allclose(softmax(x)[300], softmax(wild[1]), rtol=1e-15)


def _unmasked(row):
    return certified.value("softmax", row)


# ── The claim itself ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_certified_claim_is_judged():
    truth = certified.value("reciprocal", np.array([3.0, 7.0]))
    near = np.array([1 / 3, 1 / 7])
    measure = judge(Certified("u", near, truth, np.zeros(2), 0.5), F64)
    assert measure.entries == 2
    assert 0.1 < measure.ulp <= 0.5
    with pytest.raises(Violation, match=r"u\[1\] = 0.1428571428571\d*, certified 0.142857142857\d*: off by 1.7\d* ULP"):
        judge(Certified("u", near + 2 * np.spacing(near[1]) * np.eye(2)[1], truth, np.zeros(2), 0.5), F64)
    with pytest.raises(Violation, match=r"u has shape \(1,\), expected \(2,\)"):
        judge(Certified("u", near[:1], truth, np.zeros(2), 0.5), F64)
    with pytest.raises(Violation, match="nan"):
        judge(Certified("u", near * np.nan, truth, np.zeros(2), 0.5), F64)
    assert judge(Certified("u", near * np.nan, truth, np.full(2, np.nan), 0.5), F64).entries == 0


# ── Planted faults: what everybody writes ───────────────────────────────────────────────────────────────────────────


def replaced(name, **functions):
    row = OPERATIONS[name]
    parts = {"forward": row.forward, "jacobian": row.jacobian, "vjp": row.vjp, **functions}
    return type(row)(row.name, row.slide, row.arguments, row.signature, *parts.values())


def slope_of(h):
    """A scalar function's row with another derivative."""
    return {"vjp": lambda delta, x: (delta * h(x),), "jacobian": lambda x: (np.diag(h(x)),)}


class Cancelling(DiagonalMinusOuter):
    """Right as a dense array."""

    def _pull_back(self, delta):
        return delta * self.s - (delta * self.s).sum() * self.s


def cancelling(x):
    (J_x,) = softmax_jacobian(x)
    return (Cancelling(J_x.s, J_x.rest),)


V, J, D = (f"{kind}_within_bound_of_truth" for kind in ("value", "jacobian", "vjp"))
FAULTS = [  # name of the operation, what is wrong with it, the regime that shows it, and the laws that reject it
    ("softmax", {"forward": textbook.softmax}, "confident", [V]),
    ("softmax", {"forward": lambda x: textbook.softmax(x.astype(F32)).astype(x.dtype)}, "ordinary", [V]),
    ("softmax", {"vjp": lambda d, x: (textbook.softmax(x) * (d - d @ textbook.softmax(x)),)}, "confident", [D]),
    ("softmax", {"vjp": lambda d, x: (textbook.softmax(x) * (d - d @ textbook.softmax(x)),)}, "equal", [D]),
    ("softmax", {"vjp": lambda d, x: (softmax(x) * (d - d @ softmax(x)),)}, "near-ties", [D]),
    ("softmax", {"jacobian": lambda x: (np.diag(softmax(x)) - np.outer(softmax(x), softmax(x)),)}, "confident", [J]),
    ("softmax", {"jacobian": cancelling}, "confident", [J]),
    (
        "softmax_cross_entropy",
        {"forward": lambda x, y: -(np.where(y == 0, 0, y * np.log(textbook.softmax(x)))).sum()},
        "confident",
        [V],
    ),
    ("softmax_cross_entropy", {"forward": lambda x, y: -(y @ textbook.log_softmax(x))}, "confident", [V]),
    (
        "softmax_cross_entropy",
        {"vjp": lambda d, x, y: (d * (y.sum() * softmax(x) - y), -d * np.log(softmax(x)))},
        "confident",
        [D],
    ),
    (
        "softmax_cross_entropy",
        {"jacobian": lambda x, y: (y.sum() * softmax(x) - y, softmax_cross_entropy_jacobian(x, y)[1].v)},
        "confident",
        [J],
    ),
    ("tanh", slope_of(lambda x: 1 - np.tanh(x) ** 2), "saturated", [J, D]),
    ("sigmoid", slope_of(lambda x: textbook.sigmoid(x) * (1 - textbook.sigmoid(x))), "saturated", [J, D]),
    ("sigmoid", {"forward": lambda x: 0.5 * (1 + np.tanh(0.5 * x))}, "saturated", [V]),
    ("softplus", {"forward": lambda x: np.log(1 + np.exp(x))}, "saturated", [V]),
    ("silu", slope_of(lambda x: textbook.sigmoid(x) * (1 + x * (1 - textbook.sigmoid(x)))), "saturated", [J, D]),
    ("elu", {"forward": lambda x: np.where(x > 0, x, np.exp(x) - 1)}, "zeros", [V]),
    ("gelu", {"forward": OPERATIONS["gelu_tanh"].forward}, "ordinary", [V]),
    ("reciprocal", slope_of(lambda x: -1 / (x * x)), "huge", [J, D]),
    ("sum_reduction", {"forward": lambda x: x.sum() + 100 * np.spacing(np.abs(x).sum())}, "ordinary", [V]),
    ("dot", {"forward": lambda x, y: np.asarray(x.astype(F32) @ y.astype(F32), x.dtype)}, "ordinary", [V]),
    ("hadamard", {"forward": lambda x, y: np.nextafter(x * y, np.inf)}, "ordinary", [V]),
    ("scale", {"vjp": lambda d, x, a: (d / (1 / a) if a else d * a, d @ x)}, "ordinary", [D]),
    (
        "activation[tanh]",
        {"forward": lambda W, x, b: np.tanh((W @ x + b).astype(F32)).astype(x.dtype)},
        "ordinary",
        [V],
    ),
    (
        "logistic_regression",
        {"forward": lambda W, x, b, y: -(y @ textbook.log_softmax(W @ x + b)) * (1 + 1e-14)},
        "ordinary",
        [V],
    ),
]


@pytest.mark.parametrize(("name", "wrong", "regime", "laws"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_planted_faults_are_rejected(name, wrong, regime, laws):
    operation, draw, rejected = OPERATIONS[name], np.random.default_rng(7), set()
    faulty = replaced(name, **wrong)
    for _ in range(40):
        case = regime_case(operation, regime, F64, draw)
        with np.errstate(all="ignore"):
            found = violations(TRUTH_LAWS, truth_point(operation, case, faulty))
            rejected |= {law for law, _, violation in found if isinstance(violation, Violation)}
        assert not broken(operation, case)
    assert rejected == set(laws)


def test_a_jacobian_beyond_the_largest_number_is_not_asked_for_its_shares():
    """x₁ − x₀ is too large for float32, half of it is not: found in 20,000 cases."""
    x, y = np.array([3e38, -3e38], F32), np.array([0.5, 0.5], F32)
    operation = OPERATIONS["softmax_cross_entropy"]
    case = Case((x, y), np.array(0.5, F32), ())
    with np.errstate(over="ignore"):
        assert np.isinf(operation.jacobian(x, y)[1].todense()).any()
        assert not broken(operation, case)


def test_a_jacobian_of_subnormal_entries_is_judged_by_what_it_can_be():
    """½ x of the smallest number is 0, and so is δ times it, where the vjp has 32 units: found in 20,000 cases."""
    operation = OPERATIONS["logistic_regression"]
    args = [np.zeros((2, 1)), np.array([5e-324]), np.zeros(2), np.array([1.0, 0.0])]
    case = Case(tuple(args), np.array(64.0), ())
    assert not (64.0 @ operation.jacobian(*args)[0]).any()
    assert operation.vjp(64.0, *args)[0][1, 0] == 32 * 5e-324
    assert not broken(operation, case)


def test_every_law_has_a_planted_fault():
    assert {law for *_, laws in FAULTS for law in laws} == set(TRUTH_LAWS)


@pytest.mark.parametrize("sigma", [1, 10, 30])
def test_exp_without_the_lost_part_is_seen(sigma):
    """`exp(fl(x − max x))` is off by as many ULP as the exponent is large."""
    draw, worst = np.random.default_rng(8), 0.0
    for _ in range(100):
        x = draw.normal(size=8) * sigma
        worst = max(worst, error(textbook.softmax(x), certified.value("softmax", x)))
        assert error(softmax(x), certified.value("softmax", x)) <= 4
    assert (worst > 6) == (sigma > 1)


def test_a_wrong_rule_of_derivatives_breaks_the_law_of_the_judges(monkeypatch):
    @jax.custom_jvp
    def square(x):
        return x * x

    square.defjvp(lambda x, t: (square(*x), x[0] * t[0]))
    operation, x = OPERATIONS["square"], np.array([3.0])
    point = truth_point(operation, Case((x,), np.ones(1), ()))
    assert [found for *_, found in violations(JUDGE_LAWS, point) if isinstance(found, Violation)] == []
    monkeypatch.setattr(certified, "definition", lambda _: square)
    (found,) = (found for *_, found in violations(JUDGE_LAWS, point))
    assert re.match(r"dx, entry 0: 3.0* by JAX's rules, 6.0* by power series", found.message)


def test_what_a_row_does_not_promise_is_what_rounding_may_do():
    """The default of a row: the running error analysis, within which the reference is, and a wrong digit is not."""
    operation = replace(OPERATIONS["softmax"], promise="definition")
    case = Case((np.array([0.5, -3.0, 2.0, 0.25]),), np.array([1.0, -2.0, 0.5, 3.0]), ())
    assert not broken(operation, case)
    off = replace(operation, vjp=lambda delta, x: (softmax_vjp(delta, x)[0] * (1 + 1e-13),))
    found = [found for *_, found in violations(TRUTH_LAWS, truth_point(operation, case, off))]
    assert [type(f) for f in found] == [Measure, Measure, Measure, Violation]
    with pytest.raises(KeyError):
        bound_of(replace(operation, promise="nosuch"), "u", case.args)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_a_few_entries_of_a_large_case_are_asked_for(dtype):
    row, normal = CATALOGUE["layer_norm"], np.random.default_rng(0).standard_normal
    x, scale, bias = (normal(shape).astype(dtype) for shape in ((1000, 1000), 1000, 1000))
    case = Case((x, scale, bias), normal(x.shape).astype(dtype), ())
    said = evaluated(row, case.delta, case.args, dtype=dtype, careful=True)
    (value,) = questions(row, case, "value", said=said)
    dx, dscale, dbias = questions(row, case, "vjp", said=said)
    assert dscale is None  # it needs all entries
    rounded = [(value, x.shape), (dx, x.shape), (dbias, bias.shape)]
    for question, shape in rounded:
        flat, at = np.zeros(math.prod(shape), dtype), list(question.chosen.entries)
        assert (len(at), at[0], at[-1]) == (6, 0, flat.size - 1)
        flat[at] = question.truth.nearest(dtype)
        assert judge(question.claim(flat.reshape(shape)), dtype).entries == 6
        flat[at[3]] += 2 * question.limit * question.scale[3] * np.finfo(dtype).eps
        place = [int(i) for i in np.unravel_index(at[3], shape)]
        with pytest.raises(Violation, match=re.escape(f"{question.what}{place} = ")) as wrong:
            judge(question.claim(flat.reshape(shape)), dtype)
        assert wrong.value.index == tuple(place)
        with pytest.raises(Violation, match="has shape"):
            judge(question.claim(flat[at]), dtype)


def test_the_laws_ask_a_large_case(monkeypatch):
    row = CATALOGUE["layer_norm"]
    x, ones, zeros = np.random.default_rng(0).standard_normal((100, 100)), np.ones(100), np.zeros(100)

    def right(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    def wrong(x, scale, bias):
        found = right(x, scale, bias)
        found[-1, -1] *= 1 + 1e-9
        return found

    case, law = Case((x, ones, zeros), x, ()), TRUTH_LAWS["value_within_bound_of_truth"]
    for forward, passes in ((right, True), (wrong, False)):
        point = truth_point(row, case, Implementation(forward=forward))
        claims = list(law(point))
        assert len(claims) == 1
        with nullcontext() if passes else pytest.raises(Violation, match=r"u\[99, 99\] = .* certified"):
            judge(claims[0], F64)
