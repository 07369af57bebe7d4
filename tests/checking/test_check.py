"""`check` as its users meet it: what it takes, what it survives, what it says, and that what it says can be pasted."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import backprop_properties
from backprop_properties import Definition, check, from_jax, replay
from backprop_properties.checking import check as check_module
from backprop_properties.checking import failures
from backprop_properties.checking.elsewhere import Limits
from backprop_properties.checking.report import CheckFailed, Report
from backprop_properties.evidence.faults import FAULTS
from backprop_properties.hints.gradients import is_network
from backprop_properties.laws import points
from backprop_properties.laws import trial as trial_module
from backprop_properties.laws.failure import Failure, assignments
from backprop_reference import OPERATIONS
from samples import sampled
from softmaxes import diagonal_alone, softmax, softmax_vjp


def reproduced(failure: Failure, **functions: Any) -> BaseException | None:
    """What the code that a failure prints raises."""
    try:
        exec(failure.reproduction, {failure.functions[kind]: f for kind, f in functions.items()})
    except AssertionError as error:
        return error
    return None


# ── By which bound ──────────────────────────────────────────────────────────────────────────────────────────────────


def from_the_logarithm(x: Any) -> Any:
    """A softmax that is right by another formula than the definition's, which has fewer digits of large logits."""
    top = x.max(-1, keepdims=True)
    return np.exp(x - (top + np.log(np.exp(x - top).sum(-1, keepdims=True))))


def test_what_only_another_formula_allows_is_judged_by_that_and_not_called_again(monkeypatch: Any) -> None:
    calls: list[bytes] = []
    repeated: list[int] = []

    def forward(x: Any) -> Any:
        calls.append(x.tobytes())
        return from_the_logarithm(x)

    def repeating(p: Any, heard: Any) -> Any:
        repeated.append(len(heard))
        return points.repeating(p, heard)

    monkeypatch.setattr(trial_module, "repeating", repeating)
    assert check("softmax", forward=forward).passed
    assert repeated
    first, calls[:] = list(calls), []
    monkeypatch.setattr(trial_module, "has_other_formulas", lambda row: False)  # all formulas, always
    assert check("softmax", forward=forward).passed
    assert calls == first


# ── Right and wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_right_passes_and_what_is_wrong_does_not() -> None:
    right, wrong = check("softmax", forward=softmax, vjp=softmax_vjp), check("softmax", vjp=diagonal_alone)
    assert right.passed
    assert right
    assert right.failures == ()
    right.raise_on_failure()
    assert not wrong.passed
    assert not wrong
    with pytest.raises(CheckFailed) as raised:
        wrong.raise_on_failure()
    assert isinstance(raised.value, AssertionError)
    assert str(raised.value) == str(wrong)
    assert raised.value.report is wrong
    assert raised.value.failures == wrong.failures


def test_a_failure_says_what_where_and_by_how_much() -> None:
    failure = check("softmax", vjp=diagonal_alone, max_examples=40).failures[0]
    assert (failure.operation, failure.law, failure.argument) == ("softmax", "vjp_equals_jax_vjp", "x")
    assert failure.index is not None
    assert failure.actual is not None
    assert failure.expected is not None
    assert failure.times is not None
    assert failure.times > 1
    assert abs(failure.actual - failure.expected) == pytest.approx((failure.rtol or 0) * abs(failure.expected))
    text = str(failure)
    for piece in (f"dx[{failure.index[0]}] = ", failure.actual.hex(), failure.expected.hex(), "ULP", "relative"):
        assert piece in text


def test_every_law_that_fails_is_listed_and_what_was_tried_is_counted() -> None:
    report = check("softmax", forward=softmax, vjp=diagonal_alone, max_examples=40)
    assert {"vjp_equals_jax_vjp", "vjp_is_the_transpose_of_jvp"} <= {failure.law for failure in report.failures}
    assert {c.law for c in report.checks if c.failed} == {failure.law for failure in report.failures}
    forward = next(c for c in report.checks if c.law == "forward_equals_jax")
    assert (forward.cases, forward.failed) == (40, False)
    assert forward.entries > 40


