"""The frozen vectors: whole, written by the oracle to the byte, agreed with by the reference, in C and in JavaScript,
and by nothing that is wrong.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from backprop_properties import load_vectors
from backprop_properties.checking.python_files import Implementation, python_name
from backprop_properties.frozen import cases as chosen
from backprop_properties.frozen.diff import quantities
from backprop_properties.frozen.files import (
    MANIFEST,
    SCHEMA,
    VECTORS,
    file_name,
    sha256,
)
from backprop_properties.frozen.floats import both, from_list, from_text, rounded_up, to_hex, to_list, to_text
from backprop_properties.frozen.integrity import examine
from backprop_properties.frozen.judge import judged
from backprop_properties.frozen.notes import KINDS, NOTES
from backprop_properties.frozen.results import undefined
from backprop_properties.frozen.writer import as_bytes, document_of
from backprop_reference import OPERATIONS

READERS = Path(__file__).parent / "readers"
cases_of = cache(load_vectors)


@cache
def document(operation):
    return json.loads((VECTORS / file_name(operation)).read_text("utf-8"))


# ── The set ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_operation_has_its_file_and_nothing_else_is_there():
    assert {path.name for path in VECTORS.iterdir()} == {MANIFEST, SCHEMA, *map(file_name, OPERATIONS)}
    assert len(set(map(file_name, OPERATIONS))) == len(set(map(python_name, OPERATIONS))) == len(OPERATIONS)


def test_the_set_is_small_and_has_enough_cases():
    assert sum(path.stat().st_size for path in VECTORS.iterdir()) < 12_000_000
    for operation in OPERATIONS:
        assert 40 <= len(cases_of(operation)) <= 200, operation
        assert {case.dtype.name for case in cases_of(operation)} == {"float32", "float64"}


def test_every_flag_is_used_has_a_note_and_says_a_kind():
    used = {flag for operation in OPERATIONS for case in cases_of(operation) for flag in case.flags}
    assert used == NOTES.keys()
    assert {kind for note in NOTES.values() for kind in note.catches} <= set(KINDS)
    assert all(len(note.description) > 20 and note.description.endswith(".") for note in NOTES.values())


def test_every_value_is_asked_for_and_gradients_where_no_slope_overflows():
    for operation in OPERATIONS:
        for case in cases_of(operation):
            assert case.value is not None, (operation, case.tcId)
            straight = "NotANumber" in case.flags and ("identity" in operation or operation == "negate")
            overflows = operation in ("exp", "log", "reciprocal")
            assert len(case.gradients) == len(case.inputs) or overflows or straight, (operation, case.tcId)


def test_units_are_no_looser_than_the_terms_of_the_problem():
    """An entry that is not judged at all would have a huge unit: most are a few units in the last place."""
    for operation in OPERATIONS:
        values = [case.value for case in cases_of(operation) if "Ordinary" in case.flags]
        loose = [(q.condition / np.maximum(np.abs(q.expected), 1e-3) * q.tolerance).max() for q in values]
        assert np.median(loose) < 300, operation


def test_a_condition_is_that_of_the_terms_and_never_below_the_result():
    for operation in OPERATIONS:
        for case in cases_of(operation):
            info = np.finfo(case.dtype)
            for q in quantities(case).values():
                finite = np.isfinite(q.expected)
                own = np.abs(q.expected[finite]).astype(float)
                assert (q.condition[finite] > own / 2).all(), (operation, case.tcId)
                assert (q.condition >= float(info.tiny)).all()
                assert q.eps == float(info.eps)
    for case in cases_of("dot"):
        if {"Ordinary", "Absorption"} & set(case.flags):
            terms = np.abs(case.inputs["x"].astype(float) * case.inputs["y"]).sum()
            assert terms * (1 - 1e-9) <= case.value.condition <= 1.04 * terms


def test_results_below_the_smallest_normal_number_are_judged():
    """Of those that are not 0, most would be rejected as 0, and more than half if they were off by a hundredth."""
    seen = flushed = off = 0
    for operation in OPERATIONS:
        for case in cases_of(operation):
            for q in quantities(case).values():
                below = (q.expected != 0) & (np.abs(q.expected) < np.finfo(case.dtype).tiny)
                units = q.units(np.zeros_like(q.expected))[below]
                seen, flushed = seen + below.sum(), flushed + (units > q.tolerance).sum()
                off += (units / 100 > q.tolerance).sum()
    assert seen > 1900
    assert flushed > 0.87 * seen
    assert off > 0.7 * seen


def test_the_reference_agrees_with_every_case_in_under_20_seconds():
    started = time.process_time()
    sound, problems = examine(VECTORS)
    failures = [failure for name, row in OPERATIONS.items() for failure in judged(sound[name], row, row)[1]]
    assert (problems, [str(failure) for failure in failures]) == ([], [])
    assert sound.keys() == OPERATIONS.keys()
    assert time.process_time() - started < 20


@pytest.mark.parametrize("operation", ["scale", "gelu", "softmax", "activation[relu]", "backpropagation[tanh]"])
def test_the_oracle_writes_the_packaged_bytes_again_and_never_asks_the_reference(operation):
    def forbidden(*args):
        raise AssertionError("the reference was called")

    row = replace(OPERATIONS[operation], forward=forbidden, jacobian=forbidden, vjp=forbidden)
    source = document(operation)["source"]
    assert (
        as_bytes(document_of(row, source["version"], source["seed"])) == (VECTORS / file_name(operation)).read_bytes()
    )


@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param({"PYTHONHASHSEED": "1"}, marks=pytest.mark.exhaustive),
        {"PYTHONHASHSEED": "2", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0"},
        {
            "OPENBLAS_CORETYPE": "Nehalem",
            "OPENBLAS_NUM_THREADS": "1",
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL AVX512_SPR",
        },
    ],
    ids=lambda surroundings: next(iter(surroundings)),
)
def test_other_processes_write_the_packaged_bytes(surroundings):
    """Hash seeds, locales, and the instructions that NumPy and BLAS choose do not matter."""
    operations = ["softmax", "activation[gelu]", "identity"]
    program = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from backprop_properties.frozen.files import sha256\n"
        "from backprop_properties.frozen.writer import as_bytes, document_of\n"
        "from backprop_reference import OPERATIONS\n"
        f"print([sha256(as_bytes(document_of(OPERATIONS[name], {version()}, 0))) for name in {operations}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, **surroundings}
    )
    sums = [sha256((VECTORS / file_name(operation)).read_bytes()) for operation in operations]
    assert done.stdout == f"{sums}\n", done.stderr


def version():
    return document("softmax")["source"]["version"]


def test_no_function_of_the_reference_is_called_when_truths_are_asked(monkeypatch):
    """The scalar functions are tables that certified truths must not lean on either."""
    from backprop_reference import scalar_function as scalars

    def forbidden(*args):
        raise AssertionError("the reference was called")

    monkeypatch.setattr(scalars, "_entrywise", forbidden)
    assert document_of(OPERATIONS["tanh"], 1, 0)["numberOfTests"] == len(cases_of("tanh"))


# ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def by_hand(operation):
    cases = [case for case in cases_of(operation) if "HandChecked" in case.flags]
    assert cases, operation
    for case in cases:
        yield case, [np.vectorize(Fraction, otypes=[object])(a) for a in (*case.args, case.cotangent)]


def same(expected, exact):
    return np.array_equal(np.asarray(exact, dtype=float), expected.expected)


def test_hand_checked_sums_and_products():
    for case, (x, y, delta) in by_hand("dot"):
        assert same(case.value, sum(a * b for a, b in zip(x, y, strict=True)))
        assert same(case.gradients["x"], delta * y)
        assert same(case.gradients["y"], delta * x)
    for case, (W, x, b, delta) in by_hand("affine"):
        assert same(
            case.value, [sum(w * a for w, a in zip(row, x, strict=True)) + c for row, c in zip(W, b, strict=True)]
        )
        assert same(case.gradients["W"], [[d * a for a in x] for d in delta])
        assert same(case.gradients["x"], [sum(d * w for d, w in zip(delta, column, strict=True)) for column in W.T])
        assert same(case.gradients["b"], delta)


def test_hand_checked_losses():
    for case, (w, x, y, delta) in by_hand("linear_regression"):
        error = sum(w * x) - y
        assert same(case.value, error**2)
        assert same(case.gradients["w"], 2 * delta * error * x)
        assert same(case.gradients["y"], -2 * delta * error)
    for case, (x, y, delta) in by_hand("softmax_cross_entropy"):
        n = len(x)
        assert not any(x)
        exact = [delta * (sum(y) / Fraction(n) - y_i) for y_i in y]
        assert np.allclose(np.asarray(exact, float), case.gradients["x"].expected, rtol=1e-6, atol=0)


def test_hand_checked_softmax_of_equal_logits():
    for case, (x, _) in by_hand("softmax"):
        assert same(case.value, [case.dtype.type(1) / case.dtype.type(len(x))] * len(x))


def test_a_batch_in_fractions():
    """Sixteenths, whose sums and products are exact: data has a gradient for each example, parameters the sum."""
    seen = 0
    for case in cases_of("affine"):
        if "Batch" in case.flags and "FullPrecision" not in case.flags:
            W, x, b = (a.astype(float) for a in case.args)
            delta = case.cotangent.astype(float)
            assert np.array_equal(case.value.expected, x @ W.T + b)
            assert np.array_equal(case.gradients["x"].expected, delta @ W)
            assert np.array_equal(case.gradients["W"].expected, np.tensordot(delta, x, [range(x.ndim - 1)] * 2))
            assert np.array_equal(case.gradients["b"].expected, delta.reshape(-1, b.size).sum(0))
            assert not case.jacobians
            seen += 1
    assert seen == 6


def test_sizes_of_0_in_the_set():
    empty = [case for case in cases_of("affine") if "Empty" in case.flags and "Batch" not in case.flags]
    assert [[a.shape for a in case.args] for case in empty[:2]] == [[(0, 3), (3,), (0,)], [(2, 0), (0,), (2,)]]
    nothing, bias = empty[:2]
    assert nothing.value.expected.shape == (0,)
    assert nothing.gradients["x"].expected.tolist() == [0, 0, 0]
    assert np.array_equal(bias.value.expected, bias.inputs["b"])
    (none, _) = [case for case in cases_of("matvec") if case.comment == "a batch of nothing"]
    assert none.value.expected.shape == (0, none.inputs["W"].shape[0])
    assert not none.gradients["W"].expected.any()


# ── NaN and infinities ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("operation", "kind", "expected"),
    [
        ("add", "value", ["n.."]),
        ("add", "vjp", ["...", "..."]),
        ("hadamard", "value", ["n.."]),
        ("hadamard", "vjp", ["...", "n.."]),
        ("dot", "value", ["n"]),
        ("dot", "vjp", ["...", "n.."]),
        ("squared_error", "vjp", ["n..", "n.."]),
        ("sum_reduction", "vjp", ["..."]),
        ("relu", "value", ["n.."]),
        ("relu", "vjp", ["n.."]),
        ("log", "vjp", ["n.."]),
        ("log", "jacobian", ["n........"]),
        ("softmax", "value", ["nnn"]),
        ("softmax", "vjp", ["nnn"]),
        ("softmax_cross_entropy", "vjp", ["nnn", "nnn"]),
        ("negate", "value", ["n.."]),
        ("negate", "vjp", [None]),
    ],
)
def test_what_a_nan_in_the_first_argument_reaches(operation, kind, expected):
    """`n` is NaN, `.` a number, None a constant slope: its h′ at NaN is the constant, or NaN."""
    first = np.array([np.nan, 2.0, 3.0])
    args = [first, *[np.array([0.5, 0.25, 4.0])] * (len(OPERATIONS[operation].arguments) - 1)]
    delta = np.ones(np.shape(OPERATIONS[operation].forward(*args)))
    masks = undefined(OPERATIONS[operation], kind, delta, *args)
    assert [m if m is None else "".join(".n"[int(e)] for e in m.ravel()) for m in masks] == expected


def test_a_nan_in_a_weight_stays_in_its_row():
    W, x, delta = np.array([[1.0, np.nan], [3.0, 4.0]]), np.array([0.5, 2.0]), np.array([1.0, -2.0])
    for h in ("relu", "tanh", "softplus"):
        args = (W, x, np.zeros(2))
        (value,) = undefined(OPERATIONS[f"activation[{h}]"], "value", delta, *args)
        assert value.tolist() == [True, False]
        dW, dx, db = undefined(OPERATIONS[f"activation[{h}]"], "vjp", delta, *args)
        assert dW.tolist() == [[True, True], [False, False]]
        assert dx.tolist() == [True, True]
        assert db.tolist() == [True, False]
    delta = np.array([np.nan, 1.0])
    dW, dx = undefined(OPERATIONS["matvec"], "vjp", delta, np.ones((2, 2)), x)
    assert dW.tolist() == [[True, True], [False, False]]
    assert dx.tolist() == [True, True]


LIMITS = {  # h and h′ at +∞, then at −∞
    "exp": (np.inf, np.inf, 0, 0),
    "reciprocal": (0, 0, 0, 0),
    "negate": (-np.inf, -1, np.inf, -1),
    "square": (np.inf, np.inf, np.inf, -np.inf),
    "identity": (np.inf, 1, -np.inf, 1),
    "tanh": (1, 0, -1, 0),
    "sigmoid": (1, 0, 0, 0),
    "relu": (np.inf, 1, 0, 0),
    "leaky_relu": (np.inf, 1, -np.inf, 0.01),
    "elu": (np.inf, 1, -1, 0),
    **dict.fromkeys(("softplus", "silu", "gelu", "gelu_tanh"), (np.inf, 1, 0, 0)),
}


@pytest.mark.parametrize("h", LIMITS)
def test_the_limits_of_functions_by_hand(h):
    above, slope_above, below, slope_below = LIMITS[h]
    cases = [case for case in cases_of(h) if "Infinite" in case.flags]
    assert {case.dtype.name for case in cases} == {"float32", "float64"}
    for case in cases:
        assert case.inputs["x"].tolist() == [np.inf, -np.inf]
        assert case.value.expected.tolist() == [above, below]
        slopes = np.array([slope_above, slope_below]).astype(case.dtype)
        assert np.array_equal(case.jacobians["x"].expected.diagonal(), slopes)
        assert np.array_equal(case.gradients["x"].expected, case.cotangent * slopes)


def test_functions_without_one_of_the_limits():
    assert [case.value.expected.tolist() for case in cases_of("log") if "Infinite" in case.flags] == [[np.inf]] * 2
    undecided = [case for case in cases_of("softmax") if "Infinite" in case.flags]
    assert len(undecided) == 4
    assert all(np.isnan(case.value.expected).all() for case in undecided)
    assert all(np.isnan(case.gradients["x"].expected).all() for case in undecided)


WRONG = [  # what is wrong, the kind, the operation, and the functions
    ("a maximum that swallows NaN", "nan", "relu", {"forward": lambda x: np.fmax(x, x.dtype.type(0))}),
    ("a comparison that NaN fails", "nan", "relu", {"vjp": lambda d, x: d * (x > 0)}),
    ("x s(x) at minus infinity", "infinity", "silu", {"forward": lambda x: x / (1 + np.exp(-x))}),
    ("s + x s (1 − s) at infinity", "infinity", "gelu_tanh", {"vjp": lambda d, x: np.where(np.isinf(x), np.nan, d)}),
    ("masks alone are 0", "infinity", "softmax",
     {"forward": lambda x: np.nan_to_num(OPERATIONS["softmax"].forward(x))}),
    ("a gradient for each example", "batch", "matvec",
     {"vjp": lambda d, W, x: (d[..., :, None] * x[..., None, :], d @ W)}),
    ("the mean over the batch", "batch", "affine",
     {"vjp": lambda d, W, x, b: (*OPERATIONS["affine"].vjp(d, W, x, b)[:2], d.mean(tuple(range(d.ndim - 1))))}),
    ("one maximum for all examples", "batch", "softmax",
     {"forward": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(-1, keepdims=True)}),
    ("the first axis", "batch", "sum_reduction", {"forward": lambda x: x.sum(0)}),
    ("a maximum of nothing", "shape", "exp", {"forward": lambda x: np.exp(x - x.max()) * np.exp(x.max())}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "kind", "operation", "functions"), WRONG, ids=[row[0] for row in WRONG])
def test_what_only_the_special_cases_see(what, kind, operation, functions):
    failure = first_fitting(operation, Implementation(**functions), kind)
    assert failure, what
    assert {"NotANumber", "Infinite", "Batch", "Empty"} & set(failure.case.flags)


# ── Floats ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_floats_are_exact_in_both_directions():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        bits = rng.integers(0, np.iinfo(f"u{dtype().itemsize}").max, 3000, f"u{dtype().itemsize}").view(dtype)
        numbers = np.concatenate([bits[~np.isnan(bits)], np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)])
        again = both(to_list(numbers), to_text(numbers), dtype, numbers.shape)
        assert again.tobytes() == numbers.tobytes()
        text = json.dumps(to_list(numbers), allow_nan=False)
        digits = [len(Decimal(x).normalize().as_tuple().digits) for x in json.loads(text, parse_float=Decimal)]
        assert max(digits) == 17 if dtype == np.float64 else max(digits) <= 17
        plain = np.array(list(map(float, json.loads(text))), dtype)  # as any program reads them
        assert plain.tobytes() == numbers.tobytes()
    assert [to_hex(x) for x in (3.0, -0.0, np.inf, -np.inf)] == ["0x1.8p+1", "-0x0.0p+0", "inf", "-inf"]
    assert to_hex(float("nan")) == "nan"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["1.0"], "expected a number"),
        ([True], "expected a number"),
        ([None], "expected a number"),
        (["nan"], "expected a number"),
        ([[1.0]], "expected a number"),
        ([1e400], "beyond the range of float64"),
        ([-(10**400)], "beyond the range of float64"),
        ([0.1], "0.1 is no float32"),
        ([], "expected 1 numbers"),
        ("0x1p+0", "expected 1 numbers"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused(entries, words):
    with pytest.raises(ValueError, match=words):
        from_list(entries, np.float32, (1,))


@pytest.mark.parametrize("text", ["0x1p+1024", "-0x1p+9999"])
def test_a_hexadecimal_float_beyond_the_range_is_refused(text):
    with pytest.raises(ValueError, match="beyond the range of float64"):
        from_text(text, np.float64, (1,))


def test_both_forms_have_to_agree_to_the_sign_of_a_zero():
    for entries, text in (([0.0], "-0x0.0p+0"), ([1.0], "0x1.0000000000001p+0"), (["NaN"], "inf")):
        with pytest.raises(ValueError, match="in decimal and"):
            both(entries, text, np.float64, (1,))


@pytest.mark.parametrize("text", ["1.5", "0x1.8p+1  0x1p+0", "0x2p+0", "infinity", "__import__('os')", "", "0x1p+1 "])
def test_what_is_no_hexadecimal_float_is_refused(text):
    with pytest.raises(ValueError, match="hexadecimal"):
        from_text(text, np.float64, (1,))


def test_a_rounded_unit_is_never_smaller():
    rng = np.random.default_rng(1)
    for number in np.exp(rng.uniform(-700, 700, 500)).tolist():
        assert number <= rounded_up(number) < number * 1.04


# ── Two levels ──────────────────────────────────────────────────────────────────────────────────────────────────────


TEXTBOOK = [  # operation, functions as any framework has them: right at the standard level, and not at the strict one
    ("tanh", {"vjp": lambda d, x: d * (1 - np.tanh(x) ** 2)}),
    ("sigmoid", {"vjp": lambda d, x: (lambda s: d * s * (1 - s))((1 / (1 + np.exp(-x))).astype(x.dtype))}),
    ("softmax",
     {"vjp": lambda d, x: (lambda s: s * (d - (d * s).sum(-1, keepdims=True)))(OPERATIONS["softmax"].forward(x))}),
    ("activation[tanh]",
     {"vjp": lambda d, W, x, b: (lambda g: (g.T @ x if g.ndim == 2 else g[..., None] * x[..., None, :], g @ W, g))(
         d * (1 - np.tanh(x @ W.T + b) ** 2))}),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "functions"), TEXTBOOK, ids=[row[0] for row in TEXTBOOK])
def test_a_textbook_slope_passes_the_standard_level_and_not_the_strict_one(operation, functions):
    cases = [case for case in cases_of(operation) if "Batch" not in case.flags]
    row, using = OPERATIONS[operation], Implementation(**functions)
    compared, failures = judged(cases, row, using, "standard")
    assert (compared > 60, [str(failure) for failure in failures]) == (True, [])
    assert judged(cases, row, using, "strict")[1]


@pytest.mark.parametrize(
    ("operation", "functions"),
    [
        ("tanh", {"vjp": lambda d, x: d * (1 + np.tanh(x) ** 2)}),
        ("tanh", {"vjp": lambda d, x: d * np.asarray(1 - np.tanh(x.astype(np.float16)) ** 2, x.dtype)}),
        ("softmax", {"forward": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)}),
        ("relu", {"forward": lambda x: np.fmax(x, x.dtype.type(0))}),
        ("square", {"vjp": lambda d, x: d * x}),
    ],
)
def test_what_is_wrong_fails_the_standard_level_too(operation, functions):
    assert judged(cases_of(operation), OPERATIONS[operation], Implementation(**functions), "standard")[1]


def test_either_slope_at_a_kink_passes_the_standard_level_only():
    using = Implementation(vjp=lambda d, x: d * (x >= 0))
    numbers = [case for case in cases_of("relu") if not case.flags or "NotANumber" not in case.flags]
    assert not judged(numbers, OPERATIONS["relu"], using, "standard")[1]
    assert judged(numbers, OPERATIONS["relu"], using, "strict")[1]


def test_the_standard_tolerance_is_never_below_the_strict_one_and_seldom_without_an_end():
    asked = entries = 0
    for operation in OPERATIONS:
        for case in cases_of(operation):
            for q in quantities(case).values():
                assert (q.standard >= q.tolerance).all()
                asked, entries = asked + q.asked("standard").sum(), entries + q.standard.size
    assert asked > 0.9 * entries


def test_the_reference_passes_the_standard_level():
    for operation in ("softmax", "gelu", "activation[relu]", "two_layer_network[tanh]"):
        assert not judged(cases_of(operation), OPERATIONS[operation], OPERATIONS[operation], "standard")[1]


# ── Every operation's mistakes are caught, by a case that says so ───────────────────────────────────────────────────


def first_fitting(operation, using, kind):
    """The first case that fails and has a flag whose note speaks of this kind of bug."""
    for case in cases_of(operation):
        _, failures = judged([case], OPERATIONS[operation], using)
        if failures and any(kind in NOTES[flag].catches for flag in case.flags):
            return failures[0]
    return None


def changed(f, position, change):
    """A function one of whose results is changed."""

    def wrong(*args):
        results = f(*args)
        if not isinstance(results, tuple):
            return change(results)
        dense = [r.todense() if hasattr(r, "todense") else r for r in results]
        return tuple(change(r) if i == position else r for i, r in enumerate(dense))

    return wrong


def fewer_digits(r):
    """Rounded to half the digits of its format."""
    mantissa, exponent = np.frexp(r)
    half = 2.0 ** (12 if r.dtype == np.float32 else 26)
    return np.ldexp(np.rint(mantissa * half) / half, exponent).astype(r.dtype)


def turned(r):
    return np.ascontiguousarray(r.T).reshape(r.shape)


def in_half_the_digits(function):
    return lambda *args: function(*(fewer_digits(a) for a in args))


def means_nothing(r):
    return np.nan_to_num(r, nan=0.0, posinf=np.inf, neginf=-np.inf)


CHANGES = {"sign": np.negative, "missing term": np.zeros_like, "factor": lambda r: r + r, "precision": fewer_digits}


def mutants(operation):
    """Every single mistake: a label, the kind, and the implementation that makes it."""
    row = OPERATIONS[operation]
    for kind, change in CHANGES.items():
        yield f"u {kind}", kind, Implementation(forward=changed(row.forward, 0, change))
        for i, name in enumerate(row.arguments):
            yield f"d{name} {kind}", kind, Implementation(vjp=changed(row.vjp, i, change))
            if kind != "precision":  # Jacobians of zeros and ones have no more digits
                yield f"J_{name} {kind}", kind, Implementation(jacobian=changed(row.jacobian, i, change))
    yield "u hides NaN", "nan", Implementation(forward=changed(row.forward, 0, means_nothing))
    for i, name in enumerate(row.arguments):
        yield f"d{name} hides NaN", "nan", Implementation(vjp=changed(row.vjp, i, means_nothing))
    case = cases_of(operation)[0]
    for i, (name, a) in enumerate(zip(row.arguments, case.args, strict=True)):
        if a.ndim == 2:
            yield f"d{name} turned", "transposed", Implementation(vjp=changed(row.vjp, i, turned))
            yield f"{name} turned", "transposed", Implementation(forward=fed(row.forward, i, turned))
            yield f"vjp of {name} turned", "transposed", Implementation(vjp=fed(row.vjp, i + 1, turned))
            yield f"J_{name} turned", "transposed", Implementation(jacobian=changed(row.jacobian, i, turned))
        if len(row.arguments) > 1:
            yield f"{name} missing", "missing term", Implementation(forward=fed(row.forward, i, np.zeros_like))


def fed(function, position, change):
    return lambda *args: function(*(change(a) if i == position else a for i, a in enumerate(args)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_mutated_operation_fails_with_a_flag_whose_note_fits(operation):
    labels = []
    for label, kind, mutant in mutants(operation):
        labels.append(label)
        assert first_fitting(operation, mutant, kind), f"{label} passes, or no flag fits"
    assert len(labels) >= 13


def test_the_first_mistakes_of_planted_faults_are_caught():
    """Of faults that one call on contiguous arrays can show, all but those past the sizes of the set."""
    from backprop_properties.evidence.faults import FAULTS

    kinds = {"sign", "factor", "missing term", "cotangent ignored", "argument order", "transpose", "h′ at the output",
             "single element", "overflow", "saturation", "cancellation", "clipping", "kink", "ties", "exact zeros",
             "sum(y) = 1", "one-hot", "mask", "captured weights", "dtype", "mutation", "NaN hidden", "batch",
             "precision"}  # fmt: skip
    lecture = [fault for fault in FAULTS if fault.operation in OPERATIONS and not fault.witness]
    small = [fault for fault in lecture if max(fault.sizes.values(), default=0) <= 257 and fault.kind in kinds]
    passed = set()
    for fault, dtype in ((row, dtype) for row in small for dtype in row.dtypes):
        cases = [case for case in cases_of(fault.operation) if case.dtype.name == dtype]
        row = OPERATIONS[fault.operation]
        if not judged(cases, row, Implementation(fault.forward, fault.jacobian, fault.vjp))[1]:
            passed.add((fault.name, dtype))
    assert len(small) > 200
    assert passed == set()


# ── Other languages ─────────────────────────────────────────────────────────────────────────────────────────────────


def spoilt(tmp_path):
    """The softmax file with another first expected number of a case near its end, in both forms, and its tcId."""
    content = json.loads((VECTORS / "softmax.json").read_text("utf-8"))
    tests = [test for group in content["testGroups"] for test in group["tests"]]
    test = [test for test in tests if test["value"]["expected"] and "Infinite" not in test["flags"]][-1]
    numbers = [2.0, *test["value"]["expected"][1:]]
    test["value"].update(expected=numbers, hex=to_text(np.array(numbers)))
    path = tmp_path / "spoilt.json"
    path.write_bytes(as_bytes(content))
    return path, test["tcId"]


def reader_agrees(command, tmp_path, level=()):
    count = len(cases_of("softmax"))
    right = subprocess.run([*command, VECTORS / "softmax.json", *level], capture_output=True, text=True, check=False)
    assert (right.returncode, right.stdout) == (0, f"{count} cases, 0 wrong\n"), right
    path, identity = spoilt(tmp_path)
    wrong = subprocess.run([*command, path, *level], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert f"tcId {identity}: wrong" in wrong.stdout
    assert f"{count} cases, 1 wrong" in wrong.stdout
    assert subprocess.run([*command, tmp_path / "none"], capture_output=True, check=False).returncode != 0


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_a_c_softmax_agrees_with_the_file(tmp_path):
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2"]
    subprocess.run(["cc", *strict, READERS / "softmax_check.c", "-lm", "-o", tmp_path / "check"], check=True)
    reader_agrees([tmp_path / "check"], tmp_path)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
@pytest.mark.parametrize("level", [[], ["standard"]])
def test_a_javascript_softmax_agrees_with_the_file(tmp_path, level):
    reader_agrees(["node", READERS / "softmax_check.mjs"], tmp_path, level)


PLAIN = """
const fs = require("fs");
const file = JSON.parse(fs.readFileSync(process.argv[1], "utf8"));
const bits = (x) => { const b = Buffer.alloc(8); b.writeDoubleBE(Number(x)); return b.toString("hex"); };
const tests = file.testGroups.flatMap((group) => group.tests);
console.log(JSON.stringify(tests.map((test) => [...test.inputs.x, ...test.value.expected].map(bits).join(""))));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
def test_javascript_reads_every_bit_with_nothing_but_json_parse():
    command = ["node", "-e", PLAIN, VECTORS / "gelu.json"]
    read = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def bits(a):
        return a.astype(">f8").tobytes().hex()

    assert read == [bits(case.inputs["x"]) + bits(case.value.expected) for case in cases_of("gelu")]


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
def test_the_program_on_the_page_judges(tmp_path):
    page = (READERS.parents[2] / "properties/README.md").read_text("utf-8")
    (program,) = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    said = {}
    for mine in ("Math.tanh", "(x) => x"):
        words = ["node", "-e", f"const fs = require('fs'), mine = {mine};\n{program}"]
        said[mine] = subprocess.run(words, cwd=VECTORS, capture_output=True, text=True, check=True).stdout
    assert not said["Math.tanh"]
    assert len(said["(x) => x"].splitlines()) > 100


