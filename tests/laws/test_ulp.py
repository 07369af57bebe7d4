"""The error measures against cases that a person can check, and the scales against formulas written out once more."""

import numpy as np
import pytest
from flint import arb

from backprop_oracle.certified import Enclosures, jacobian, value, vjp
from backprop_oracle.enclosures import working_precision
from backprop_properties.hints.textbook import sigmoid
from backprop_properties.laws.conditions import LARGEST, scale
from backprop_properties.laws.ulp import scaled_ulp_error, ulp, ulp_error
from backprop_reference import OPERATIONS

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
EPS = 2.0**-52


def ball(midpoint, radius=0.0, dtype=F64):
    """One number as an enclosure; numbers may be text, for those that no float holds."""
    with working_precision(2000):
        return Enclosures("ball", (), (arb(midpoint, radius),), dtype, lambda index, bits: arb(midpoint, radius))


def error(actual, midpoint, radius=0.0, scale=0.0, dtype=F64):
    return float(scaled_ulp_error(np.asarray(actual, dtype=dtype), ball(midpoint, radius, dtype), scale))


# ── Units ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [F32, F64])
def test_ulp_is_the_spacing_of_floats(dtype):
    rng = np.random.default_rng(0)
    floats = rng.integers(0, np.iinfo(f"i{dtype.itemsize}").max, size=2000).astype(f"u{dtype.itemsize}").view(dtype)
    floats = np.concatenate([floats[np.isfinite(floats)], 2.0 ** np.arange(-126, 127), [0, np.finfo(dtype).max]])
    floats, largest = floats.astype(dtype)[:-1], np.finfo(dtype).max
    np.testing.assert_array_equal(ulp(-floats, dtype), np.spacing(floats).astype(float))
    assert ulp(largest, dtype) == float(largest) - float(np.nextafter(largest, dtype.type(0)))


def test_ulp_of_reals_beside_the_floats():
    assert ulp(1 - 2.0**-40, np.float32) == 2.0**-24 == ulp(1.0, np.float32) / 2
    assert ulp(1e-60, np.float32) == 2.0**-149
    assert ulp([1e300, -np.inf], np.float32).tolist() == [2.0**104] * 2
    assert np.isnan(ulp(np.nan, np.float64))


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_errors_by_hand():
    assert error(1.0, 1.0) == 0
    assert error(1.0 + 3 * EPS, 1.0) == 3
    assert error(-2.0, -2.0 - 2 * EPS) == 1
    assert error(0.75, 0.75 + 2.0**-26, dtype=F32) == 0.25
    assert error(1.0, -1.0) == 2 / EPS
    assert error(1.5, "1.5000001", dtype=F32) == pytest.approx(1e-7 * 2**23, rel=1e-6)


def test_a_ball_below_a_power_of_two_has_the_finer_ulp():
    assert error(1.0, 1 - EPS / 2) == 1
    assert error(1.0 + EPS, 1.0, radius=2.0**-90) == pytest.approx(2)


def test_the_radius_counts_as_error():
    assert error(1.0, 1.0, radius=EPS / 4) == pytest.approx(0.5)  # in ulps of what is just below 1
    assert error(1.5, 1.5, radius=EPS / 4) >= 0.25
    assert error(1.5, 1.5, radius=EPS / 4) == pytest.approx(0.25)


def test_subnormal_results():
    tiny = 2.0**-1074
    assert error(tiny, 1.25 * 2.0**-1060) == 2.0**14 * 1.25 - 1
    assert error(0.0, "1e-400") < 1e-70
    assert error(3 * tiny, 0.0) == 3
    assert error(tiny, "1e-324") == pytest.approx(1 - 1 / 4.94, abs=1e-3)
    assert error(2.0**-149, 0.0, dtype=F32) == 1
    assert error(tiny, 0.0, scale=1e-320) == 1  # no unit is below the subnormal spacing