def test_shrunk_inputs_are_small() -> None:
    for name, size in (("softmax", 2), ("dot", 1)):
        wrong = diagonal_alone if name == "softmax" else lambda delta, x, y: (delta * x, delta * x)
        failure = check(name, vjp=wrong, max_examples=60).failures[0]
        assert failure.case.args[0].size == size
        assert len(failure.reproduction) < 400


def test_the_same_seed_gives_the_same_report() -> None:
    def wrong(delta: Any, W: Any, x: Any, b: Any) -> Any:
        return np.outer(delta, x), W.T @ delta, delta * b

    def report(seed: int) -> Report:
        return check("affine", vjp=wrong, max_examples=30, seed=seed)

    assert str(report(0)) == str(report(0))
    assert report(0).checks == report(0).checks
    assert report(0).checks != report(1).checks


def test_one_example_is_a_check_and_none_is_an_error() -> None:
    report = check("square", forward=np.square, max_examples=1)
    assert report.passed
    assert next(c.cases for c in report.checks) == 1
    with pytest.raises(ValueError, match="max_examples must be a positive integer, got 0"):
        check("square", forward=np.square, max_examples=0)


def test_a_run_that_checked_nothing_does_not_pass() -> None:
    nothing = lambda delta, W, x, b: (None, None, None)  # noqa: E731 - as a user would write it
    for report, says in (
        (Report("softmax", "standard", ("float64",), 0), "nothing was compared"),
        (check("affine", vjp=nothing, max_examples=8), "vjp returned None for every argument"),
    ):
        assert not report.passed
        assert says in str(report)
        with pytest.raises(CheckFailed):
            report.raise_on_failure()


# ── What an implementation may return ───────────────────────────────────────────────────────────────────────────────


