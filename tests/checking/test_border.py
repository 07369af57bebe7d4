"""Memory on both sides of the border: arrays that share it here share it there, and what is written there is seen."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from backprop_properties.checking import messages as m
from backprop_properties.checking.remote import Subject
from backprop_properties.checking.subject import Functions

MOST = 1 << 20


class Direct:
    """A process that is none: what is sent to it is answered at once."""

    ready, over, crowded = True, False, False

    def __init__(self, functions: dict[str, Callable[..., Any]]) -> None:
        self.there, self.asks, self.answers = Functions(functions), self, self
        self.answered: list[bytes] = []

    def send(self, *messages: bytes, until: Any) -> None:
        self.answered += [m.encoded(self.there.answer(m.question(message))) for message in messages]

    def pages(self) -> int:
        return 256

    def receive(self, most: int, until: Any) -> bytes:
        return self.answered.pop(0)


def across(*functions: Callable[..., Any]) -> Sequence[Any]:
    """Functions as they are called from the other side, and what that holds."""
    program: Any = Direct({f"f{k}": f for k, f in enumerate(functions)})
    subject = Subject(None, step=60, program=program)
    return [*(subject.function(f"f{k}", "f") for k in range(len(functions))), program.there.memory.held]


def test_what_a_result_holds_now_is_seen_in_it_and_in_a_part_of_it():
    buffer = np.zeros(3)

    def whole(x):
        buffer[:] += x
        return buffer

    f, part, _ = across(whole, lambda x: buffer[:0:-1])
    first = f(np.ones(3))
    tail = part(np.ones(3))
    assert first.tolist() == [1, 1, 1]
    again = f(np.array([1.0, 2.0, 3.0]))
    assert first.tolist() == again.tolist() == [2, 3, 4]
    assert tail.tolist() == [4, 3]
    assert np.shares_memory(first, tail)


def test_a_new_array_is_a_new_stretch_and_what_nobody_holds_is_forgotten():
    f, held = across(lambda x: x + 1)
    first, second = f(np.zeros(2)), f(np.ones(2))
    assert not np.shares_memory(first, second)
    assert (first.tolist(), second.tolist()) == ([1, 1], [2, 2])
    del first, second
    for _ in range(50):
        f(np.zeros(2))
    assert len(held) <= 3  # the last argument and the last results


@pytest.mark.parametrize("view", [np.s_[:], np.s_[1:], np.s_[::-1], np.s_[::2]])
def test_a_view_of_an_argument_is_one_here_too(view):
    f, _ = across(lambda x: x[view])
    for x in (np.arange(5.0), np.arange(10.0)[::2], np.arange(10.0)[::-2]):
        assert np.shares_memory(f(x), x)
        np.testing.assert_array_equal(f(x), x[view])


@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_in_any_order_come_and_go_as_they_are(order):
    f, _ = across(lambda x: x.T)
    x = np.asarray(np.arange(6.0).reshape(2, 3), order=order)
    assert f(x).strides == x.T.strides
    np.testing.assert_array_equal(f(x), x.T)


def test_a_small_part_of_large_memory_does_not_bring_it_all():
    large = np.zeros(10**6)
    f, held = across(lambda x: large[4:6])
    found = f(np.ones(1))
    large[4] = 7
    f(np.ones(1))
    assert found.tolist() == [7, 0]
    assert sum(len(one.data) for one in held.values()) < 100


def test_arrays_over_the_same_foreign_memory_share_it():
    raw = (ctypes.c_double * 4)(1, 2, 3, 4)
    f, _ = across(lambda x: np.frombuffer(raw, np.float64)[int(x) :])
    first, second = f(np.array(0.0)), f(np.array(1.0))
    assert np.shares_memory(first, second)
    raw[1] = 9.0
    f(np.array(0.0))
    assert (first[1], second[0]) == (9, 9)


def test_an_argument_that_is_written_to_is_written_to_here():
    def f(x):
        x[0] = 5
        return x.sum()

    x = np.zeros(3)
    g, _ = across(f)
    assert g(x[1:]) == 5
    assert x.tolist() == [0, 5, 0]


@pytest.mark.parametrize("count", [3, 1000, 1001, 4000])
def test_one_of_several_results_may_be_a_list_of_rows_however_many(count):
    f, _ = across(lambda x: ([[v, -v] for v in x], tuple((v,) for v in x), [*x]))
    x = np.arange(float(count))
    for found, expected in zip(f(x), (np.stack([x, -x], 1), x[:, None], x), strict=True):
        np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_no_entries_and_no_axes(shape):
    f, _ = across(np.negative)
    assert f(np.ones(shape)).shape == shape


@pytest.mark.parametrize(
    "view",
    [
        m.View(1, 0, (3,), (8,), "<f8", True),
        m.View(1, 8, (2,), (8,), "<f8", True),
        m.View(1, 0, (2,), (-8,), "<f8", True),
        m.View(1, 0, (2**62,), (8,), "<f8", True),
        m.View(1, 0, (2, 2), (8,), "<f8", True),
        m.View(1, 0, (-1,), (8,), "<f8", True),
    ],
)
def test_a_view_beyond_its_memory_is_none(view):
    memory = np.zeros(16, np.uint8)
    with pytest.raises(ValueError, match="strides"):
        m.array_of(view, memory)
    assert m.array_of(m.View(1, 8, (2,), (-8,), "<f8", False), memory).tolist() == [0, 0]