def test_plain_python_reads_and_judges_with_nothing_but_json():
    """What the format's description says, and no more: the standard library alone."""
    from math import exp, inf

    rows = json.loads((VECTORS / "sigmoid.json").read_text("utf-8"))["testGroups"]
    run = 0
    for group in (group for group in rows if group["dtype"] == "float64"):
        for test in group["tests"]:
            if {"Infinite", "NotANumber"} & set(test["flags"]):
                continue
            x, value = list(map(float, test["inputs"]["x"])), test["value"]
            got = [1 / (1 + exp(-a)) if a > 0 else exp(a) / (1 + exp(a)) if a > -700 else exp(a) for a in x]
            entries = zip(
                got, map(float, value["expected"]), value["condition"], map(float, value["standard"]), strict=True
            )
            assert all(
                g == e or units == inf or abs(g - e) / condition <= units * group["eps"]
                for g, e, condition, units in entries
            )
            run += 1
    assert run > 30


# ── The command itself ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_checks_the_packaged_set_in_under_20_seconds_of_work():
    command = "from backprop_properties.commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "vectors", "check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cases of 45 operations: ✓" in done.stdout


def test_cases_are_drawn_alike_whatever_else_was_drawn():
    first = list(chosen.chosen_cases(OPERATIONS["softmax"], 0))
    np.random.default_rng(0).random(10)
    second = list(chosen.chosen_cases(OPERATIONS["softmax"], 0))
    assert [case.args[0].tobytes() for case in first] == [case.args[0].tobytes() for case in second]
    assert any(
        a.args[0].tobytes() != b.args[0].tobytes()
        for a, b in zip(first, chosen.chosen_cases(OPERATIONS["softmax"], 1), strict=True)
    )