class Weird(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unarrayable:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Weird


def raising(error: BaseException) -> Callable[..., Any]:
    def vjp(*_: Any) -> Any:
        raise error

    return vjp


@pytest.mark.parametrize(
    ("vjp", "says"),
    [
        (lambda delta, x: None, "vjp returned None, expected dx, or a tuple of it"),
        (lambda delta, x: (), "vjp returned 0 results, expected dx, or a tuple of it"),
        (lambda delta, x: (delta, delta), "vjp returned 2 results"),
        (lambda delta, x: "delta", "the text 'delta'"),
        (lambda delta, x: {"x": delta}, "a dict"),
        (lambda delta, x: (d for d in delta), "a generator"),
        (lambda delta, x: np.array([object()] * x.size), "an array of object"),
        (lambda delta, x: np.array(["a"] * x.size), "an array of <U1"),
        (lambda delta, x: delta + 0j, "an array of complex128"),
        (lambda delta, x: [[[1.0], [2.0, 3.0]]], "no array"),
        (lambda delta, x: Unarrayable(), "no array: Weird: (its text raises RuntimeError)"),
        (lambda delta, x: np.full(x.shape, np.nan), "nan"),
        (lambda delta, x: delta[:-1], "has shape (0,), expected (1,)"),
        (lambda delta, x: 1.0, "has shape (), expected"),
        (raising(ZeroDivisionError("by\nzero")), "vjp raised ZeroDivisionError: by zero (line "),
        (raising(SystemExit(3)), "vjp called exit(3)"),
        (raising(Weird()), "vjp raised Weird: (its text raises RuntimeError)"),
        (raising(ValueError("\x00\x1b[31m")), "vjp raised ValueError: ??[31m"),
    ],
    ids=lambda value: None if callable(value) else value,
)
def test_whatever_comes_back_is_a_failure_with_a_clear_message(vjp: Any, says: str) -> None:
    report = check("square", vjp=vjp, max_examples=4)
    assert not report.passed
    assert any(says in failure.message for failure in report.failures), report.failures[0].message
    json.loads(report.to_json())
    assert report.failures[0].message in str(report)


def test_results_for_several_arguments_are_a_tuple_of_the_right_length() -> None:
    for result, says in (
        (lambda delta, W, x, b: delta, "vjp returned a ndarray, expected a tuple of 3 (dW, dx, db)"),
        (lambda delta, W, x, b: (delta, delta), "vjp returned 2 results, expected a tuple of 3 (dW, dx, db)"),
    ):
        assert says in str(check("affine", vjp=result, max_examples=2))


def test_an_argument_may_be_left_out() -> None:
    def right(delta: Any, W: Any, x: Any, b: Any) -> Any:
        return None, W.T @ delta, None

    def wrong(delta: Any, W: Any, x: Any, b: Any) -> Any:
        return None, W.T @ delta, -delta

    assert check("affine", vjp=right, max_examples=40).passed
    assert check("affine", vjp=wrong, max_examples=40).failures[0].argument == "b"


def test_lists_and_numbers_will_do() -> None:
    assert check("dot", forward=lambda x, y: float(x @ y), max_examples=10).passed
    assert check("add", vjp=lambda delta, x, y: [delta.copy(), delta.copy()], max_examples=10).passed


def test_functions_that_write_to_their_inputs_corrupt_nothing_but_fail() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        x *= 2
        delta *= x
        return delta

    report = check("square", vjp=vjp, max_examples=30)
    assert not report.passed
    writes = next(failure for failure in report.failures if failure.law == "leaves_its_inputs_alone")
    assert writes.message == "vjp wrote to its argument delta"  # x of the smallest case is 0, and twice 0 is 0
    assert isinstance(reproduced(writes, vjp=vjp), AssertionError)
    assert check("square", vjp=lambda delta, x: 2 * x * delta, max_examples=30).passed


def test_a_function_that_remembers_is_found() -> None:
    seen: dict[int, Any] = {}
    stale = check("tanh", vjp=lambda delta, x: delta * (1 - seen.setdefault(x.size, np.tanh(x)) ** 2), max_examples=30)
    assert not stale.passed


# ── dtypes, level, batch ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_every_dtype_is_judged_by_its_own_precision(dtype: str) -> None:
    def tanh_vjp(delta: Any, x: Any) -> Any:  # computed in float32 or better, rounded once
        wide = np.promote_types(x.dtype, np.float32) if x.dtype != ml_dtypes.bfloat16 else np.float32
        return np.asarray(delta.astype(wide) * (1 - np.tanh(x.astype(wide)) ** 2), x.dtype)

    report = check("tanh", vjp=tanh_vjp, dtypes=(dtype,), max_examples=60)
    assert report.passed, str(report)
    assert {c.dtype for c in report.checks} == {dtype}
    wrong = check("tanh", vjp=lambda delta, x: (delta * x).astype(x.dtype), dtypes=(dtype,), max_examples=20)
    failure = wrong.failures[0]
    assert failure.case.args[0].dtype.name == failure.dtype == dtype
    assert isinstance(reproduced(failure, vjp=lambda delta, x: (delta * x).astype(x.dtype)), AssertionError)


def test_several_dtypes_share_the_examples() -> None:
    report = check("square", vjp=lambda delta, x: 2 * x * delta, dtypes=("float64", "float32"), max_examples=20)
    assert report.passed
    assert {c.dtype: c.cases for c in report.checks if c.law == "vjp_equals_jax_vjp"} == {"float64": 10, "float32": 10}


def test_float32_inside_float64_is_found() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        return (delta.astype(np.float32) * (1 - np.tanh(x.astype(np.float32)) ** 2)).astype(x.dtype)

    assert not check("tanh", vjp=vjp, max_examples=20).passed
    assert check("tanh", vjp=vjp, dtypes=("float32",), max_examples=20).passed


def test_strict_asks_for_digits_that_standard_does_not() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        return delta * (1 - np.tanh(x) ** 2)

    assert check("tanh", vjp=vjp).passed
    report = check("tanh", vjp=vjp, level="strict")
    assert not report.passed
    law = next(failure for failure in report.failures if failure.law == "vjp_within_bound_of_truth")
    assert "level='strict'" in law.reproduction
    assert isinstance(reproduced(law, vjp=vjp), AssertionError)
    row = OPERATIONS["tanh"]
    assert check("tanh", forward=row.forward, vjp=row.vjp, jacobian=row.jacobian, level="strict").passed


def test_batches_are_asked_for() -> None:
    def first_only(delta: Any, x: Any) -> Any:
        return softmax_vjp(delta, x) if x.ndim == 1 else np.stack([softmax_vjp(delta[0], x[0])] * len(x))

    assert check("softmax", vjp=first_only, max_examples=30).passed
    report = check("softmax", vjp=first_only, max_examples=30, batch=True)
    assert [failure.law for failure in report.failures] == ["batch_equals_the_loop"]
    assert isinstance(reproduced(report.failures[0], vjp=first_only), AssertionError)


# ── The domain ──────────────────────────────────────────────────────────────────────────────────────────────────────


def watched(sizes: list[Any], f: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        sizes.append(args)
        return f(*args)

    return call


def test_what_is_not_promised_is_not_drawn_and_the_report_says_so() -> None:
    calls: list[Any] = []
    report = check(
        "softmax", forward=watched(calls, softmax), domain={"n": "multiple of 8", "values": "finite"}, max_examples=60
    )
    assert report.passed
    assert {x.size % 8 for (x,) in calls} == {0}
    assert not any(np.isnan(x).any() for (x,) in calls)
    assert "n is multiple of 8" in report.notes
    assert any("values are finite" in note for note in report.notes)
    assert "n is multiple of 8" in str(report)


def test_one_hot_targets_are_one_hot() -> None:
    calls: list[Any] = []

    def loss(x: Any, y: Any) -> Any:
        return -(y * (x - x.max() - np.log(np.exp(x - x.max()).sum()))).sum()

    assert check("softmax_cross_entropy", forward=watched(calls, loss), domain={"y": "one-hot"}, max_examples=40)
    assert all(set(np.unique(y)) <= {0, 1} and (y.sum(-1) == 1).all() for _, y in calls if not np.isnan(y).any())


def test_promises_are_asked_for_by_name_and_stand_in_the_reproduction() -> None:
    def relu_vjp(delta: Any, x: Any) -> Any:
        return delta * (x >= 0)  # at the kink the derivative is 1, where JAX has 0

    assert check("relu", vjp=relu_vjp).passed
    report = check("relu", vjp=relu_vjp, domain={"kinks": True})
    assert not report.passed
    assert "domain={'kinks': True}" in report.failures[0].reproduction
    assert isinstance(reproduced(report.failures[0], vjp=relu_vjp), AssertionError)
    notes = check("relu", vjp=relu_vjp, max_examples=2).notes
    assert any(note.startswith("not tried: kinks") for note in notes)


def test_empty_inputs_keep_their_shape_in_the_reproduction() -> None:
    assert assignments("W", np.zeros((0, 3), np.float32)) == ["W = np.zeros((0, 3), np.float32)"]

    def matvec(W: Any, x: Any) -> Any:
        if 0 in W.shape:
            raise ValueError("no rows or no columns")
        return W @ x

    assert check("matvec", forward=matvec, max_examples=40).passed
    failure = check("matvec", forward=matvec, max_examples=40, domain={"empty": True}).failures[0]
    assert "no rows" in failure.message
    assert isinstance(reproduced(failure, forward=matvec), AssertionError)


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        (
            {"m": 8},
            "domain has no 'm'; it may have x, y, delta, n, values, kinks, masks, empty, aliasing, infinities, threads",
        ),
        ({"y": "one-hop"}, "did you mean 'one-hot'?"),
        ({"n": "multiple of eight"}, "expected a size as 8, (1, 5), 'multiple of 8'"),
        ({"n": "multiple of 0"}, "expected a size"),
        ({"values": "nice"}, "expected one of finite, moderate, got 'nice'"),
        ({"masks": "yes"}, "expected True or False, got 'yes'"),
        ({"n": "at most 0"}, "leaves no size"),
    ],
)
def test_a_domain_that_means_nothing_is_an_error_in_one_line(domain: Any, says: str) -> None:
    with pytest.raises(ValueError, match="softmax_cross_entropy: domain") as raised:
        check("softmax_cross_entropy", forward=softmax, domain=domain)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"operation": "sofmax", "vjp": len}, ValueError, "unknown operation 'sofmax'; did you mean softmax"),
        ({"operation": "activation", "vjp": len}, ValueError, "did you mean activation[identity], activation[tanh]"),
        ({"operation": "qqq", "vjp": len}, ValueError, "there are scale, add"),
        ({"operation": "softmax"}, ValueError, "nothing to check; give forward=, vjp= or jacobian="),
        ({"operation": "softmax", "vjp": 3}, TypeError, "vjp must be a function, got int"),
        (
            {"operation": "softmax", "vjp": len, "level": "lax"},
            ValueError,
            "level must be one of formula, standard, strict",
        ),
        ({"operation": "softmax", "vjp": len, "dtypes": "float8"}, ValueError, "dtypes must be some of float64"),
        ({"operation": "softmax", "vjp": len, "dtypes": ["float8"]}, ValueError, "dtypes must be some of float64"),
        ({"operation": "softmax", "vjp": len, "dtypes": ()}, ValueError, "dtypes must be some of float64"),
        (
            {"operation": "softmax", "vjp": len, "level": "strict", "dtypes": ["float16"]},
            ValueError,
            "level 'strict' judges float64 and float32",
        ),
    ],
)
def test_a_call_that_means_nothing_is_an_error_in_one_line(arguments: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as raised:
        check(**arguments)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


# ── What is pasted runs ─────────────────────────────────────────────────────────────────────────────────────────────


ASKED: Any = {"batch": {"batch": True}} | {
    asks: {"domain": {promise: True}}
    for asks, promise in (
        ("kink", "kinks"),
        ("mask", "masks"),
        ("aliasing", "aliasing"),
        ("infinity", "infinities"),
    )
}


QUICK = [f for f in FAULTS if f.operation not in OPERATIONS or not is_network(OPERATIONS[f.operation])]


@pytest.mark.parametrize("fault", sampled(QUICK[::48], QUICK[::192], QUICK[::96]))
def test_the_reproduction_of_a_fault_reproduces_it(fault: Any) -> None:
    functions = {kind: getattr(fault, kind) for kind in ("forward", "vjp", "jacobian")}
    functions = {kind: f for kind, f in functions.items() if f is not None}
    report = check(fault.operation, **functions, dtypes=fault.dtypes[:1], **ASKED.get(fault.asks, {}))
    assert not report.passed
    for failure in report.failures:
        code = failure.reproduction
        for kind, name in failure.functions.items():
            code = code.replace(f"{kind}={name}", f"{kind}=given[{kind!r}]")
        with pytest.raises(AssertionError):
            exec(code, {"given": functions})


def test_a_long_input_is_reproduced_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=300)

    def vjp(delta: Any, x: Any) -> Any:
        if x.size == 300 and (x == wanted).all():
            raise ArithmeticError("these very numbers")
        return delta * 2 * x

    for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
        x = rng.normal(size=300).astype(dtype)
        names: dict[str, Any] = {}
        exec("\n".join(["import base64, ml_dtypes", "import numpy as np", *assignments("x", x)]), names)
        assert names["x"].dtype == dtype
        assert names["x"].tobytes() == x.tobytes()
        assert names["x"].flags.writeable
    with pytest.raises(AssertionError, match="these very numbers"):
        replay("square", "vjp_equals_jax_vjp", np.ones(300), wanted, vjp=vjp)


