"""The certified oracle against mpmath, whose forwards and derivatives share no line with it."""

import time
from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from flint import arb, ctx
from mpmath import mp, mpf

from backprop_oracle import certified, definitions, numbers
from backprop_oracle.certified import (
    Enclosures,
    PrecisionCapReached,
    jacobian,
    slopes_at,
    value,
    vjp,
    vjp_by_slopes,
)
from backprop_oracle.enclosures import CAP, round_to, working_precision
from backprop_oracle.rows import definition
from backprop_reference import OPERATIONS
from backprop_reference.table import deep

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
BITS = 400  # of mpmath

# ── The slides once more, in mpmath: vectors are object arrays of mpf ───────────────────────────────────────────────

H = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "reciprocal": lambda x: 1 / x,
    "negate": lambda x: -x,
    "square": lambda x: x**2,
    "identity": lambda x: x,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "relu": lambda x: max(x, mpf(0)),
    "leaky_relu": lambda x: x if x >= 0 else mpf(0.01) * x,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "gelu_tanh": lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3))),
}


def apply(h, x):
    return np.array([H[h](entry) for entry in x], dtype=object)


def softmax(x):
    f = apply("exp", x)
    return f / f.sum()


def cross_entropy(x, y):
    return -(y * apply("log", softmax(x))).sum()


def network(hs, *args):
    *parameters, h, y = args
    for name, W, b in zip(hs, parameters[0::2], parameters[1::2], strict=True):
        h = apply(name, W @ h + b)
    return cross_entropy(h, y)


PLAIN = {
    "scale": lambda x, alpha: x * alpha[()],
    "add": lambda x, y: x + y,
    "hadamard": lambda x, y: x * y,
    "sum_reduction": lambda x: x.sum(),
    "matvec": lambda W, x: W @ x,
    "subtract": lambda x, y: x - y,
    "dot": lambda x, y: x @ y,
    "squared_error": lambda x, y: ((x - y) ** 2).sum(),
    "linear_regression": lambda w, x, y: (w @ x - y[()]) ** 2,
    "affine": lambda W, x, b: W @ x + b,
    "softmax": softmax,
    "softmax_cross_entropy": cross_entropy,
    "logistic_regression": lambda W, x, b, y: cross_entropy(W @ x + b, y),
}


def second_opinion(name):
    if name in PLAIN:
        return PLAIN[name]
    if name in H:
        return lambda x: apply(name, x)
    row = ROWS[name]
    hs = [layer.h.name for layer in row.layers]
    if "target" in row.domain.values():
        return lambda *args: network(hs, *args)
    return lambda W, x, b: apply(hs[0], W @ x + b)


# ── Help ────────────────────────────────────────────────────────────────────────────────────────────────────────────

NETWORKS = [["gelu", "elu", "square"], *([h] for h in H), *([h, "identity"] for h in H)]
ROWS = {**OPERATIONS, **{row.name: row for row in map(deep, NETWORKS)}}
SIZES = {"n": 3, "d": 2, "k": 2, "m0": 2, "m1": 3, "m2": 2, "m3": 2}


def inputs(name, rng, dtype=F64, sizes=SIZES):
    """Arguments of ordinary size; positive where a logarithm or a pole is about."""
    arrays = [np.asarray(rng.normal(size=[sizes[k] for k in core]), dtype=dtype) for core in ROWS[name].cores[:-1]]
    return [np.asarray(abs(a) + dtype.type(0.1)) for a in arrays] if "log" in name or "recip" in name else arrays


def mpfs(array):
    return np.array([mpf(float(entry)) for entry in array.ravel()], dtype=object).reshape(array.shape)


def exactly(number):
    """An mpf as a ball of radius 0."""
    sign, mantissa, exponent, _ = number._mpf_
    with working_precision(6000):
        return arb((-1) ** sign * int(mantissa)) * arb(2) ** int(exponent)


def assert_holds(enclosures, expected, slack=2.0**-250):
    """Every ball holds mpmath's number, up to what mpmath's own derivative may be off."""
    flat = np.asarray(expected, dtype=object).ravel()
    assert len(flat) == len(enclosures.balls) > 0
    for ball, number in zip(enclosures.balls, flat, strict=True):
        exact = exactly(mpf(number))
        with working_precision(6000):
            margin = arb(0, slack) * (1 if slack > 1e-200 else abs(exact))
            assert (ball + margin).contains(exact), f"{enclosures.name}: {ball} does not hold {number}"


