"""Calls that are sent ahead: they begin at once, return what they return anyway, and what becomes of one is its own."""

import operator
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop_oracle.rows import row_of
from backprop_properties import check
from backprop_properties.cases.domains import PROMISES, matters
from backprop_properties.checking import messages as m
from backprop_properties.checking.calls import Gone
from backprop_properties.checking.check import USUAL, examined
from backprop_properties.checking.remote import Subject
from backprop_properties.checking.source_code import Code, code_of

FILE = """
import os, pathlib
import numpy as np

def square(x):
    with open(pathlib.Path(__file__).with_name("calls.txt"), "a") as file:
        file.write("square\\n")
    if x.size and x.flat[0] == 13:
        os._exit(3)
    if x.size and x.flat[0] == 17:
        raise ValueError("seventeen")
    return x * x

def square_vjp(delta, x):
    return 2 * delta * x

kept = []

def exp(x):
    kept[:] = kept or [np.exp(x)]
    return kept[0]

def exp_vjp(delta, x):
    x += 1
    return delta * x
"""


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    path.with_name("calls.txt").touch()
    one = Subject(path, step=60)
    yield one
    one.stop()


def loaded(subject: Subject, name: str = "square") -> Code:
    found = subject.load(m.Load(str(subject.calls.path), None, name, None))
    assert isinstance(found, m.Loaded)
    return subject.code(found, {"forward": name, "vjp": f"{name}_vjp"})


def made(path: Path, count: int) -> int:
    """How many calls were made, as soon as there are so many, or after a minute."""
    end = time.monotonic() + 60
    while (lines := path.with_name("calls.txt").read_text().count("square")) < count and time.monotonic() < end:
        time.sleep(0.01)
    return lines


def test_calls_begin_before_they_are_made_and_return_the_same(subject):
    code = loaded(subject)
    f, vjp = code.functions["forward"], code.functions["vjp"]
    x, y, delta = np.arange(3.0), np.arange(4.0)[::2], np.ones(3)
    f(x)
    subject.ahead(("forward", [x]), ("vjp", [delta, x]), ("forward", [y]))
    assert made(subject.calls.path, 3) == 3
    assert subject.calls.counts == {"forward": 1}
    assert f(x).tolist() == [0, 1, 4]
    assert vjp(delta, x).tolist() == [0, 2, 4]
    assert f(y).tolist() == [0, 4]
    assert made(subject.calls.path, 3) == 3
    assert subject.calls.counts == {"forward": 3, "vjp": 1}


@pytest.mark.parametrize(
    "other", [np.ones(4), np.arange(3.0), np.arange(3.0)[::-1], np.arange(3, dtype=np.float32), np.arange(6.0)[::2]]
)
def test_a_call_that_was_not_sent_is_made_and_what_was_sent_is_passed_over(subject, other):
    code = loaded(subject)
    f, x = code.functions["forward"], np.arange(3.0)
    subject.ahead(("forward", [x]), ("forward", [x]))
    assert f(other).tolist() == (other * other).tolist()
    assert made(subject.calls.path, 3) == 3
    subject.ahead(("forward", [x]))
    assert not subject.waiting  # arguments change on their way: there is no use


def test_calls_that_did_not_come_once_are_sent_again_if_such_calls_have_come(subject):
    code, x = loaded(subject), np.arange(3.0)
    f, vjp = code.functions["forward"], code.functions["vjp"]
    subject.ahead(("forward", [x]))
    assert f(x).tolist() == [0, 1, 4]
    subject.ahead(("forward", [x]))
    assert f(np.ones(2)).tolist() == [1, 1]
    subject.ahead(("forward", [x]), ("vjp", [x, x]))
    assert len(subject.waiting) == 2
    assert f(x).tolist() == [0, 1, 4]
    assert vjp(x.copy(), x).tolist() == [0, 2, 8]
    subject.ahead(("forward", [x]))
    assert not subject.waiting  # no vjp has ever come as it was sent


def test_a_law_that_ends_early_takes_nothing_from_the_next(subject):
    code = loaded(subject)
    f, x, y = code.functions["forward"], np.arange(3.0), np.ones(2)
    for _ in range(3):
        subject.ahead(("forward", [x]), ("forward", [x]), ("forward", [x]))
        assert f(x).tolist() == [0, 1, 4]
        assert f(y).tolist() == [1, 1]
    assert made(subject.calls.path, 12) == 12
    assert subject.calls.counts == {"forward": 12}