def test_negative_zeros_are_not_zeros() -> None:
    x = np.where(np.arange(100) == 40, -0.0, 0.0)
    assert assignments("x", x) == ["x = np.full((100,), 0.0, np.float64)", "x[40] = -0.0"]


def test_replay_raises_what_is_wrong_or_returns() -> None:
    x, delta = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    replay("softmax", "vjp_equals_jax_vjp", delta, x, vjp=softmax_vjp)
    with pytest.raises(AssertionError, match="dx"):
        replay("softmax", "vjp_equals_jax_vjp", delta, x, vjp=diagonal_alone)
    with pytest.raises(ValueError, match="unknown law 'vjp_is_right'; there are forward_equals_jax"):
        replay("softmax", "vjp_is_right", delta, x, vjp=softmax_vjp)


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_holds_everything_and_its_hex_is_exact() -> None:
    report = check("softmax", forward=softmax, vjp=diagonal_alone, max_examples=40)
    found = json.loads(report.to_json(), parse_constant=lambda constant: pytest.fail(f"not JSON: {constant}"))
    assert found["passed"] is False
    assert found["dtypes"] == ["float64"]
    assert len(found["failures"]) == len(report.failures)
    assert [c["law"] for c in found["checks"]] == [c.law for c in report.checks]
    for row, failure in zip(found["failures"], report.failures, strict=True):
        assert row["reproduction"] == failure.reproduction
        for key in ("actual", "expected"):
            number = getattr(failure, key)
            assert (row[f"{key}_hex"] is None) == (number is None)
            assert number is None or float.fromhex(row[f"{key}_hex"]) == number


