"""What somebody's code singles out is found: a size, a magnitude, a call, a line, a batch; and right code never."""

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backprop_properties import check
from backprop_properties.cases.corners import MEASURES, Corner, brought_to, corners
from backprop_properties.cases.domains import into_domain
from backprop_properties.checking.floating_point import flushed
from backprop_properties.checking.source_code import constants_of, lines_of, never_run, watched
from backprop_properties.evidence.faults.corners import CORNERS
from backprop_properties.laws.failure import Failure
from softmaxes import softmax_of_one_maximum, softmax_of_rows

EDGE = 7.31


def slope(delta: Any, x: Any) -> Any:
    return 2 * delta * x


def helper(x: Any) -> Any:
    return np.abs(x) > 8.75


def beside(delta: Any, x: Any) -> Any:
    return slope(delta, x) * np.where(helper(x), 1.5, 1)


class Layer:
    width = 1234

    def backward(self, delta: Any, x: Any) -> Any:
        return slope(delta, x)


def test_the_numbers_of_a_code_are_found_wherever_they_stand() -> None:
    table = {"edge": 3.25}

    def closed(delta: Any, x: Any, most: float = 5.5) -> Any:
        return [v for v in x if v > table["edge"] and v < most]

    assert set(constants_of([closed])) >= {3.25, 5.5}
    assert 8.75 in constants_of([beside])
    assert EDGE in constants_of([lambda x: x > EDGE])
    assert {6.5, 1234.0} <= {*constants_of([functools.partial(slope, 6.5)]), *constants_of([Layer().backward])}
    assert constants_of([np.exp, len, None, Ellipsis]) == ()
    assert constants_of([lambda x: x + np.nan]) == ()


def test_what_does_not_let_itself_be_looked_at_has_no_numbers() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self, delta: Any, x: Any) -> Any:
            return 2 * delta * x

    assert constants_of([Hostile()]) == ()
    assert check("square", vjp=Hostile(), max_examples=20).passed


def test_every_measure_is_brought_to_a_number_of_either_side() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=(3, 4))
    for measure, of in MEASURES.items():
        assert of(brought_to(Corner(measure, 5.0), a, random)) == pytest.approx(5.0)
    tried = {c.corner.number for c in corners(["n"], [5.0]) if c.corner and c.corner.measure == "largest"}
    assert min(tried) < 5 < max(tried)


def at(chosen: Callable[..., Any], wrong: float = 1.01) -> Callable[..., Any]:
    """The slope of the square, wrong where an argument or the cotangent is somewhere."""
    return lambda delta, x: 2 * delta * x * np.where(chosen(delta, x), wrong, 1)