def test_what_one_raises_and_the_end_of_the_process_is_told_of_that_call(subject):
    code = loaded(subject)
    f, good, raises, ends = code.functions["forward"], np.ones(2), np.full(2, 17.0), np.full(2, 13.0)
    subject.ahead(*(("forward", [x]) for x in (good, raises, good, ends, good)))
    made(subject.calls.path, 4)
    assert f(good).tolist() == [1, 1]
    with pytest.raises(Exception, match=r"forward raised ValueError: seventeen \(line \d+ of mine.py\)"):
        f(raises)
    assert f(good).tolist() == [1, 1]
    with pytest.raises(Gone, match=r"^the process ended itself with exit code 3 in call 4 of forward") as gone:
        f(ends)
    assert gone.value.call
    assert gone.value.call.args[0] is ends


def test_more_than_the_pipe_has_room_for_is_not_sent_ahead(subject):
    code = loaded(subject)
    f, x = code.functions["forward"], np.ones(10_000)
    many: list[tuple[str, Any]] = [("forward", [x])] * 1000
    subject.ahead(*many)
    sent = len(subject.waiting)
    assert sent * x.nbytes <= subject.program.asks.pages() * 4096
    assert sent < 1000
    for _ in many[: sent + 2]:
        assert f(x).sum() == 10_000
    large = np.ones(1 << 18)
    subject.ahead(("forward", [large]))
    assert not subject.waiting
    assert f(large).sum() == large.size


def test_the_last_page_takes_no_message_that_is_longer(subject, monkeypatch):
    code, x = loaded(subject), np.ones(511)  # with the words around it, two pages
    monkeypatch.setattr(subject.program.asks, "pages", lambda: 3)
    subject.ahead(("forward", [x]), ("forward", [x]))
    assert len(subject.waiting) == 1
    assert code.functions["forward"](x).sum() == code.functions["forward"](x).sum() == 511


def test_a_result_that_comes_again_is_the_same_though_nobody_held_it_here(subject):
    f, x = loaded(subject, "exp").functions["forward"], np.zeros(2)
    first = f(x)
    subject.ahead(("forward", [x]), ("forward", [x]))
    del first
    assert f(x).tolist() == [1, 1]
    assert f(x).tolist() == [1, 1]


def test_a_call_after_one_that_writes_sees_what_it_wrote(subject):
    vjp, delta, x = loaded(subject, "exp").functions["vjp"], np.ones(2), np.zeros(2)
    subject.ahead(*[("vjp", [delta, x])] * 3)
    assert [vjp(delta, x)[0], vjp(delta, x)[0]] == [1, 2]
    assert x.tolist() == [2, 2]


def test_what_a_call_that_does_not_come_wrote_is_not_seen(subject):
    code, delta, x = loaded(subject, "exp"), np.ones(2), np.zeros(2)
    subject.ahead(("vjp", [delta, x]))
    code.functions["forward"](np.zeros(2))
    assert x.tolist() == [0, 0]
    assert code.functions["vjp"](delta, x).tolist() == [1, 1]


def test_calls_are_measured_where_they_are_made(subject):
    code, x = loaded(subject), np.ones(100_000)
    f, meter = code.functions["forward"], code.meter
    assert meter
    f(x)
    assert meter.peak == 0
    assert meter.seconds > 0
    meter.start()
    assert meter.seconds == 0
    f(x)
    assert 800_000 <= meter.peak < 8_000_000
    assert meter.seconds > 0
    before, longer = meter.peak, np.ones(200_000)
    code.functions["vjp"](longer, longer)
    assert meter.peak > before  # the most of both
    f(np.ones(1_000_000))
    assert meter.peak < 8_000_000  # the first call of each kind is looked at


def test_memory_is_looked_at_in_a_call_that_found_no_room_in_the_pipe(subject, monkeypatch):
    code, x = loaded(subject), np.ones(512)
    monkeypatch.setattr(subject.program.asks, "pages", lambda: 1)
    code.meter.start()
    subject.ahead(("forward", [x]))
    assert not subject.waiting
    code.functions["forward"](x)
    assert code.meter.peak >= x.nbytes


def test_memory_is_looked_at_in_the_call_that_comes(subject):
    code, x = loaded(subject), np.ones(100_000)
    code.meter.start()
    subject.ahead(("forward", [np.ones(2)]))
    code.functions["vjp"](x, x)
    peak = code.meter.peak
    code.functions["forward"](np.ones(1_000_000))
    assert code.meter.peak >= 8_000_000 > peak


def test_a_pipe_of_unknown_size_takes_nothing_ahead(subject, monkeypatch):
    code = loaded(subject)
    monkeypatch.setattr(subject.program.asks, "pages", lambda: 0)
    subject.ahead(("forward", [np.ones(2)]))
    assert not subject.waiting
    assert code.functions["forward"](np.ones(2)).tolist() == [1, 1]


def log_sum_exp(x: Any) -> Any:
    largest = x.max(-1, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(-1, keepdims=True))