def test_json_holds_infinities_as_texts() -> None:
    report = check("exp", forward=lambda x: np.full(x.shape, np.inf), max_examples=4)
    row = json.loads(report.to_json())["failures"][0]
    assert row["actual"] == row["actual_hex"] == "inf"


# ── Long vectors ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_long_vectors_are_tried_however_busy_the_machine_is() -> None:
    sizes: list[int] = []

    def vjp(delta: Any, x: Any) -> Any:
        sizes.append(x.size)
        time.sleep(0.02 if x.size > 1000 else 0)  # the processor is not ours
        return 2 * x * delta

    assert check("square", vjp=vjp).passed
    assert max(sizes) > 1 << 16


def test_what_would_take_too_long_is_left_out_and_the_report_says_so() -> None:
    def vjp(delta: Any, x: Any) -> Any:
        square = np.zeros((x.size, x.size))
        square[np.diag_indices(x.size)] = 2 * x
        return square @ delta

    report = check("square", vjp=vjp)
    said = [note for note in report.notes if re.fullmatch(r"sizes from \d+,\d+ are not tried: .* grow too far", note)]
    assert len(said) == 1


# ── What people try ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_public_names_are_there() -> None:
    for name in backprop_properties.__all__:
        assert callable(getattr(backprop_properties, name))