def test_infinities_and_nan():
    huge = np.finfo(F64).max
    assert error(np.inf, "1e309") == 0
    assert error(-np.inf, "-1e309") == 0
    assert error(-np.inf, "1e309") == np.inf
    assert error(np.inf, 1e308) == np.inf == error(np.nan, 1.0) == error(np.nan, "1e309")
    assert error(huge, "1.8e308") > 0.5  # the truth overflows, the largest float does not
    assert error(np.inf, "1e39", dtype=F32) == 0
    assert error(np.inf, 1e38, dtype=F32) == np.inf
    x, y = np.array([0.0, -np.inf]), np.array([0.0, 1.0])
    loss = value("softmax_cross_entropy", x, y)
    assert [float(ulp_error(np.array(a), loss)) for a in (np.inf, -np.inf, 1.0, np.nan)] == [0, np.inf, np.inf, np.inf]


def test_scaled_errors():
    assert error(EPS, 0.0, scale=1.0) == 1
    assert error(1.0 + EPS, 1.0, scale=4.0) == 0.25
    assert error(1.0 + EPS, 1.0, scale=1e-9) == 1  # a scale below the truth changes nothing
    assert error(np.inf, 1.0, scale=np.inf) == np.inf
    assert error(1.0, 2.0, scale=1.0, dtype=F32) == 2.0**22


def test_wrong_use_is_an_error():
    truth = value("exp", np.zeros(2, np.float32))
    with pytest.raises(TypeError, match="sharp for float32, it can't judge float64"):
        ulp_error(np.ones(2), truth)
    with pytest.raises(ValueError, match=r"has shape \(2,\), the array to be judged \(1,\)"):
        ulp_error(np.ones(1, np.float32), truth)
    with pytest.raises(ValueError, match="a scale is a sum of absolute values, got -1"):
        scaled_ulp_error(np.ones(2, np.float32), truth, -1.0)
    with pytest.raises(ValueError, match="quantity 'gradient' is none of"):
        scale("exp", "gradient", np.ones(1))
    with pytest.raises(ValueError, match="unknown operation"):
        scale("nosuch", "value", np.ones(1))


def test_one_digit_wrong_in_one_entry_is_seen():
    x = np.linspace(-3, 3, 8)
    truth = jacobian("softmax", x)[0]
    actual = truth.nearest()
    assert ulp_error(actual, truth).max() <= 0.5 + 1e-6
    actual[5, 2] = np.nextafter(actual[5, 2], 1)
    wrong = ulp_error(actual, truth)
    assert wrong[5, 2] > 0.5
    assert np.delete(wrong.ravel(), 5 * 8 + 2).max() <= 0.5 + 1e-6


# ── Scales ──────────────────────────────────────────────────────────────────────────────────────────────────────────

rng = np.random.default_rng(5)
W, x, b = rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=2)
close = {"rtol": 1e-12}


def test_sums_have_the_sizes_of_their_terms():
    np.testing.assert_allclose(scale("sum_reduction", "value", x), abs(x).sum(), **close)
    np.testing.assert_allclose(scale("matvec", "value", W, x), abs(W) @ abs(x), **close)
    np.testing.assert_allclose(scale("affine", "value", W, x, b), abs(W) @ abs(x) + abs(b), **close)
    np.testing.assert_allclose(scale("matvec", "vjp", b, W, x)[1], abs(W).T @ abs(b), **close)
    np.testing.assert_allclose(
        scale("scale", "vjp", x, x[::-1].copy(), np.array(2.0))[1], abs(x) @ abs(x[::-1]), **close
    )


def test_activation_adds_what_the_sum_brings_and_its_own_rounding():
    z, size = W @ x + b, abs(W) @ abs(x) + abs(b)
    s = sigmoid(z)
    slope, bend = s * (1 - s), abs(s * (1 - s) * (1 - 2 * s))
    np.testing.assert_allclose(scale("activation[sigmoid]", "value", W, x, b), s + slope * size, rtol=1e-9)
    dz = slope + bend * size
    dW, dx, db = scale("activation[sigmoid]", "vjp", np.array([1.0, -3.0]), W, x, b)
    np.testing.assert_allclose(db, dz * [1, 3], rtol=1e-9)
    np.testing.assert_allclose(dW, np.outer(dz * [1, 3], abs(x)), rtol=1e-9)
    np.testing.assert_allclose(dx, abs(W).T @ (dz * [1, 3]), rtol=1e-9)