# whose bounds are asked for after the definition's
BY_OTHER_FORMULAS = {"softmax": {"forward": lambda x: np.exp(x - log_sum_exp(x))}}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["activation[relu]", "affine", "log", "softmax", "softmax_cross_entropy"])
def test_what_laws_say_comes_next_comes_next(name, dtype):
    """Every call that is sent ahead of right functions is made, in its order: none is made for nothing, but those of a
    law that has to be asked by other formulas, from its first result on that is beyond the bound of the definition.
    """
    row, waiting, came, wrong = row_of(name), list[tuple[str, Sequence[Any]]](), list[str](), list[Any]()

    def ahead(*calls: tuple[str, Sequence[Any]]) -> None:
        wrong.extend(waiting)
        waiting[:] = calls

    def heard(kind: str, f: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if waiting:
                sent, these = waiting.pop(0)
                same = sent == kind and all(map(operator.is_, these, args))
                (came if same else wrong).append(kind)
            return f(*args)

        return call

    written = {kind: getattr(row, kind) for kind in ("forward", "vjp", "jacobian")} | BY_OTHER_FORMULAS.get(name, {})
    functions = {kind: heard(kind, f) for kind, f in written.items()}
    promises = dict.fromkeys(filter(lambda promise: matters(promise, row), PROMISES), True)
    code = code_of(functions)._replace(ahead=ahead)
    asked = {**USUAL, "dtypes": (dtype,), "max_examples": 60, "domain": promises, "batch": True}
    report = examined(name, functions, **asked, code=code)
    assert not report.failures
    assert len(wrong + waiting) <= (20 if name in BY_OTHER_FORMULAS else 0)
    assert {*came} >= {"forward", "vjp"}
    assert len(came) > 500


KEPT: dict[Any, Any] = {}


def given_back(delta: Any, W: Any, x: Any, b: Any) -> Any:
    """The cotangent of b is delta itself."""
    return np.outer(delta, x), W.T @ delta, delta


def kept_by_bytes(x: Any) -> Any:
    """The same array for the same numbers."""
    key = x.tobytes(), x.shape, x.dtype
    return KEPT.setdefault(key, np.tanh(x))


def in_one_of_twelve(x: Any) -> Any:
    """Results take turns in twelve arrays of a shape."""
    ring = KEPT.setdefault((x.shape, x.dtype), [np.empty_like(x) for _ in range(12)])
    ring.append(ring.pop(0))
    return np.tanh(x, out=ring[-1])


def that_writes_where_rows_are_apart(x: Any) -> Any:
    if not x.flags.c_contiguous and x.flags.writeable:
        x *= 0.5
        return np.tanh(x * 2)
    return np.tanh(x)


def that_writes_at_nan(x: Any) -> Any:
    u = np.tanh(x)
    if x.flags.writeable:
        np.nan_to_num(x, copy=False)
    return u


def that_writes_in_batches(x: Any) -> Any:
    return np.tanh(x, out=x) if x.ndim > 1 and x.flags.writeable else np.tanh(x)


def that_reshapes_rows_apart(x: Any) -> Any:
    u = np.tanh(x)
    if x.ndim == 1 and x.size > 1 and not x.flags.c_contiguous:
        x.shape = (1, *x.shape)
    return u


def tanh_vjp(delta: Any, x: Any) -> Any:
    return delta / np.cosh(x) ** 2


@pytest.mark.parametrize(
    ("name", "functions", "right"),
    [
        ("affine", {"vjp": given_back}, True),
        ("tanh", {"forward": kept_by_bytes}, True),
        pytest.param("tanh", {"forward": in_one_of_twelve}, True, marks=pytest.mark.exhaustive),
        ("tanh", {"forward": that_writes_where_rows_are_apart, "vjp": tanh_vjp}, False),
        pytest.param("tanh", {"forward": that_writes_at_nan, "vjp": tanh_vjp}, False, marks=pytest.mark.exhaustive),
        pytest.param(
            "tanh",
            {"forward": that_writes_in_batches, "vjp": tanh_vjp, "batch": True},
            False,
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "tanh", {"forward": that_reshapes_rows_apart, "vjp": tanh_vjp}, False, marks=pytest.mark.exhaustive
        ),
        ("tanh", {"forward": that_writes_where_rows_are_apart, "vjp": tanh_vjp, "may_write": ["x"]}, True),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else "",
)
def test_what_functions_do_with_memory_is_judged_as_if_none_were_sent_ahead(name, functions, right):
    KEPT.clear()
    here = check(name, **functions)
    there = check(name, **functions, isolated=True)
    assert (here.passed, there.passed) == (right, right), there.summary()
    assert [failure.law for failure in there.failures] == [failure.law for failure in here.failures]