def partials(f, args, argument):
    """Derivatives of every output with respect to every entry of an argument, by mpmath's differences."""

    def column(index):
        def moved(t):
            other = [a.copy() for a in args]
            other[argument][index] = t
            return np.ravel(f(*other))

        outputs = len(moved(args[argument][index]))
        return [mpmath.diff(lambda t, i=i: moved(t)[i], args[argument][index]) for i in range(outputs)]

    return np.array([column(index) for index in np.ndindex(args[argument].shape)], dtype=object).T


def ends(enclosures):
    return [(ball.lower(), ball.upper()) for ball in enclosures.balls]


# ── Enclosures hold ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ROWS)
def test_enclosures_hold_what_mpmath_finds(name):
    row, args = ROWS[name], inputs(name, np.random.default_rng(len(name)))
    f = second_opinion(name)
    with mp.workprec(BITS):
        exact = [mpfs(a) for a in args]
        assert_holds(value(row, *args), f(*exact))
        delta = np.asarray(np.random.default_rng(1).normal(size=np.shape(f(*exact))))
        J, pulled, again = jacobian(row, *args), vjp(row, delta, *args), vjp_by_slopes(row, delta, *args)
        assert len(J) == len(pulled) == len(again) == len(args)
        for argument, (J_a, dx, by_slopes) in enumerate(zip(J, pulled, again, strict=True)):
            dense = partials(f, exact, argument)
            assert J_a.shape == delta.shape + args[argument].shape
            assert dx.shape == args[argument].shape
            assert_holds(J_a, dense)
            assert_holds(dx, np.ravel(mpfs(delta)) @ dense)
            assert_holds(by_slopes, np.ravel(mpfs(delta)) @ dense)


@pytest.mark.parametrize("h", H)
def test_tails_of_scalar_functions(h):
    x = np.array([1e-308, 3e-8, 0.75, 5.0, 37.0, 300.0])
    x = x if h in ("log", "reciprocal") else np.concatenate([x, -x])
    x = x[abs(x) < 20] if h == "gelu_tanh" else x  # beyond, 1 + tanh costs mpmath a million digits
    with mp.workprec(2600):
        exact = mpfs(x)
        assert_holds(value(h, x), apply(h, exact), slack=0)
        slopes = [mpmath.diff(H[h], entry) for entry in exact]
        for ball, slope in zip(slopes_at(h, list(map(arb, x.tolist()))), slopes, strict=True):
            with working_precision(6000):
                assert abs(ball[1] - exactly(slope)) <= arb(2) ** -70 * abs(exactly(slope)) + arb(2) ** -1100


def test_confident_softmax():
    x = np.array([0.0, 700.0, -5.0])
    with mp.workprec(6000):
        exact = mpfs(x)
        s = softmax(exact)
        assert_holds(jacobian("softmax", x)[0], np.diag(s) - np.outer(s, s), slack=1e-290)
        (dx,) = jacobian("softmax", x)
        expected = [[float(entry) for entry in row] for row in np.diag(s) - np.outer(s, s)]
    np.testing.assert_array_equal(dx.nearest(), expected)


def test_a_wrong_definition_is_noticed(monkeypatch):
    monkeypatch.setattr(certified, "definition", lambda operation: lambda x: x - x * x * x / 3)
    with pytest.raises(AssertionError, match="does not hold"):
        test_enclosures_hold_what_mpmath_finds("tanh")


def test_a_wrong_enclosure_is_noticed():
    truth = value("exp", np.array([1.0]))
    with working_precision(200):
        shifted = Enclosures("exp", (1,), (truth.balls[0] + arb(2) ** -100,), F64, truth.refine)
    with mp.workprec(BITS):
        assert_holds(truth, [mpmath.e])
        with pytest.raises(AssertionError, match="does not hold"):
            assert_holds(shifted, [mpmath.e])


# ── Correct rounding ────────────────────────────────────────────────────────────────────────────────────────────────