def test_softmax_vjp():
    s, delta = np.exp(x) / np.exp(x).sum(), rng.normal(size=3)
    expected = s * (abs(delta[:, None] - delta) @ s)
    np.testing.assert_allclose(scale("softmax", "vjp", delta, x)[0], expected, **close)
    assert (
        scale("softmax", "vjp", delta, x, at={0: [2]})[0].tolist() == scale("softmax", "vjp", delta, x)[0][2:].tolist()
    )
    assert not scale("softmax", "vjp", np.full(3, 1e9), x)[0].any()


def test_cross_entropy_gradient():
    s, y = np.exp(x) / np.exp(x).sum(), np.array([0.5, -2.0, 3.0])
    expected = s * (abs(y).sum() - abs(y)) + abs(y) * (1 - s)
    np.testing.assert_allclose(scale("softmax_cross_entropy", "jacobian", x, y)[0], expected, **close)
    np.testing.assert_allclose(scale("softmax_cross_entropy", "value", x, y), abs(y) @ -np.log(s), **close)


def test_a_confident_prediction_keeps_a_tight_scale():
    logits, hot, soft = np.array([500.0, 0.0]), np.array([1.0, 0.0]), np.array([0.5, 0.0])
    assert not scale("softmax_cross_entropy", "value", logits, hot).any()
    assert not np.any(scale("softmax_cross_entropy", "jacobian", logits, hot))
    truth = value("softmax_cross_entropy", logits, soft).nearest()
    np.testing.assert_allclose(scale("softmax_cross_entropy", "value", logits, soft), truth, **close)
    (size, _), (dx, _) = (
        f("softmax_cross_entropy", *a, logits, soft) for f, a in ((scale, ["jacobian"]), (jacobian, []))
    )
    np.testing.assert_allclose(size, abs(dx.nearest()), **close)
    naive = np.array([np.exp(0.0) / (1 + np.exp(-500)) * 0.5 - 0.5, np.exp(-500) * 0.5])
    assert scaled_ulp_error(naive, dx, size)[0] > 1e15


def test_a_mask_does_not_make_a_scale_nan():
    """A scale of NaN would mean that nothing is judged."""
    x, y = np.array([1.0, -np.inf, 0.0]), np.array([1.0, 0.0, 0.0])
    assert scale("softmax", "value", x).tolist() == [0, 0, 0]
    for quantity, point in (("vjp", (np.array(2.0), x, y)), ("jacobian", (x, y))):
        assert [s.tolist() for s in scale("softmax_cross_entropy", quantity, *point)] == [[0, 0, 0]] * 2


def test_logistic_regression_adds_what_the_logits_bring():
    z, size, y = W @ x + b, abs(W) @ abs(x) + abs(b), np.array([0.25, 1.5])
    s = np.exp(z) / np.exp(z).sum()
    hessian = y.sum() * abs(np.diag(s) - np.outer(s, s))
    expected = s * y[::-1] + y * (1 - s) + hessian @ size
    dW, dx, db, dy = scale("logistic_regression", "jacobian", W, x, b, y)
    np.testing.assert_allclose(db, expected, rtol=1e-9)
    np.testing.assert_allclose(dW, np.outer(expected, abs(x)), rtol=1e-9)
    np.testing.assert_allclose(dx, abs(W).T @ expected, rtol=1e-9)
    np.testing.assert_allclose(dy, -np.log(s) + abs(np.eye(2) - s) @ size, rtol=1e-9)
    loss = y @ -np.log(s) + abs(y.sum() * s - y) @ size
    np.testing.assert_allclose(scale("logistic_regression", "value", W, x, b, y), loss, rtol=1e-9)