@pytest.mark.parametrize("domain", [{"y": "onehot"}, {"y": "One Hot"}, {"n": ">=8"}, {"n": "<= 8"}, {"x": "finite"}])
def test_other_words_for_a_domain_are_understood(domain: Any) -> None:
    row = OPERATIONS["softmax_cross_entropy"]
    assert check(row.name, vjp=row.vjp, domain=domain, max_examples=12).passed


def test_dtypes_may_be_numpys_own() -> None:
    report = check("tanh", forward=np.tanh, dtypes=[np.float32, np.dtype(np.float16), "float"], max_examples=12)  # type: ignore[list-item]
    assert report.passed
    assert report.dtypes == ("float32", "float16", "float64")


@pytest.mark.parametrize("seed", ["1", -1, 0.5])
def test_a_seed_is_a_number(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        check("tanh", forward=np.tanh, seed=seed)


def test_one_message_is_printed_once_and_every_law_is_kept() -> None:
    def raises(delta: Any, x: Any) -> Any:
        raise RuntimeError(f"no kernel for {len(x)} numbers")

    report = check("tanh", vjp=raises, max_examples=12)
    assert len(report.failures) > 5
    assert report.summary().startswith("tanh: vjp RAISES: raised RuntimeError: no kernel for ")
    assert len(report.summary().splitlines()) == 1
    assert str(report).count("fails (float64)") == 1


def test_a_nan_that_is_hidden_is_named_with_its_entry() -> None:
    failure = check("exp", forward=lambda x: np.nan_to_num(np.exp(x)), max_examples=24).failures[0]
    assert failure.message == "u hides a NaN: the first entry of x is NaN, u[0] = 0.0, expected nan"


def test_where_zero_is_expected_there_is_no_talk_of_ulp() -> None:
    text = str(check("relu", vjp=lambda delta, x: delta * (x > 0) + 1e-300, max_examples=24))
    assert "expected exactly 0" in text
    assert not re.search(r"\binf\b", text)


def test_rounding_is_not_counted_as_a_law_broken() -> None:
    report = check("add", vjp=lambda d, x, y: (d + d.sum() / 3, d))  # of exact zeros the bound is 0, of these no more
    assert "vjp_equals_jax_vjp" in {failure.law for failure in report.failures}
    assert "vjp_is_linear" not in {failure.law for failure in report.failures}
    assert [checked.failed for checked in report.checks if checked.law == "vjp_is_linear"] == [False]


def test_a_cotangent_that_is_not_taken_linearly_still_breaks_the_law() -> None:
    assert "vjp_is_linear" in {f.law for f in check("square", vjp=lambda d, x: 2 * x * np.abs(d)).failures}


def test_a_search_for_a_cause_that_fails_loses_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("in a hint")

    monkeypatch.setattr(failures, "hints", broken)
    report = check("square", vjp=lambda delta, x: x * delta, max_examples=4)
    assert not report.passed
    assert any("no hints" in note and "in a hint" in note for note in report.notes)


# ── What is right, and was once rejected ────────────────────────────────────────────────────────────────────────────


RIGHT_SQUARE = "assert check('square', vjp=lambda delta, x: 2 * delta * x, max_examples=12)"


@pytest.mark.parametrize(
    ("code", "without"),
    [
        (f"from backprop_properties import check; {RIGHT_SQUARE}", ["backprop_properties.hints.causes", "rich"]),
        (
            "from backprop_properties.commands import app, check_output; import backprop_properties.checking.run",
            ["jax"],
        ),
    ],
)
def test_nothing_is_imported_that_is_not_needed_and_takes_long(code: str, without: list[str]) -> None:
    """A check that finds all right needs no hints, and the command that waits for the judge no JAX."""
    code = f"{code}\nimport sys; print([name for name in {without} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_what_is_imported_when_something_has_failed_is_this_projects() -> None:
    """A file beside somebody's functions may have the name of a library, and takes the place of none."""
    code = "import sys, backprop_properties.checking.check; before = {*sys.modules}; "
    code += "import backprop_properties.checking.failures, backprop_properties.checking.pictured; "
    code += "print({name.partition('.')[0] for name in {*sys.modules} - before})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "{'backprop_properties'}\n"


def test_labels_stay_integers_in_every_layout():
    def forward(x, labels):
        z = x - x.max()
        return np.log(np.exp(z).sum()) - z[labels]

    def vjp(delta, x, labels):
        p = np.exp(x - x.max())
        p /= p.sum()
        p[labels] -= 1
        return p * delta

    assert check("softmax_cross_entropy", forward=forward, vjp=vjp, convention={"labels": "index"})


def test_either_slope_at_a_kink_is_right_in_half_precision_too():
    def vjp(delta, W, x, b):
        d = delta * (W @ x + b >= 0)
        return np.outer(d, x), W.T @ d, d

    assert check("activation[relu]", vjp=vjp, dtypes=("float16",))


def test_a_list_of_entries_is_one_array_however_long():
    assert check("negate", vjp=lambda delta, x: [-d for d in delta], isolated=True)


@pytest.mark.parametrize("operation", sampled(["rms_norm", "l2_normalize"], ["l2_normalize"]))
def test_a_third_power_of_large_numbers_is_not_asked_for(operation):
    """The slope of `1 / √v` is `r / v` in JAX, which is 0 where a third power leaves the range."""
    functions = {
        "rms_norm": lambda x, w: x * jax.lax.rsqrt(jax.numpy.square(x).mean(-1, keepdims=True) + 1e-6) * w,
        "l2_normalize": lambda x: (
            x * jax.lax.rsqrt(jax.numpy.maximum(jax.numpy.square(x).sum(-1, keepdims=True), 1e-24))
        ),
    }
    report = check(operation, **from_jax(functions[operation]))
    assert report, report


def test_the_cotangent_may_be_multiplied_first():
    """`(δ x) σ(x)` is NaN where `δ x` overflows and `x σ(x)` is 0: beside large arguments, cotangents are small."""

    def forward(x, g):
        return x * jax.nn.sigmoid(x) * g

    def vjp(delta, x, g):
        e = np.exp(-np.abs(x))
        s = np.where(x < 0, e, 1) / (1 + e)
        return delta * g * (s + x * s * np.where(x < 0, 1, e) / (1 + e)), delta * x * s

    for dtype in ("float64", "float32", "float16"):
        report = check(Definition(forward, "(b,n),(b,n)", name="gated"), vjp=vjp, dtypes=dtype)
        assert report, report


# ── What one process cannot keep apart ──────────────────────────────────────────────────────────────────────────────


def test_what_a_function_replaces_in_numpy_is_put_back_and_told():
    isfinite = np.isfinite

    def vjp(delta, x):
        np.isfinite = lambda a: np.zeros(np.shape(a), bool)
        return delta * np.nan

    report = check("softmax", vjp=vjp, max_examples=20)
    assert np.isfinite is isfinite
    assert "numpy.isfinite was replaced" in " ".join(failure.message for failure in report.failures)
    assert "vjp_equals_jax_vjp" in {failure.law for failure in report.failures}


def test_laws_that_are_taken_away_are_put_back_and_told():
    from backprop_properties.laws.table import LAWS

    before = dict(LAWS)

    def vjp(delta, x):
        LAWS.clear()
        return delta

    report = check("exp", vjp=vjp, max_examples=20)
    assert before == LAWS
    assert not report.passed
    assert report.verdicts["vjp"].manners != "right"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exits_and_interrupts_that_are_raised_are_failures(error):
    def vjp(delta, x):
        raise error

    report = check("exp", vjp=vjp, max_examples=20)
    assert not report.passed
    assert {SystemExit: "called exit", KeyboardInterrupt: "raised KeyboardInterrupt"}[error] in report.failures[
        0
    ].message


def test_isolated_functions_may_end_their_process():
    calls = iter(range(30))

    def vjp(delta, x):
        if next(calls, None) is None:
            os._exit(0)
        return delta * np.exp(x)

    report = check("exp", vjp=vjp, isolated=True, max_examples=50)
    assert report.failures[0].message == "the process ended itself with exit code 0 in call 31 of vjp"
    assert check("exp", forward=np.exp, vjp=lambda delta, x: delta * np.exp(x), isolated=True)


def test_isolated_functions_share_memory_as_they_do_here():
    """A vjp that writes to its argument, one that hands out a buffer again, and one that is told a view from a copy."""
    buffer = np.zeros(10**6)

    def reuses(delta, x):
        out = buffer[: x.size].reshape(x.shape)
        np.multiply(delta, np.exp(x), out=out)
        return out

    def writes(delta, x):
        delta *= np.exp(x)
        return delta.copy()

    for vjp, law in ((reuses, "says_the_same_twice"), (writes, "leaves_its_inputs_alone")):
        here, there = (check("exp", vjp=vjp, isolated=isolated, max_examples=60) for isolated in (False, True))
        assert law in {failure.law for failure in there.failures}
        assert {failure.law for failure in there.failures} == {failure.law for failure in here.failures}


# ── Limits of another process ───────────────────────────────────────────────────────────────────────────────────────


def test_isolated_functions_have_a_time_and_a_memory() -> None:
    def hangs(x: Any) -> Any:
        while True:
            pass

    def greedy(x: Any) -> Any:
        return x + np.zeros(2**27).sum() if np.ones(2**27).any() else x

    report = check("square", forward=hangs, isolated=True, timeout=8)
    assert "stopped after 2 s" in report.summary()
    assert check("square", forward=lambda x: x * x, isolated=True, timeout=600, memory=512, max_examples=6).passed
    if sys.platform.startswith("linux"):
        told = check("square", forward=greedy, isolated=True, memory=128, max_examples=6).summary()
        assert "MemoryError" in told or "more than the 128 MB that it may ask for" in told


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"timeout": 2}, "expected isolated=True"),
        ({"memory": 512}, "expected isolated=True"),
        ({"isolated": True, "timeout": 0}, "timeout must be a number of seconds, at least 0.1, got 0"),
        ({"isolated": True, "timeout": float("nan")}, "timeout must be a number of seconds, at least 0.1, got nan"),
        ({"isolated": True, "memory": 1}, "memory must be a number of megabytes, at least 64, got 1"),
        ({"isolated": True, "memory": "4G"}, "memory must be a number of megabytes, at least 64, got '4G'"),
    ],
)
def test_a_limit_that_is_none_is_one_line(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check("square", forward=lambda x: x * x, **limits)


def test_a_time_that_is_too_short_for_all_of_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "limits_of", lambda timeout, memory: Limits(seconds=0.0))
    with pytest.raises(TimeoutError, match=r"^not done after 0 s and \d+ calls of forward; a larger timeout= gives"):
        check("square", forward=lambda x: x * x, isolated=True, timeout=60)