def test_rounding_agrees_with_exact_division():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        mantissa = int(rng.integers(1, 2 ** rng.integers(1, 63))) << int(rng.integers(0, 60))
        exponent = int(rng.choice([-1140, -1100, -1074, -60, 0, 900, 930]))
        exact = Fraction(mantissa) * Fraction(2) ** exponent
        try:
            expected = float(exact)  # integer division rounds to nearest, ties to even
        except OverflowError:
            expected = np.inf
        with working_precision(300):
            assert round_to(-(arb(mantissa) * arb(2) ** exponent), F64) == -expected


def test_rounding_to_float32_agrees_with_the_processor():
    rng = np.random.default_rng(0)
    near = np.float32(rng.normal(size=500)).astype(float) * 2.0 ** rng.integers(-150, 129, size=500)
    ties = near * (1 + 2.0**-24)
    for number in np.concatenate([near, ties, [2.0**-150, 1.5 * 2.0**-149, 3.4028235677973366e38]]):
        with np.errstate(over="ignore"):
            assert round_to(arb(float(number)), F32) == np.float32(number)


def test_ties_that_evaluate_exactly_go_to_even():
    one, ulp = 1.0, 2.0**-52
    assert value("add", np.array([one, one + ulp]), np.full(2, ulp / 2)).nearest().tolist() == [one, one + 2 * ulp]
    # a y that sums to 0: over the reals the logarithm drops out
    x = np.array([1.0, -ulp / 2])
    assert value("softmax_cross_entropy", x, np.array([-1.0, 1.0])).nearest(accept_ties=True) == 1.0


def test_fractions_settle_a_tie_that_balls_cannot(monkeypatch):
    """By three equal logits `dx₁ = (2δ₁ - δ₂ - δ₃) / 9`, here `1 + 2^-53`; a ball stays around it, for 1/3 has one."""
    (dx,) = vjp("softmax", np.array([4.5, -9 * 2.0**-53, 0.0]), np.full(3, 0.5), at={0: [0]})
    assert dx.nearest() == [1.0]
    monkeypatch.setattr(numbers, "fmpq_series", None)
    (dx,) = vjp("softmax", np.array([4.5, -9 * 2.0**-53, 0.0]), np.full(3, 0.5), at={0: [0]})
    with pytest.raises(PrecisionCapReached, match=r"vjp of softmax for argument 0.* is not settled"):
        dx.nearest()


def _tie(index, bits):
    with working_precision(bits):
        return arb(1) + arb(2) ** -53 + arb(0, 1) * arb(2) ** -bits


def test_a_tie_that_nothing_settles():
    truth = Enclosures("tie", (1,), (_tie(0, 128),), F64, _tie)
    with pytest.raises(PrecisionCapReached, match=rf"tie: entry \(0,\) is not settled between 1\.0 and .*{CAP} bits"):
        truth.nearest()
    assert truth.nearest(accept_ties=True) == 1.0
    assert truth.nearest(np.float32) == 1.0
    wide = Enclosures("wide", (1,), (_tie(0, 128),), F64, lambda index, bits: _tie(index, 128))
    with pytest.raises(PrecisionCapReached, match="wide"):
        wide.nearest(accept_ties=True)


def test_nearest_raises_precision_where_it_must():
    """A ball that straddles a tie by chance is narrowed by `refine`."""
    calls = []

    def refine(index, bits):
        calls.append(bits)
        with working_precision(bits):
            return arb(1) + arb(2) ** -53 + arb(2) ** -60

    with working_precision(128):
        wide = arb(1) + arb(2) ** -53 + arb(2) ** -60 + arb(0, 2.0**-55)
    assert Enclosures("wide", (), (wide,), F64, refine).nearest() == 1 + 2.0**-52
    assert calls == [256]


# ── Zeros, masks, extremes ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [F32, F64])
def test_exact_zeros_come_to_rest(dtype):
    one, many = np.array([3.5], dtype), np.array([3.5, -7.25, 600.0], dtype)
    zeros = [
        jacobian("softmax", one)[0],
        vjp("softmax", np.full(3, dtype.type(1e30)), many)[0],
        value("softmax_cross_entropy", one, one),
        value("dot", np.array([1.0, 1.0], dtype), np.array([1.0, -1.0], dtype)),
    ]
    for truth in zeros:
        assert not truth.nearest().any()
        assert truth.nearest().dtype == dtype
        for low, high in ends(truth):
            assert -(arb(2) ** -173) < low <= 0 <= high < arb(2) ** -173


