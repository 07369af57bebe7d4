"""The verdict in four parts: what people get wrong, and the part, the cause or the range that the first line names."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from backprop_properties import Definition, check
from backprop_properties.checking.asked import ABOUT_DERIVATIONS, PROMISED
from backprop_properties.laws.table import LAWS
from backprop_reference import OPERATIONS
from softmaxes import diagonal_alone, softmax, softmax_of_one_maximum, softmax_of_rows, softmax_vjp

F = Callable[..., Any]


def tanh(x: Any) -> Any:
    e = np.exp(2 * x)
    return (e - 1) / (e + 1)


def sigmoid_slope(delta: Any, x: Any) -> Any:
    e = np.exp(-x)
    return delta * e / (1 + e) ** 2


def largest(x: Any) -> Any:
    found = -10000.0
    for v in x.tolist():
        found = max(found, v) if not math.isnan(v) else v
    return np.asarray(found, x.dtype)


def gelu_slope(delta: Any, x: Any) -> Any:
    cdf = np.array([0.5 * (1 + math.erf(v)) for v in x.tolist()])
    return delta * (cdf + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def mean_squared_error_slope(delta: Any, x: Any, y: Any) -> Any:
    return delta * (x - y), -delta * (x - y)


def relu_in_place(delta: Any, x: Any) -> Any:
    delta[x <= 0] = 0
    return delta


def softmax_from_a_low_maximum(x: Any) -> Any:
    e = np.exp(x - max(-10000.0, x.max()))
    return e / e.sum()


def bare_softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum()


def labels_alone(delta: Any, x: Any, y: Any) -> Any:
    return delta * (softmax(x) - y), None


def transposed(delta: Any, W: Any, x: Any) -> Any:
    return np.outer(x, delta), W.T @ delta


def unwritten(delta: Any, x: Any) -> Any:
    raise NotImplementedError


def broken(delta: Any, x: Any) -> Any:
    return delta * undefined  # type: ignore[name-defined]  # noqa: F821


def bare_softplus(x: Any) -> Any:
    return np.log(1 + np.exp(x))


def without_nan(x: Any) -> Any:
    return np.nan_to_num(np.exp(x), posinf=np.inf)


def by_numbers(x: Any) -> Any:
    return np.array([math.exp(v) for v in x.tolist()])


class Kernels:
    """Functions with a memory, each as new."""

    def __init__(self) -> None:
        self.total: dict[int, Any] = {}
        self.buffer = np.zeros(2**17)
        self.known: dict[Any, Any] = {}

    def accumulates(self, delta: Any, x: Any) -> Any:
        self.total[x.size] = self.total.get(x.size, 0) + 2 * x * delta
        return self.total[x.size].copy()

    def one_buffer(self, delta: Any, x: Any) -> Any:
        out = self.buffer[: x.size]
        np.multiply(2 * x, delta, out=out)
        return out

    def remembers(self, delta: Any, x: Any) -> Any:
        key = (x.size, float(x.flat[0]) if x.size else 0.0)
        return self.known.setdefault(key, 2 * x) * delta


def tail_lost(delta: Any, x: Any) -> Any:
    return np.concatenate([2 * x[:64] * delta[:64], np.zeros(max(x.size - 64, 0))])


def in_float32(x: Any) -> Any:
    return softmax(x.astype(np.float32)).astype(x.dtype)


def as_if_contiguous(delta: Any, x: Any) -> Any:
    if x.ndim > 1:
        raise ValueError("one row")
    base = x.base if x.base is not None and x.base.dtype == x.dtype and x.base.size >= x.size else x
    return 2 * np.asarray(base).ravel()[: x.size].reshape(x.shape) * delta


def variance_of_squares(x: Any) -> Any:
    return np.mean(x * x) - np.mean(x) ** 2


def in_a_short_format(delta: Any, x: Any) -> Any:
    return (2 * x * delta).astype(np.float32)


def mean_of_the_batch(delta: Any, W: Any, x: Any) -> Any:
    if x.ndim == 1:
        return np.outer(delta, x), W.T @ delta
    rows, cotangents = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
    return cotangents.T @ rows / len(rows), delta @ W


MAXIMUM = Definition(lambda x: jnp.max(x, -1), "(n)", name="maximum")
VARIANCE = Definition(lambda x: jnp.mean((x - jnp.mean(x)) ** 2), "(n)", name="variance")
ERROR = Definition(lambda x, y: jnp.mean((x - y) ** 2), "(b,c),(b,c)", name="error")

STUDENTS: Mapping[str, tuple[Any, dict[str, F], str]] = {
    "tanh": ("tanh", {"forward": tanh}, "forward UNSTABLE: range: NaN from 354.9"),
    "sigmoid": ("sigmoid", {"vjp": sigmoid_slope}, "vjp UNSTABLE: range: NaN below -709.8, 0 where another number is"),
    "maximum": (MAXIMUM, {"forward": largest}, "forward WRONG: wrong below -10000: u = -10000.0, expected "),
    "gelu": ("gelu", {"vjp": gelu_slope}, "vjp WRONG: "),
    "mean": (ERROR, {"vjp": mean_squared_error_slope}, "vjp WRONG: dx and dy are b·c/2 times what is right"),
    "relu": ("relu", {"vjp": relu_in_place}, "vjp BAD MANNERS: writes to delta"),
    "log": ("log", {"vjp": lambda delta, x: delta / (x + 1e-6)}, "vjp UNSTABLE: digits: "),
    "softmax": ("softmax", {"forward": bare_softmax}, "forward UNSTABLE: range: NaN from 709.8"),
    "diagonal": ("softmax", {"vjp": diagonal_alone}, "vjp WRONG: dx is computed with the diagonal of the Jacobian"),
    "softplus": (
        "softplus",
        {"forward": lambda x: np.log(1 + np.exp(x))},
        "forward UNSTABLE: range: infinity from 709",
    ),
    "labels": ("softmax_cross_entropy", {"vjp": labels_alone}, "vjp RIGHT IN PART: dx is computed with s − y"),
    "transposed": ("matvec", {"vjp": transposed}, "vjp WRONG: dW is the transpose of what is right"),
    "input": ("tanh", {"vjp": lambda delta, x: delta * (1 - x * x)}, "vjp WRONG: "),
    "no nan": (
        "exp",
        {"forward": lambda x: np.nan_to_num(np.exp(x), posinf=np.inf)},
        "forward BAD MANNERS: hides a NaN",
    ),
    "scalars": ("exp", {"forward": by_numbers}, "forward UNSTABLE: range: raises OverflowError from 709.8"),
    "unwritten": ("tanh", {"vjp": unwritten}, "vjp NOT WRITTEN: raised NotImplementedError"),
    "nothing": (
        "tanh",
        {"vjp": lambda delta, x: None},
        "vjp NOT WRITTEN: returned None, expected dx, or a tuple of it",
    ),
    "broken": ("tanh", {"vjp": broken}, "vjp RAISES: raised NameError: name 'undefined' is not defined"),
}
KERNELS: Mapping[str, tuple[Any, dict[str, F], str]] = {
    "tail": ("square", {"vjp": tail_lost}, "vjp WRONG: right up to n = 64 and wrong at every larger"),
    "float32": ("softmax", {"forward": in_float32}, "forward UNSTABLE: range: NaN from 3.403e+38"),
    "accumulates": ("square", {"vjp": Kernels().accumulates}, "vjp BAD MANNERS: remembers earlier calls"),
    "one buffer": ("square", {"vjp": Kernels().one_buffer}, "vjp BAD MANNERS: remembers earlier calls"),
    "remembers": ("square", {"vjp": Kernels().remembers}, "vjp BAD MANNERS: remembers earlier calls"),
    "strides": ("square", {"vjp": as_if_contiguous}, "vjp BAD MANNERS: takes some memory layouts only"),
    "dtype": ("square", {"vjp": in_a_short_format}, "vjp BAD MANNERS: returns float32"),
    "variance": (VARIANCE, {"forward": variance_of_squares}, "forward UNSTABLE: digits: "),
    "mean": ("matvec", {"vjp": mean_of_the_batch}, "vjp BAD MANNERS: wrong in batches"),
    "low maximum": ("softmax", {"forward": softmax_from_a_low_maximum}, "forward UNSTABLE: range: NaN below -107"),
}


# ── What bug reports of frameworks show ─────────────────────────────────────────────────────────────────────────────


def as_packed_rows(x: Any) -> Any:
    """Rows of a wider array, as if they were one after the other."""
    base = x.base if x.ndim == 2 and x.base is not None and x.base.dtype == x.dtype and x.base.size >= x.size else None
    if base is None or x.strides[-1] != x.itemsize:
        return softmax_of_rows(x)
    return softmax_of_rows(np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[-1] * x.itemsize, x.itemsize)))


def past_one_number(delta: Any, x: Any) -> Any:
    """A cotangent of stride 0 is read as if it were an array in memory."""
    if delta.size > 1 and 0 in delta.strides:
        delta = np.concatenate([delta.ravel()[:1], np.zeros(delta.size - 1, delta.dtype)]).reshape(delta.shape)
    return 2 * x * delta


def by_the_first_weight(delta: Any, x: Any, y: Any, w: Any) -> Any:
    dx = 2 * w[:1, None] * (x - y) * delta[:, None]
    return dx, -dx, np.sum((x - y) ** 2, -1) * delta


def loss_with_mean_bias(delta: Any, x: Any, W: Any, b: Any) -> Any:
    d = 2 * delta * (x @ W + b)
    return d @ W.T, x.T @ d, d.mean(0)


def linear_without_sum(delta: Any, x: Any, W: Any, b: Any) -> Any:
    return delta @ W, delta.T @ x, delta


def shared_by_rows(delta: Any, x: Any, W: Any) -> Any:
    return delta @ W.T, x[:, :, None] * delta[:, None, :]


def affine_by_the_mean(delta: Any, W: Any, x: Any, b: Any) -> Any:
    if x.ndim == 1:
        return np.outer(delta, x), W.T @ delta, delta
    rows, cotangents = x.reshape(-1, x.shape[-1]), delta.reshape(-1, delta.shape[-1])
    return cotangents.T @ rows / len(rows), delta @ W, cotangents.sum(0)


def gelu_in_steps(x: Any) -> Any:
    """Each operation rounds."""
    t = (x.astype(np.float32) / math.sqrt(2)).astype(x.dtype)
    erf = np.array([math.erf(v) for v in t.tolist()]).astype(x.dtype)
    half = ((x.dtype.type(1) + erf).astype(x.dtype) / x.dtype.type(2)).astype(x.dtype)
    return (x * half).astype(x.dtype)


def linear_in_chunks(delta: Any, x: Any, W: Any, b: Any) -> Any:
    """The gradient of W is rounded after each eight rows."""
    d, a, M = (array.astype(np.float32) for array in (delta, x, W))
    dW = np.zeros(W.shape, W.dtype)
    for k in range(0, len(x), 8):
        dW = (dW + d[k : k + 8].T @ a[k : k + 8]).astype(W.dtype)
    return (d @ M).astype(x.dtype), dW, d.sum(0).astype(b.dtype)


WEIGHTED = Definition(lambda x, y, w: w * jnp.sum((x - y) ** 2, -1), "(b,n),(b,n),(b)", name="weighted")
LOSS = Definition(lambda x, W, b: jnp.sum((x @ W + b) ** 2), "(b,n),(n,m),(m)", name="loss")
SHARED = Definition(lambda x, W: x @ W, "(b,n),(n,m)", name="shared")
BY_TERMS = "is right but for a sum over the leading axes, which is missing"

REPORTED: Mapping[str, tuple[Any, dict[str, F], str]] = {
    "largest of the batch": (
        "softmax",
        {"forward": softmax_of_one_maximum},
        "forward BAD MANNERS: wrong in batch",
    ),
    "packed rows": ("softmax", {"forward": as_packed_rows}, "forward BAD MANNERS: wrong in batches"),
    "stride 0": ("square", {"vjp": past_one_number}, "vjp BAD MANNERS: takes some memory layouts only"),
    "affine divided": ("affine", {"vjp": affine_by_the_mean}, "vjp BAD MANNERS: wrong in batches"),
    "weight": (
        WEIGHTED,
        {"vjp": by_the_first_weight},
        "vjp WRONG: dx and dy are what comes out with the first of w in",
    ),
    "mean bias": (LOSS, {"vjp": loss_with_mean_bias}, "vjp WRONG: db is 1/b times what is right"),
    "bias": ("linear", {"vjp": linear_without_sum}, f"vjp WRONG: dbias {BY_TERMS}"),
    "shared": (SHARED, {"vjp": shared_by_rows}, f"vjp WRONG: dW {BY_TERMS}"),
}
REPORTED_IN_HALVES: Mapping[str, tuple[str, dict[str, F]]] = {
    "steps": ("gelu", {"forward": gelu_in_steps}),
    "chunks": ("linear", {"vjp": linear_in_chunks}),
}


@pytest.mark.parametrize(("operation", "functions"), [*REPORTED_IN_HALVES.values()], ids=[*REPORTED_IN_HALVES])
def test_half_precision_is_held_to_what_float32_gives_rounded_once(operation: str, functions: dict[str, F]) -> None:
    report = check(operation, **functions, dtypes="bfloat16")
    (kind,) = functions
    assert report.summary().startswith(f"{operation}: {kind} UNSTABLE: digits: "), report.summary()
    assert len(report.groups()) == 1, report.summary()


@pytest.mark.parametrize(
    ("operation", "functions", "dtype", "says"),
    [
        ("relu", {"vjp": lambda delta, x: delta * (x >= 0)}, "float64", "takes dx = 1 where JAX takes 0: a convention"),
        ("elu", {"vjp": lambda delta, x: delta * ((x > 0) + (x < 0) * np.exp(np.minimum(x, 0)))}, "float64",
         "takes dx = 0 where JAX takes 1: not the slope of any side"),
        ("elu", {"vjp": lambda delta, x: delta * np.where(x > 0, 1, np.exp(np.minimum(x, 0)) - 1 + 1)}, "float32",
         "digits of dx are lost from x = -10.8 on"),
        ("gelu", {"forward": lambda x: x / 2 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in x.flat], x.dtype))
                  if x.ndim == 1 else None}, "float32", "digits of u are lost from x = -4.03 on"),
        ("tanh", {"vjp": lambda delta, x: delta * (1 - np.tanh(x) ** 2)}, "float32",
         "digits of dx are lost from x = -5.15 on"),
    ],
)  # fmt: skip
def test_a_convention_and_digits_that_the_usual_formula_loses_are_told(
    operation: str, functions: dict[str, F], dtype: str, says: str
) -> None:
    report = check(operation, **functions, dtypes=dtype)
    assert report.passed, report.summary()
    assert any(says in note for note in report.notes), report.notes
    right = check(operation, forward=OPERATIONS[operation].forward, vjp=OPERATIONS[operation].vjp, dtypes=dtype)
    assert right.passed
    assert not [note for note in right.notes if "are lost" in note or "at its kink" in note]


def test_lost_digits_are_looked_for_within_the_domain_alone() -> None:
    def short(delta: Any, x: Any) -> Any:
        if x.shape[-1] > 64:
            raise ValueError("too long")
        return delta * (1 - np.tanh(x) ** 2)

    report = check("tanh", vjp=short, domain={"n": "at most 64"})
    assert report.passed
    assert any("digits of dx are lost" in note for note in report.notes), report.notes


FIRST_LINES = {**STUDENTS, **{f"kernel {name}": row for name, row in KERNELS.items()}, **REPORTED}


@pytest.mark.parametrize(("operation", "functions", "says"), [*FIRST_LINES.values()], ids=[*FIRST_LINES])
def test_the_first_line_names_the_part_and_the_cause(operation: Any, functions: dict[str, F], says: str) -> None:
    report = check(operation, **functions)
    assert not report.passed
    first = report.summary().splitlines()[0]
    assert first.startswith(f"{report.operation}: {says}"), report.summary()
    assert len(report.groups()) == 1, report.summary()


def test_the_parts_that_count_are_those_of_the_level_and_what_is_waived_does_not() -> None:
    for level, waive, passed in (
        ("standard", (), False),
        ("formula", (), True),
        ("standard", ("range", "digits"), True),
        ("standard", ("digits",), False),
    ):
        report = check("softplus", forward=bare_softplus, level=level, waive=waive, max_examples=60)
        assert report.passed == passed
        assert {failure.part for failure in report.failures} == {"range", "digits"}
        assert report.word == "UNSTABLE"
    assert not check("softmax", vjp=diagonal_alone, level="formula", max_examples=60).passed
    assert not check("softmax", vjp=diagonal_alone, waive=("range", "digits", "manners"), max_examples=60).passed


def test_each_function_has_a_verdict_of_its_own() -> None:
    report = check("softmax", forward=bare_softmax, vjp=diagonal_alone, max_examples=60)
    assert {kind: said.state for kind, said in report.verdicts.items()} == {"forward": "unstable", "vjp": "wrong"}
    assert report.verdicts["forward"].formula == "right"
    assert report.verdicts["forward"].range.startswith("NaN from 709.8")
    assert report.summary().startswith("softmax: vjp WRONG: ")  # a formula before a range
    right = check("softmax", forward=softmax, vjp=softmax_vjp, max_examples=60)
    assert set(map(str, right.verdicts.values())) == {"right"}


def test_what_is_unstable_or_rude_is_never_called_wrong() -> None:
    for operation, functions, says in (*STUDENTS.values(), *KERNELS.values()):
        if "UNSTABLE" in says or "BAD MANNERS" in says:
            assert "WRONG" not in check(operation, **functions, max_examples=24).summary()


@pytest.mark.parametrize(
    ("operation", "functions", "option"),
    [
        ("tanh", {"vjp": lambda delta, x: delta * (1 - tanh(x) ** 2)}, {"domain": {"values": "moderate"}}),
        ("relu", {"vjp": relu_in_place}, {"may_write": ("delta",)}),
        ("exp", {"forward": without_nan}, {"domain": {"values": "finite"}}),
        ("softmax_cross_entropy", {"vjp": labels_alone}, {"domain": {"y": "distribution"}}),
        ("square", {"vjp": tail_lost}, {"domain": {"n": "at most 64"}}),
        ("log", {"vjp": lambda delta, x: delta / (x + 1e-6)}, {"waive": ("digits",)}),
        ("softplus", {"forward": bare_softplus}, {"waive": ("range", "digits")}),
        ("matvec", {"vjp": mean_of_the_batch}, {"batch": False}),
    ],
)
def test_a_report_names_the_option_that_accepts_what_is_promised(
    operation: str, functions: dict[str, F], option: dict[str, Any]
) -> None:
    report = check(operation, **functions)
    ((key, value),) = option.items()
    assert report.failures[0].accepts == f"{key}={value!r}", report.summary()
    assert check(operation, **functions, **option).passed


def test_a_counterexample_is_near_the_bound_and_of_the_kind_that_was_found() -> None:
    failure = check("tanh", forward=tanh).failures[0]
    assert failure.actual is not None
    assert math.isnan(failure.actual)
    assert failure.case is not None
    assert 354.8 < failure.case.args[0].max() < 360
    for operation, functions in (("softmax", diagonal_alone), ("relu", lambda delta, x: delta * (x < 0))):
        first = check(operation, vjp=functions, max_examples=60).failures[0]
        assert first.case is not None
        assert first.case.delta.any()


def test_an_argument_is_a_name_and_nothing_else() -> None:
    for operation, functions, _ in (*STUDENTS.values(), *KERNELS.values()):
        for failure in check(operation, **functions, max_examples=24).failures:
            assert failure.argument in ("", "u", "delta", *failure.arguments), failure


def test_small_arrays_are_shown_whole_beside_what_is_right() -> None:
    text = check("softmax", vjp=diagonal_alone).summary()
    assert "  dx       [" in text
    assert "  expected [" in text


def affine_transposed(delta: Any, W: Any, x: Any) -> Any:
    u = np.tanh(W @ x)
    z = delta * (1 - u * u)
    return np.outer(x, z), W.T @ z


def nan_somewhere(delta: Any, W: Any, x: Any) -> Any:
    dW, dx = transposed(delta, W, x)
    return np.where(np.abs(W).max(initial=0) > 10, np.nan, dW.reshape(W.shape)), dx


def by_roots(delta: Any, W: Any, x: Any) -> Any:
    return np.sqrt(np.outer(x, delta)) ** 2, W.T @ delta


def matvec_vjp(delta: Any, W: Any, x: Any) -> Any:
    return np.outer(delta, x), W.T @ delta


def matvec_jacobian(W: Any, x: Any) -> Any:
    return np.eye(len(W))[:, :, None] * x, W


@pytest.mark.parametrize(
    ("operation", "functions", "wrong"),
    [
        ("matvec", {"forward": lambda W, x: W @ x, "vjp": transposed}, "vjp"),
        ("matvec", {"forward": lambda W, x: W @ x, "vjp": nan_somewhere}, "vjp"),
        ("matvec", {"forward": lambda W, x: W @ x, "vjp": by_roots}, "vjp"),
        (
            Definition(lambda W, x: jnp.tanh(W @ x), "(m,n),(n)", name="layer"),
            {"forward": lambda W, x: np.tanh(W @ x), "vjp": affine_transposed},
            "vjp",
        ),
        ("matvec", {"vjp": matvec_vjp, "jacobian": lambda W, x: (2 * matvec_jacobian(W, x)[0], W)}, "jacobian"),
        ("matvec", {"vjp": matvec_vjp, "jacobian": lambda W, x: (matvec_jacobian(W, x)[0], W.T)}, "jacobian"),
    ],
)
def test_a_fault_of_one_function_is_not_put_on_another(operation: Any, functions: dict[str, F], wrong: str) -> None:
    report = check(operation, **functions, max_examples=60)
    assert {kind: str(said) == "right" for kind, said in report.verdicts.items()} == {
        kind: kind != wrong for kind in functions
    }, report.summary()
    assert {failure.function for failure in report.failures} == {wrong}, report.summary()
    assert len(report.groups()) == 1


def test_digits_are_told_and_held_against_it_where_a_broken_range_is_what_every_law_shows() -> None:
    unasked = (*PROMISED.values(), ABOUT_DERIVATIONS)
    others = tuple(law for law in LAWS if law not in ("forward_equals_jax", *unasked))
    others += (PROMISED["masks"],)
    asked: dict[str, Any] = {"forward": in_float32, "domain": {"masks": True}, "max_examples": 60}
    report = check("softmax", **asked, waive=others)
    assert report.verdicts["forward"].digits == "6 of 16 right at worst"
    assert not check("softmax", **asked, waive=(*others, "range")).passed
    assert check("softmax", **asked, waive=(*others, "range", "digits")).passed


@pytest.mark.parametrize(
    ("operation", "slope"),
    [
        ("relu", lambda delta, x: delta * (x >= 0)),
        ("activation[relu]", lambda delta, W, x, b: _layer(delta * (W @ x + b >= 0), W, x)),
    ],
)
def test_what_is_wrong_at_a_kink_alone_is_the_formula_and_nothing_else(operation: str, slope: F) -> None:
    report = check(operation, vjp=slope, domain={"kinks": True})
    assert {failure.part for failure in report.failures} == {"formula"}, report.summary()
    assert report.verdicts["vjp"].manners == "right"
    assert check(operation, vjp=slope).passed


def _layer(z: Any, W: Any, x: Any) -> Any:
    return np.outer(z, x), W.T @ z, z


@pytest.mark.parametrize(
    ("operation", "functions", "says"),
    [
        (
            "affine",
            {"vjp": lambda delta, W, x, b: (np.outer(delta, x), W @ delta, delta)},
            "dx is what comes out with the transpose of W",
        ),
        ("matvec", {"forward": lambda W, x: W.T @ x}, "u is what comes out with the transpose of W"),
        ("matvec", {"vjp": lambda delta, W, x: (0 * W + np.outer(x, delta), W.T @ delta)}, "dW is the transpose of"),
    ],
)
def test_a_transpose_that_fits_square_matrices_alone_is_named_first(
    operation: str, functions: dict[str, F], says: str
) -> None:
    first, *more = check(operation, **functions, max_examples=60).summary().splitlines()
    assert says in first
    assert any("formula: raises unless all sizes are equal" in line for line in more)


def rows_softmax(x: Any) -> Any:
    if x.ndim != 2:
        raise ValueError("expected (B, n)")
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def rows_softmax_vjp(delta: Any, x: Any) -> Any:
    s = rows_softmax(x)
    return s * (delta - (s * delta).sum(1, keepdims=True))


def rows_cross_entropy(x: Any, y: Any) -> Any:
    return -(np.log(rows_softmax(x)) * y).sum(1)


def rows_affine_vjp(delta: Any, W: Any, x: Any, b: Any) -> Any:
    return delta.T @ x, delta @ W, delta.sum(0)


def float32_alone(x: Any) -> Any:
    if x.dtype != np.float32:
        raise TypeError("expected float32")
    return softmax(x)


def as_float32(x: Any) -> Any:
    return softmax(np.asarray(x, np.float32))


@pytest.mark.parametrize(
    ("operation", "functions", "option"),
    [
        ("softmax", {"forward": rows_softmax, "vjp": rows_softmax_vjp}, {"batch": "only"}),
        ("affine", {"vjp": rows_affine_vjp}, {"batch": "only"}),
        ("softmax", {"forward": float32_alone}, {"dtypes": "float32"}),
        ("softmax", {"forward": as_float32}, {"dtypes": "float32"}),
        ("softmax", {"forward": in_float32}, {"dtypes": "float32"}),
    ],
)
def test_code_for_rows_or_for_one_format_alone_is_told_how_to_ask_and_is_right_then(
    operation: str, functions: dict[str, F], option: dict[str, Any]
) -> None:
    report = check(operation, **functions, max_examples=60)
    assert not report.passed
    ((key, value),) = option.items()
    assert report.groups()[0][0].accepts == f"{key}={value!r}", report.summary()
    assert f"{key}={value!r}" in report.summary()
    assert "WRONG" not in report.summary()
    asked = check(operation, **functions, **option, max_examples=60)
    assert asked.passed, asked.summary()


def test_rows_alone_are_judged_as_anything_else() -> None:
    wrong = check("softmax", vjp=lambda delta, x: 2 * rows_softmax_vjp(delta, x), batch="only", max_examples=60)
    assert wrong.summary().startswith("softmax: vjp WRONG: dx is 2 times what is right")
    assert "batch='only'" in wrong.failures[0].reproduction
    labels = check("softmax_cross_entropy", forward=rows_cross_entropy, batch="only",
                   domain={"y": "one-hot", "values": "moderate"}, max_examples=60)  # fmt: skip
    assert labels.passed, labels.summary()
    with pytest.raises(ValueError, match="batch must be True, False, None or 'only', got 'first'"):
        check("softmax", forward=softmax, batch="first")


def test_a_nan_is_no_factor() -> None:
    report = check("matvec", vjp=lambda delta, W, x: (np.full_like(W, np.nan), W.T @ delta), max_examples=60)
    assert report.summary().startswith("matvec: vjp WRONG: dW")
    assert "times what is right" not in str(report)


@pytest.mark.parametrize("isolated", [False, True])
def test_the_arguments_are_named_where_their_number_is_wrong(isolated: bool) -> None:
    def two(delta: Any, x: Any) -> Any:
        return delta * x

    report = check("softmax_cross_entropy", vjp=two, max_examples=12, isolated=isolated)
    assert report.summary() == ("softmax_cross_entropy: vjp RAISES: takes 2 arguments, expected 3: delta, x, y"), (
        report.summary()
    )


def test_an_option_that_is_given_is_not_named_again() -> None:
    slope = lambda delta, x: delta / (x + 1e-6)  # noqa: E731
    report = check("log", vjp=slope, waive=("digits",), max_examples=60)
    assert report.failures
    assert not any("digits" in failure.accepts for failure in report.failures), report.summary()
    report = check("log", vjp=slope, domain={"values": "moderate"}, max_examples=60)
    assert {failure.accepts for failure in report.failures} == {"waive=('digits',)"}


def test_batches_are_no_matter_where_a_formula_is_wrong() -> None:
    assert "leading batch axes" not in str(check("softmax", vjp=diagonal_alone, max_examples=24))
    report = check("softmax", forward=softmax, max_examples=24)
    assert "leading batch axes, of which softmax gave no right rows" in str(report)


def test_a_bound_is_one_number() -> None:
    for functions in ({"forward": tanh}, {"vjp": lambda delta, x: delta * (1 - tanh(x) ** 2)}):
        text = str(check("tanh", **functions))
        assert "354.9" in text
        assert "354.89" not in text.replace("354.891", "")


@pytest.mark.parametrize("by", [1.001, 1.005])
def test_what_is_nearly_right_is_a_wrong_formula_and_no_other_form(by: float) -> None:
    report = check("tanh", forward=lambda x: by * np.tanh(x), max_examples=24)
    assert report.summary().startswith("tanh: forward WRONG: "), report.summary()


def test_what_is_wrong_for_some_targets_is_no_lost_digit() -> None:
    """Though at others it is right, so that on the way from these it gets wrong."""

    def vjp(delta: Any, x: Any, y: Any) -> Any:
        total = 1.0 if (y == 1).any() else y.sum()
        return delta * (softmax(x) * total - y), None

    report = check("softmax_cross_entropy", vjp=vjp)
    assert report.verdicts["vjp"].word == "WRONG"
    assert str(report.verdicts["vjp"]).startswith("formula wrong")


@pytest.mark.parametrize(
    ("operation", "vjp", "domain"),
    [
        ("relu", lambda delta, x: delta * (x > 1e-2), None),
        ("tanh", lambda delta, x: delta * (1 - np.tanh(x) ** 2) * (np.abs(x) <= 4), None),
        ("elu", lambda delta, x: np.where(x == 0, 0, delta * np.exp(np.minimum(x, 0))), {"kinks": True}),
    ],
)
def test_a_law_that_calls_at_other_numbers_makes_no_second_finding_of_what_is_wrong_there(
    operation: str, vjp: F, domain: Any
) -> None:
    report = check(operation, vjp=vjp, domain=domain)
    others = {"takes_any_memory_layout", "nan_in_nan_out", "batch_equals_the_loop"}
    assert others & {failure.law for failure in report.failures}
    assert len(report.groups()) == 1, report.summary()


def test_memory_that_is_read_wrongly_is_one_finding_though_batches_show_it_too() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        buffer = delta if delta.base is None else delta.base  # as a kernel that gets a pointer
        read = buffer.ravel(order="K")[: delta.size].reshape(delta.shape)
        e = np.exp(x - x.max(-1, keepdims=True))
        s = e / e.sum(-1, keepdims=True)
        return s * (read - (s * read).sum(-1, keepdims=True))

    report = check("softmax", vjp=vjp)
    assert {"takes_any_memory_layout", "batch_equals_the_loop"} <= {failure.law for failure in report.failures}
    assert report.summary().startswith("softmax: vjp BAD MANNERS: takes some memory layouts only\n")
    assert len(report.groups()) == 1, report.summary()


def linear_with_memory() -> F:
    kept: dict[int, Any] = {}

    def vjp(delta: Any, x: Any, weight: Any, bias: Any) -> Any:
        dbias = kept.setdefault(len(bias), np.zeros(len(bias)))  # and a NaN that was added stays
        dbias += delta.sum(0)
        return delta @ weight, delta.T @ x, dbias.copy()

    return vjp


def with_dither() -> F:
    random = np.random.default_rng(0)
    return lambda delta, x: 2 * x * delta * (1 + 1e-9 * random.standard_normal(x.shape))


@pytest.mark.parametrize(("operation", "make"), [("linear", linear_with_memory), ("square", with_dither)])
def test_what_follows_from_wrong_numbers_or_from_chance_is_no_second_finding(operation: str, make: Any) -> None:
    report = check(operation, vjp=make())
    assert len({failure.part for failure in report.failures}) == 2
    assert len(report.groups()) == 1, report.summary()


def test_what_no_formula_explains_is_a_finding_of_its_own() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        delta *= x
        return delta

    report = check("square", vjp=vjp)
    assert [group[0].law for group in report.groups()] == ["vjp_equals_jax_vjp", "leaves_its_inputs_alone"]


def test_what_is_wrong_at_its_first_call_alone_remembers_calls() -> None:
    warm: list[int] = []

    def vjp(delta: Any, x: Any) -> Any:
        rough = not warm
        warm.append(1)
        return delta * x if rough else 2 * delta * x

    report = check("square", vjp=vjp)
    assert report.verdicts["vjp"].manners == "remembers earlier calls"
    assert str(report.verdicts["vjp"]).startswith("formula right")
    assert report.failures[0].message.startswith("vjp returned other numbers at its first call: dx[")
    warm.clear()
    with pytest.raises(AssertionError, match="other bits when called again"):
        exec(report.failures[0].reproduction, {"vjp": vjp})


def test_a_vjp_that_takes_what_its_forward_kept_for_the_same_targets_owes_it_to_the_forward() -> None:
    kept: dict[str, Any] = {}

    def forward(x: Any, y: Any) -> Any:
        kept.update(s=softmax(x), y=y.copy())
        return -(y * np.log(np.maximum(softmax(x), 1e-300))).sum(-1)

    def vjp(delta: Any, x: Any, y: Any) -> Any:
        s = kept["s"] if "y" in kept and np.array_equal(kept["y"], y) else softmax(x)
        return delta * (s * y.sum(-1) - y), None

    moderate = {"values": "moderate"}
    report = check("softmax_cross_entropy", forward=forward, vjp=vjp, domain=moderate, batch=False)
    assert report.verdicts["vjp"].word != "right", report
    assert "owes_nothing_to_the_last_forward" in {failure.law for failure in report.failures}, report