FAULTS = {
    "a size": at(lambda delta, x: x.size == 1234),
    "above a size": at(lambda delta, x: x.size > 2600),
    "a multiple": at(lambda delta, x: x.size % 1750 == 0),
    "a window": at(lambda delta, x: (x > 2.4) & (x < 2.5)),
    "a magnitude": at(lambda delta, x: np.abs(x) > 87.5),
    "of the cotangent": at(lambda delta, x: np.abs(delta) < 1e-9),
    "a spread": at(lambda delta, x: np.ptp(x) > 37.0),
    "a norm": at(lambda delta, x: (np.linalg.norm(x) > 20.0) & (np.linalg.norm(x) < 20.1)),
    "a sum": at(lambda delta, x: (x.sum() > 11.0) & (x.sum() < 11.02)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_at_a_number_of_the_code_is_found(name: str) -> None:
    report = check("square", vjp=FAULTS[name])
    assert not report.passed
    assert "tried at the numbers in the code" in str(report)


def test_what_is_singled_out_and_right_is_right() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        if x.size == 1234 or np.ptp(x) > 37.0:
            return delta * x + x * delta
        return 2 * delta * x

    assert check("square", vjp=vjp).passed


def test_a_transpose_hides_in_no_square() -> None:
    def vjp(delta: Any, W: Any, x: Any) -> Any:
        square = W.shape[0] == W.shape[1] > 5
        return np.outer(delta, x), (W if square else W.T) @ delta

    assert not check("matvec", vjp=vjp).passed


@pytest.mark.parametrize("number", [40, 300])
def test_the_call_that_goes_wrong_is_reached_and_replayed(number: int) -> None:
    calls: list[None] = []

    def vjp(delta: Any, x: Any) -> Any:
        calls.append(None)
        return 2 * delta * x * (1.01 if len(calls) == number else 1)

    report = check("square", vjp=vjp)
    assert [failure.law for failure in report.failures] == ["says_the_same_twice"]
    calls.clear()
    code = report.failures[0].reproduction.replace("vjp=vjp", "vjp=given")
    with pytest.raises(AssertionError, match="other bits"):
        exec(code, {"given": vjp})


TABLE = np.array([3.25, 1 / 3, 1e-310])


def test_attributes_and_numbers_of_unwritten_memory_are_none_of_the_codes() -> None:
    def uses(delta: Any, x: Any) -> Any:
        return np.helper(x) + TABLE  # type: ignore[attr-defined]

    assert constants_of([uses]) == (3.25,)


def test_of_a_function_that_no_tracer_saw_nothing_is_said() -> None:
    assert never_run(lines_of([slope])) == []


def test_lines_that_no_case_ran_are_told() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        if x.ndim > 7:
            raise ValueError("not of a right function's concern")
        if x.size == -1:
            return delta
        return 2 * delta * x

    report = check("square", vjp=vjp, max_examples=20)
    assert report.passed
    line = vjp.__code__.co_firstlineno + 4
    told = f"never run by any input that was tried, and so not judged: line {line} of vjp()"
    assert told in report.notes
    left = lines_of([slope])
    watched(slope, left)(1, 2)
    assert never_run(left) == []


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def softmax_of_one(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_of_a_table(x: Any) -> Any:
    if x.ndim > 2:
        raise ValueError("a table at most")
    return softmax_of_rows(x)


def batches_of(report: Any) -> list[Failure]:
    return [failure for failure in report.failures if failure.law == "batch_equals_the_loop"]


def test_who_takes_batches_is_held_to_them_and_who_does_not_is_not() -> None:
    assert check("softmax", forward=softmax_of_rows).passed
    table = check("softmax", forward=softmax_of_a_table)
    assert table.passed
    assert "not tried: batches on more than 1 leading axes; ask with batch=True" in table.notes
    assert batches_of(check("softmax", forward=softmax_of_one_maximum))
    assert check("softmax", forward=softmax_of_one_maximum, batch=False).passed
    one = check("softmax", forward=softmax_of_one)
    assert one.passed
    assert any("of which softmax_of_one gave no right rows" in note for note in one.notes)
    assert batches_of(check("softmax", forward=softmax_of_one, batch=True))


AFFINE = {
    "summed": (lambda d, x: d.reshape(-1, d.shape[-1]).T @ x.reshape(-1, x.shape[-1]), True),
    "a mean": (lambda d, x: d.reshape(-1, d.shape[-1]).T @ x.reshape(-1, x.shape[-1]) / d[..., 0].size, False),
    "not summed": (lambda d, x: d[..., :, None] * x[..., None, :], False),
    "of one example": (np.outer, True),
}


@pytest.mark.parametrize("name", AFFINE)
def test_the_gradient_of_a_parameter_is_summed_over_a_batch(name: str) -> None:
    dW, right = AFFINE[name]

    def vjp(delta: Any, W: Any, x: Any, b: Any) -> Any:
        return dW(delta, x), delta @ W, delta.reshape(-1, delta.shape[-1]).sum(0)

    assert bool(batches_of(check("affine", vjp=vjp))) != right


# ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_reads_memory_as_if_packed_is_found_and_what_refuses_it_is_not() -> None:
    def packed(delta: Any, x: Any) -> Any:
        whole = delta.base if delta.base is not None and delta.base.size >= x.size else delta
        return 2 * np.ravel(whole)[: x.size].reshape(x.shape) * x

    def native(delta: Any, x: Any) -> Any:
        if not (delta.dtype.isnative and x.dtype.isnative and delta.flags.aligned and x.flags.aligned):
            raise TypeError("only of this machine's own numbers")
        return 2 * delta * x

    assert "takes_any_memory_layout" in {f.law for f in check("square", vjp=packed, batch=False).failures}
    assert check("square", vjp=native).passed


def flush_subnormals() -> None:
    """As the start of a library does that is built with -Ofast: bits 15 and 6 of MXCSR."""
    environment = (ctypes.c_uint32 * 8)()
    library = ctypes.CDLL(None)
    library.fegetenv(environment)
    environment[7] |= 0x8040
    library.fesetenv(environment)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets a register of this processor")
def test_who_takes_subnormal_numbers_for_0_changes_nobody_elses() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        flush_subnormals()
        return 2 * delta * x

    flush_subnormals()
    report = check("square", vjp=lambda delta, x: 2 * delta * x, max_examples=20)
    assert report.passed
    assert any("they count again" in note for note in report.notes)
    report = check("square", vjp=vjp, max_examples=20)
    assert "taking subnormal numbers for 0" in report.failures[0].message
    assert not flushed()


def test_a_distribution_sums_to_one_however_far_off_it_is_drawn() -> None:
    for a in (np.array([1e300, -1e305]), np.array([0.0, 1e-300]), np.zeros(3), np.array([800.0])):
        assert into_domain("distribution", a).sum() == pytest.approx(1)
    assert into_domain("distribution", np.zeros(0)).shape == (0,)


def test_a_gradient_that_is_left_out_is_in_the_first_line() -> None:
    report = check("dot", vjp=lambda delta, x, y: (delta * y, None))
    assert report.passed
    assert "right, but dy not given" in str(report).splitlines()[0]
    assert report.to_dict()["missing"] == ("dy",)


def test_every_entry_is_tried_beyond_a_number_on_one_side_of_0() -> None:
    measures = [
        tried.corner.measure for tried in corners(["n"], [100.0]) if tried.corner and tried.corner.number == 100
    ]
    assert {"all below", "all above"} <= {*measures}
    normal = np.random.default_rng(0).standard_normal
    assert brought_to(Corner("all below", 100.0), normal(7), np.random.default_rng(0)).max() < -100
    assert brought_to(Corner("all above", 100.0), normal(7), np.random.default_rng(0)).min() > 100


def test_a_nan_that_a_maximum_loses_is_found_wherever_it_is() -> None:
    (fault,) = (f for f in CORNERS if f.name == "corner-max-pool2d-nan-last-of-a-window")
    report = check(fault.operation, forward=fault.forward)
    assert [f.law for f in report.failures] == ["nan_in_nan_out"], report.summary()


def of_wide_steps(delta: Any, x: Any, y: Any) -> Any:
    d = delta.copy()
    if delta.ndim == 1 and delta.size > 1 and delta.strides[0] > 2 * delta.itemsize:
        d[-1] = delta[0]
    return d, d.copy()


def of_a_row_that_is_one_number(delta: Any, x: Any) -> Any:
    if x.shape[-1] > 1 and x.strides[-1] == 0:
        return delta * 0
    e = np.exp(x - x.max(-1, keepdims=True))
    s = e / e.sum(-1, keepdims=True)
    return s * (delta - (s * delta).sum(-1, keepdims=True))


def from_the_corner_of_the_base(W: Any, x: Any) -> Any:
    base = W.base
    whole = isinstance(base, np.ndarray) and base.ndim == 2 and base.shape != W.shape
    return (base[: W.shape[0], : W.shape[1]] if whole else W) @ x


def of_rows_that_go_on(W: Any, x: Any) -> Any:
    backwards = W.ndim == 2 and W.strides[0] < 0 < W.strides[1] and len(W) > 1
    return (W[::-1] if backwards else W) @ x


@pytest.mark.parametrize(
    ("operation", "functions"),
    [
        ("add", {"vjp": of_wide_steps}),
        ("softmax", {"vjp": of_a_row_that_is_one_number}),
        ("matvec", {"forward": from_the_corner_of_the_base}),
        ("matvec", {"forward": of_rows_that_go_on}),
    ],
)
def test_a_layout_that_is_read_wrongly_is_found_whatever_it_is(operation: str, functions: Any) -> None:
    report = check(operation, **functions, batch=False)
    assert "takes_any_memory_layout" in {failure.law for failure in report.failures}, report


def test_an_exact_zero_is_tried_early_beside_a_cotangent_that_is_none() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        return delta * (x >= 0)

    assert not check("relu", vjp=vjp, domain={"kinks": True}, max_examples=40, waive=["takes_any_memory_layout"])


def test_all_entries_whole_and_large() -> None:
    def forward(x: Any) -> Any:
        whole = np.all(np.abs(x) < 2**31) and np.all(x == np.rint(x))
        return (x.astype(np.int32) ** 2).astype(x.dtype) if whole else x * x

    assert not check("square", forward=forward)