def test_masks():
    x, y = np.array([1.0, -np.inf, 1.0]), np.array([0.25, 0.0, 0.75])
    assert value("softmax", x).nearest().tolist() == [0.5, 0.0, 0.5]
    assert jacobian("softmax", x)[0].nearest().tolist() == [[0.25, 0, -0.25], [0, 0, 0], [-0.25, 0, 0.25]]
    assert vjp("softmax", np.array([1.0, 5.0, 0.0]), x)[0].nearest().tolist() == [0.25, 0.0, -0.25]
    assert value("softmax_cross_entropy", x, y).nearest() == np.log(2)
    dx, dy = jacobian("softmax_cross_entropy", x, y)
    assert dx.nearest().tolist() == [0.25, 0.0, -0.25]
    assert dy.nearest().tolist() == [np.log(2), np.inf, np.log(2)]
    assert value("softmax_cross_entropy", x, np.array([0.0, 0.5, 0.5])).nearest() == np.inf
    assert jacobian("softmax_cross_entropy", x, np.array([0.0, 0.5, 0.5]))[0].nearest().tolist() == [0.5, -0.5, 0.0]
    assert not np.any([d.nearest() for d in vjp("softmax_cross_entropy", np.array(0.0), x, y)])
    with pytest.raises(ValueError, match="not masked"):
        value("softmax", np.full(2, -np.inf))


def test_kinks_are_those_of_jax():
    zero = np.zeros(1)
    slopes = {h: jacobian(h, zero)[0].nearest().item() for h in ("relu", "leaky_relu", "elu")}
    assert slopes == {"relu": 0.0, "leaky_relu": 1.0, "elu": 1.0}
    assert jacobian("leaky_relu", np.array([-1.0], F32))[0].nearest(F64).item() == 0.01


@pytest.mark.parametrize("h", H)
def test_extreme_arguments_end_soon(h):
    x = np.array([5e-324, 1e-300, 40.0, 800.0, 1e17, 1e308])
    x = x if h in ("log", "reciprocal") else np.concatenate([x, -x])
    start = time.perf_counter()
    values, slopes = value(h, x).nearest(), jacobian(h, x)[0].nearest().diagonal()
    assert time.perf_counter() - start < 5  # tens of milliseconds, unless memory or digits explode
    assert not np.isnan(values).any()
    assert not np.isnan(slopes).any()


def test_huge_logits():
    x = np.array([1e308, -1e308, 1e308])
    assert value("softmax", x).nearest().tolist() == [0.5, 0.0, 0.5]
    assert jacobian("softmax", x)[0].nearest()[0].tolist() == [0.25, 0.0, -0.25]
    y = np.array([0.0, 1.0, 0.0])
    assert value("softmax_cross_entropy", x, y).nearest() == np.inf
    assert value("softmax_cross_entropy", x / 4, y).nearest() == 5e307
    assert value("sum_reduction", np.array([1e308, 1e308, -1e308])).nearest() == 1e308
    assert value("exp", np.array([1e308])).nearest() == np.inf


def test_subnormal_results():
    x = np.array([0.0, 744.0])
    with mp.workprec(BITS):
        s = softmax(mpfs(x))
        assert value("softmax", x).nearest()[0] == float(s[0]) == 1e-323
    assert value("exp", np.array([-103.0], F32)).nearest() == np.float32(2.0**-149)


def test_empty_vectors():
    none, W = np.zeros(0), np.zeros((2, 0))
    assert value("sum_reduction", none).nearest() == 0
    assert value("tanh", none).nearest().shape == (0,)
    assert value("affine", W, none, np.ones(2)).nearest().tolist() == [1, 1]
    assert [d.shape for d in vjp("matvec", np.ones(2), W, none)] == [(2, 0), (0,)]
    assert [d.shape for d in jacobian("dot", none, none)] == [(0,), (0,)]
    with pytest.raises(ValueError, match="softmax of nothing"):
        value("softmax", none)


# ── Selection ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_selected_entries_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    W, x, b, delta = rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=2), rng.normal(size=2)
    args, at = (W, x, b), [5, 0, 5]
    whole = jacobian("activation[tanh]", *args)[0].nearest().ravel()
    some = jacobian("activation[tanh]", *args, at={0: at})
    assert some[0].nearest().tolist() == whole[at].tolist()
    assert [s.shape for s in some] == [(3,), (0,), (0,)]
    pulled = vjp("activation[tanh]", delta, *args)[0].nearest().ravel()
    assert vjp("activation[tanh]", delta, *args, at={0: at})[0].nearest().tolist() == pulled[at].tolist()
    assert value("activation[tanh]", *args, at=[1]).nearest() == value("activation[tanh]", *args).nearest()[1]