def test_logits_that_rounding_may_turn_around():
    """Logits that differ by 1e200, which is less than their rounding: any softmax may come out, up to 1 is off."""
    args = np.array([[1e308, -1e308], [1e308, -1e308]]), np.ones(2), np.array([0.0, 1e200]), np.array([1.0, 0.0])
    _, _, db, _ = scale("logistic_regression", "jacobian", *args)
    assert (db * EPS >= 1).all()


def test_masks_have_finite_scales():
    logits, y = np.array([1.0, -np.inf, 0.0]), np.array([0.25, 0.0, 0.75])
    assert np.isfinite(scale("softmax_cross_entropy", "value", logits, y))
    assert np.isfinite(scale("softmax_cross_entropy", "vjp", np.array(2.0), logits, y)).all()
    assert scale("softmax", "vjp", y, logits)[0][1] == 0


def test_the_zero_of_silu_slope_is_judged_by_its_terms():
    z = np.array([-1.278464542761074])
    s = sigmoid(z)
    np.testing.assert_allclose(scale("silu", "jacobian", z)[0], [s + abs(z) * s * (1 - s)], rtol=1e-9)
    naive = np.array([s + z * s * (1 - s)])
    assert ulp_error(naive, jacobian("silu", z)[0]) > 100
    assert scaled_ulp_error(naive, jacobian("silu", z)[0], scale("silu", "jacobian", z)[0]) < 3


def test_a_kink_within_reach_of_the_rounding_of_its_argument():
    """`0.1 + 0.2 - 0.3` is below 0 or above it, as it is added up: both slopes of relu must be within its scale."""
    args = np.array([[0.1, 0.2, -0.3]]), np.ones(3), np.zeros(1)
    _, _, db = scale("activation[relu]", "jacobian", *args)
    assert db[0, 0] >= 1 / (16 * EPS)
    _, _, far = scale("activation[relu]", "jacobian", args[0], np.ones(3), np.ones(1))
    assert far[0, 0] == pytest.approx(1)


def test_terms_that_overflow_come_back_as_the_largest_float():
    assert scale("dot", "value", np.full(2, 1e300), np.array([1e300, -1e300])) == LARGEST
    assert scale("logistic_regression", "value", np.full((2, 1), 1e300), np.array([1e300]), b, b) == LARGEST


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_reference_is_within_its_bounds_and_a_wrong_digit_is_not(name, dtype):
    row = OPERATIONS[name]
    draw = np.random.default_rng(len(name))
    sizes = dict(zip(["n", "d", "k", "m0", "m1", "m2", "m3"], [3, 2, 2, 3, 2, 3, 2], strict=True))
    args = [np.asarray(abs(draw.normal(size=[sizes[k] for k in core])) + 0.1, dtype=dtype) for core in row.cores[:-1]]
    delta = np.asarray(draw.normal(size=row.forward(*args).shape), dtype=dtype)
    results = [
        (np.asarray(row.forward(*args)), value(name, *args), scale(name, "value", *args)),
        *zip(row.vjp(delta, *args), vjp(name, delta, *args), scale(name, "vjp", delta, *args), strict=True),
        *zip(
            [J.todense() for J in row.jacobian(*args)],
            jacobian(name, *args),
            scale(name, "jacobian", *args),
            strict=True,
        ),
    ]
    for actual, truth, size in results:
        actual = np.asarray(actual)
        assert size.shape == truth.shape == actual.shape
        assert scaled_ulp_error(actual, truth, size).max() <= 8
        spoilt = actual + np.asarray(64 * np.finfo(dtype).eps * np.maximum(size, abs(actual)), dtype=dtype)
        assert (scaled_ulp_error(spoilt, truth, size)[spoilt != actual] > 8).all()


def test_every_definition_has_scales():
    for name, row in OPERATIONS.items():
        args = [np.full([2] * len(core), 0.5) for core in row.cores[:-1]]
        assert scale(name, "value", *args).shape == value(name, *args).shape, name
