"""Another thread in the middle of a call: what is kept outside of calls is found, and what guards it is right."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backprop_properties import check, from_command
from backprop_properties.checking.threads import interruptible
from backprop_properties.laws.interruption import Interruption

HELD = {"threads": True}
LAW = "bears_another_thread"
scratch: dict[Any, Any] = {}
lock = threading.Lock()
own = threading.local()


def into(buffers: dict[Any, Any], x: Any) -> Any:
    b = buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
    np.tanh(x, out=b)
    b *= 1
    return b.copy()


def in_one_scratch(x: Any) -> Any:
    return into(scratch, x)


def copied_after_the_lock(x: Any) -> Any:
    with lock:
        b = scratch.setdefault((x.shape, x.dtype), np.empty_like(x))
        np.tanh(x, out=b)
    return b.copy()


def under_a_lock(x: Any) -> Any:
    with lock:
        return into(scratch, x)


def in_a_scratch_of_each_thread(x: Any) -> Any:
    own.__dict__.setdefault("buffers", {})
    return into(own.buffers, x)


def kept_by_all_its_bytes(x: Any) -> Any:
    key = x.tobytes(), x.shape, x.dtype
    if key not in scratch:
        scratch[key] = np.tanh(x)
    return scratch[key].copy()


def in_memory_of_its_own(x: Any) -> Any:
    return into({}, x)


def in_an_attribute_that_is_taken_away(x: Any) -> Any:
    scratch["x"] = x
    y = np.tanh(scratch["x"])
    del scratch["x"]
    return y


class Layer:
    """Whose backward takes what its forward has left."""

    def forward(self, x: Any) -> Any:
        self.y = np.tanh(x)
        return self.y.copy()

    def backward(self, delta: Any, x: Any) -> Any:
        self.forward(x)
        slope = 1 - self.y * self.y
        return delta * slope


@pytest.mark.parametrize("f", [in_one_scratch, copied_after_the_lock])
@pytest.mark.parametrize("isolated", [False, True])
def test_what_another_thread_changes_is_found(f: Callable[..., Any], isolated: bool) -> None:
    report = check("tanh", forward=f, domain=HELD, isolated=isolated)
    assert [failure.law for failure in report.failures] == [LAW], report
    assert report.failures[0].cause == "threads"
    assert report.verdicts["forward"].manners == "not for threads"


def test_so_is_what_a_layer_keeps_and_a_vjp_that_another_thread_s_forward_disturbs() -> None:
    layer = Layer()
    report = check("tanh", forward=layer.forward, vjp=layer.backward, domain=HELD)
    assert {failure.law for failure in report.failures} == {LAW}
    alone = check("tanh", vjp=Layer().backward, domain=HELD)
    assert "vjp returned other bits when another thread called vjp" in alone.failures[0].message


@pytest.mark.parametrize(
    "f", [under_a_lock, in_a_scratch_of_each_thread, kept_by_all_its_bytes, in_memory_of_its_own, np.tanh]
)
def test_what_bears_another_thread_is_right(f: Callable[..., Any]) -> None:
    report = check("tanh", forward=f, domain=HELD)
    assert not report.failures, report


def test_what_raises_then_is_told_with_the_thread() -> None:
    report = check("tanh", forward=in_an_attribute_that_is_taken_away, domain=HELD)
    assert "forward returned nothing when another thread called forward" in report.failures[0].message
    assert "raised KeyError" in report.failures[0].message
    assert report.failures[0].cause == "threads"


def test_by_default_it_is_told_and_held_against_nobody() -> None:
    report = check("tanh", forward=in_one_scratch)
    assert report.passed
    assert any(note.startswith("not for threads: in_one_scratch gave something else") for note in report.notes)
    assert not any(note.startswith("not for threads") for note in check("tanh", forward=in_memory_of_its_own).notes)


def test_what_has_no_lines_was_not_compared_and_says_so() -> None:
    report = check("tanh", forward=np.tanh, domain=HELD)
    assert not report.passed
    assert report.holds
    assert "nothing was compared of what was asked for: bears another thread" in str(report)


def test_of_a_program_nothing_is_said(tmp_path: Path) -> None:
    program = Path(__file__).with_name("misbehaving.py")
    notes = check("softmax", **from_command(["python3", str(program), "well"], "softmax"), max_examples=4).notes
    assert not any("threads" in note for note in notes)


def test_the_failure_is_reproduced_by_what_it_says() -> None:
    report = check("tanh", forward=in_one_scratch, domain=HELD)
    with pytest.raises(AssertionError, match="another thread called forward"):
        exec(report.failures[0].reproduction, {"in_one_scratch": in_one_scratch})
    code = report.failures[0].reproduction.replace("=in_one_scratch", "=in_memory_of_its_own")
    exec(code, {"in_memory_of_its_own": in_memory_of_its_own})


def test_a_tracer_that_is_there_stays_and_no_thread_is_left() -> None:
    seen: list[str] = []

    def mine(frame: Any, event: str, _: Any) -> Any:
        seen.append(event)

    import sys

    amid, before = Interruption(keep=True), threading.active_count()
    f = interruptible({"forward": in_one_scratch}, [into.__code__], amid)["forward"]
    f(np.ones(2))
    amid.at, old = 2, sys.gettrace()
    sys.settrace(mine)
    try:
        f(np.zeros(2))
        assert sys.gettrace() is mine
    finally:
        sys.settrace(old)
    assert amid.reached
    assert threading.active_count() == before