def test_long_vectors():
    x, delta = np.random.default_rng(0).normal(size=(2, 100_000)) * 5
    s = np.exp(x - x.max())
    s /= s.sum()
    expected = s * (delta - s @ delta)
    (dx,) = vjp("softmax", delta, x, at={0: [7, 99_999]})
    np.testing.assert_allclose(dx.nearest(), expected[[7, 99_999]], rtol=1e-11)


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cap_error_says_where_and_why():
    """exp(x) - exp(x) is 0, but neither balls nor fractions show it: the kink of relu stays undecided."""
    W1, b1, W2, b2 = np.ones((2, 1)), np.zeros(2), np.array([[1.0, -1.0], [0.5, 1.0]]), np.zeros(2)
    args = W1, b1, W2, b2, np.array([0.7]), np.array([1.0, 0.0])
    with pytest.raises(PrecisionCapReached, match=r"jacobian of .*exp,relu.* argument 0: entry .* kink") as caught:
        jacobian(deep(["exp", "relu"]), *args)
    assert f"cap of {CAP} bits" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("nosuch", np.ones(2)), ValueError, "unknown operation 'nosuch'"),
        (("activation[nosuch]", np.ones(2)), ValueError, "unknown operation"),
        (("add", np.ones(2)), ValueError, "add takes 2 arguments"),
        (("add", np.ones(2), np.ones(3)), ValueError, r"argument 1 has shape \(3,\), expected \(n\) with {'n': 2}"),
        (("matvec", np.ones(2), np.ones(2)), ValueError, r"argument 0 has shape \(2,\), expected \(d,n\)"),
        (("tanh", np.array([1, 2])), TypeError, "argument 0 has dtype int64, expected float32 or float64"),
        (("tanh", np.array([1.0, np.nan])), ValueError, "holds nan, expected finite"),
        (("tanh", np.array([-np.inf])), ValueError, "holds -inf, expected finite"),
        (("softmax", np.array([np.inf])), ValueError, "holds inf, expected finite"),
        (("log", np.array([1.0, -2.0])), ValueError, "log needs arguments > 0, got -2"),
        (("log", np.array([0.0])), ValueError, "log needs arguments > 0"),
        (("reciprocal", np.array([0.0])), ValueError, "reciprocal needs arguments other than 0"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        value(*arguments)


@pytest.mark.parametrize("at", [{1: [0]}, {0: [4]}, {0: [-1]}])
def test_a_wrong_selection(at):
    with pytest.raises(IndexError, match="`at`"):
        jacobian("softmax", np.ones(2), at=at)


def test_a_wrong_cotangent():
    with pytest.raises(ValueError, match=r"delta has shape \(3,\), the output has \(2,\)"):
        vjp("softmax", np.ones(3), np.ones(2))


def test_the_global_precision_is_left_alone():
    with working_precision(77, 5):
        vjp("gelu", np.ones(1), np.array([-30.0]))[0].nearest()
        with pytest.raises(ValueError, match="log needs"):
            value("log", -np.ones(1))
        assert (ctx.prec, ctx.cap) == (77, 5)


def test_every_row_of_the_operations_has_a_definition():
    for name, row in OPERATIONS.items():
        arguments = [np.ones([SIZES[k] for k in core]) for core in row.cores[:-1]]
        output = tuple(SIZES[k] for k in row.cores[-1])
        assert definition(name)(*arguments).shape == output, name
    assert {row.base for row in OPERATIONS.values()} == set(definitions.DEFINITIONS)


def test_constants_are_those_that_floats_hold_or_exact():
    one = np.ones(1)
    assert jacobian("leaky_relu", -one)[0].balls[0] == arb(0.01)
    with mp.workprec(BITS):
        assert_holds(value("gelu", one), [mpmath.ncdf(1)])
        assert_holds(value("gelu_tanh", one), [H["gelu_tanh"](mpf(1))])
        assert_holds(jacobian(jax.lax.erf, np.array(1.0))[0], [2 / mpmath.sqrt(mp.pi) / mpmath.e])


# ── Any function of jax.numpy ───────────────────────────────────────────────────────────────────────────────────────


def test_a_function_is_as_good_as_a_name():
    x, w, delta = np.array([0.1, -2.0, 3.0]), np.array([1.0, 2.0, 0.5]), np.array([1.0, -1.0, 0.25])

    def rms_norm(x, w):
        return x / jnp.sqrt(jnp.mean(x * x) + 1e-6) * w

    with mp.workprec(BITS):
        exact = mpfs(x), mpfs(w)

        def plain(x, w):
            return x / mpmath.sqrt((x * x).sum() / 3 + mpf(1e-6)) * w

        assert_holds(value(rms_norm, x, w), plain(*exact))
        for i, (dx, again) in enumerate(
            zip(vjp(rms_norm, delta, x, w), vjp_by_slopes(rms_norm, delta, x, w), strict=True)
        ):
            expected = mpfs(delta) @ partials(plain, exact, i)
            assert_holds(dx, expected)
            assert_holds(again, expected)


def test_what_moves_entries():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    def moved(x):
        rows = jnp.concatenate([x[jnp.array([1, 0, 1])], jnp.pad(x, ((0, 0), (1, 0)))[:, :3]])
        return jnp.cumsum(jnp.flip(rows, 0), 1)[::2, 1:]

    delta = np.arange(6.0).reshape(3, 2) + 1
    assert value(moved, x).nearest().tolist() == moved(x).tolist()
    (dx,), (again,) = vjp(moved, delta, x), vjp_by_slopes(moved, delta, x)
    expected = jax.vjp(moved, x)[1](delta)[0]
    assert dx.nearest().tolist() == again.nearest().tolist() == expected.tolist()


def test_a_tie_of_equal_but_inexact_balls_is_settled_by_fractions_or_refused():
    third = np.array([1.0, 3.0])

    def kinked(x):
        return jnp.where(x[0] / x[1] > 1.0 / x[1], 5.0, x[0])

    assert vjp(kinked, np.array(1.0), third)[0].nearest().tolist() == [1.0, 0.0]
    with pytest.raises(PrecisionCapReached, match="kink"):
        vjp(lambda x: jnp.where(jnp.exp(x[0]) > jnp.exp(x[1] / 3), 5.0, x[0]), np.array(1.0), third)


def test_a_kink_that_nothing_depends_on_may_stay_open():
    """1 − tanh 6000 is above 0 by less than any digit shows; softplus is smooth there, relu is not."""
    args = np.eye(1), np.array([6000.0]), np.eye(1), -np.ones(1), np.array([[1.0], [2.0]]), np.zeros(2)
    x, y = np.zeros(1), np.array([1.0, 0.0])
    smooth = deep(["tanh", "softplus", "identity"])
    db2 = vjp(smooth, np.array(1.0), *args, x, y)[3].nearest(accept_ties=True)
    s = 1 / 3  # softplus(0) is log 2: logits log 2 and 2 log 2, probabilities 1/3 and 2/3
    np.testing.assert_allclose(db2, [0.5 * (s - 1 + 2 * (1 - s))], rtol=1e-12)
    (again,) = vjp_by_slopes(smooth, np.array(1.0), *args, x, y)[3:4]
    assert again.nearest(accept_ties=True) == db2
    with pytest.raises(PrecisionCapReached, match="kink"):
        vjp(deep(["tanh", "relu", "identity"]), np.array(1.0), *args, x, y)


def test_a_primitive_without_a_rule_is_refused_by_name():
    with pytest.raises(TypeError, match=r"no rule for `fft`: write it with other functions of jax\.numpy, or add a "):
        value(lambda x: jnp.fft.rfft(x).real, np.ones(3))


def test_a_wrong_rule_of_derivatives_is_noticed():
    """The second judge owes nothing to JAX's rules: a custom one that forgets a factor is not its own."""

    @jax.custom_jvp
    def cube(x):
        return x * x * x

    cube.defjvp(lambda x, t: (cube(*x), 2 * x[0] * x[0] * t[0]))
    one = np.array([2.0])
    (by_rule,), (by_slopes,) = vjp(cube, one, one), vjp_by_slopes(cube, one, one)
    assert (by_rule.nearest(), by_slopes.nearest()) == (16.0, 24.0)
    assert not by_rule.balls[0].overlaps(by_slopes.balls[0])
