"""Caches with keys that are too short, buffers that are used again, and what a forward leaves behind."""

import zlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from . import makers as m
from .makers import VJP, Array, Function
from .sometimes import when
from .table import Calls, Fault
from .witnesses import again, corner, forward, numbers, ordinary, vjp

STALE = "stale state"
IN_PLACE, TWICE = "sees_what_changed_in_place", "says_the_same_twice"


def cached(key: Callable[..., Any], f: Function) -> Function:
    """A dictionary of all results, by what `key` makes of the arguments; results are copies."""
    known: dict[Any, Any] = {}

    def found(*args: Array) -> Any:
        k = key(*args)
        if k not in known:
            known[k] = f(*args)
        return m.changed(lambda: known[k], np.array)()

    return found


def all_but(part: Function) -> Callable[..., Any]:
    """A key of shapes, dtypes, and what `part` takes of each array."""
    return lambda *args: tuple((a.shape, a.dtype.name, part(a)) for a in args)


def ring(f: Function, size: int) -> Function:
    """Results lie in a ring of buffers: after `size` calls with these shapes they are written over."""
    buffers: dict[Any, tuple[Array, ...]] = {}
    calls = count()

    def found(*args: Array) -> Any:
        results: tuple[Array, ...] = f(*args)
        kept = buffers.setdefault((next(calls) % size, m.shapes_of(args)), results)
        for buffer, result in zip(kept, results, strict=True):
            buffer[...] = result
        return kept

    return found


def layer(operation: str, least: int) -> dict[str, Function]:
    """An object whose backward takes the input of the last forward, if it has this shape and is long enough."""
    left: dict[str, Array] = {}

    def keep(x: Array) -> Any:
        left["x"] = x.copy()
        return forward(operation)(x)

    def back(delta: Array, x: Array) -> Any:
        last = left.get("x", x)
        return vjp(operation)(delta, last if last.shape == x.shape and x.shape[-1] >= least else x)

    return {"forward": keep, "vjp": back}


def scaled_in_place(f: Function) -> Function:
    """The cotangent is halved in place, and the result doubled, for more than 32 numbers."""

    def wrong(delta: Array, *args: Array) -> Any:
        if delta.size <= 32 or not delta.flags.writeable:
            return f(delta, *args)
        delta *= 0.5
        return m.changed(f, lambda r: 2 * r)(delta, *args)

    return wrong


def _add_to(*position: int, by: float) -> Function:
    """A call with something added to the first entry of an argument, and taken from its last."""

    def change(*args: Array) -> tuple[Array, ...]:
        found = [a.copy() for a in args]
        for i in position:
            found[i].flat[0] += by
            found[i].flat[-1] -= by
        return tuple(found)

    return change


def _checksums_agree() -> Calls:
    """Two vectors whose checksums agree in their last byte."""

    def calls() -> list[tuple[Array, Array]]:
        first: dict[int, Array] = {}
        for k in count():
            x = np.array([float(k), 0.5])
            other = first.setdefault(_last_byte(x), x)
            if other is not x:
                return [(np.ones(2), other), (np.ones(2), x)]
        return []

    return calls


def _last_byte(x: Array) -> int:
    return zlib.crc32(x.tobytes()) & 255


def _kept() -> Iterator[Fault]:
    def row(operation: str, what: str, law: str, witness: Calls, key: Callable[..., Any]) -> Fault:
        f = cached(key, vjp(operation))
        return corner(operation, f"kept-by-{what}", STALE, law, witness, "stale", vjp=f)

    hashed = all_but(lambda a: hash(tuple(a.ravel().tolist())))
    minus = numbers(([1, 1], [-1, 3]), ([1, 1], [-2, 3]))
    for operation in ("square", "tanh", "softmax"):
        yield row(operation, "hash", VJP, minus, hashed)
    yield row("dot", "hash", VJP, numbers((-1, [1, 2], [3, 4]), (-2, [1, 2], [3, 4])), hashed)
    wide, tall = ([[1, 1, 1], [2, 1, 1]], [[0, 1, 2], [3, 4, 0]]), ([[1, 1], [1, 2], [1, 1]], [[0, 1], [2, 3], [4, 0]])
    bare = numbers(wide, tall)
    yield row("log_softmax", "bytes", VJP, bare, lambda *args: tuple(a.tobytes() for a in args))
    yield row("l2_normalize", "bytes", VJP, bare, lambda *args: tuple(a.tobytes() for a in args))
    digits = numbers(([1, 1], [1e-15, 1]), ([1, 1], [3e-15, 1]))
    yield row("square", "fourteen-places", IN_PLACE, numbers(([1, 1], [1e-15, 2e-15]), ([1, 1], [3e-15, 2e-15])),
              all_but(lambda a: np.round(a, 14).tobytes()))  # fmt: skip
    yield row("log", "fourteen-places", VJP, digits, all_but(lambda a: np.round(a, 14).tobytes()))
    small = again(ordinary("hadamard", {}), lambda d, x, y: (d * 1e-20, x, y), lambda d, x, y: (d * 2e-20, x, y))
    yield row("hadamard", "sixteen-places", VJP, small, all_but(lambda a: np.round(a, 16).tobytes()))
    for operation in ("softmax", "affine", "layer_norm", "linear"):
        moved = again(numbers(([1, 2, 4], [3, 4, 6])) if operation == "softmax" else ordinary(operation, {}),
                      lambda d, x, *rest: (d, x[..., ::-1].copy(), *rest))  # fmt: skip
        yield row(operation, "sum", IN_PLACE, moved, all_but(lambda a: round(float(a.sum()), 9)))
    yield row("exp", "checksum", VJP, _checksums_agree(), lambda d, x: (d.tobytes(), x.shape, _last_byte(x)))
    yield row("softmax", "every-seventh-entry", IN_PLACE, again(ordinary("softmax", {"n": 40}), _add_to(1, by=0.5)),
              all_but(lambda a: a.ravel()[1::7].tobytes() if a.size > 20 else a.tobytes()))  # fmt: skip
    yield row("matvec", "moments", IN_PLACE,
              again(ordinary("matvec", {}), lambda d, W, x: (d, W[:, ::-1].copy(), x)),
              all_but(lambda a: (round(float(a.mean()), 9), round(float(a.std()), 9))))  # fmt: skip
    yield row("linear", "its-weights-corner", IN_PLACE,
              again(ordinary("linear", {}), lambda d, x, W, b: (d, x, W + 0.5 * (W[0, 0] != W) * (W[-1, -1] != W), b)),
              lambda d, x, W, b: (d.tobytes(), x.tobytes(), b.tobytes(), W[0, 0], W[-1, -1], W.shape))  # fmt: skip
    yield corner("sigmoid", "kept-by-half-precision", STALE, IN_PLACE, again(
        ordinary("sigmoid", {}), lambda d, x: (d, x * (1 + 1e-5))), "stale",
        vjp=cached(all_but(lambda a: a.astype(np.float16).tobytes()), vjp("sigmoid")))  # fmt: skip
    close = again(numbers(([1, 2], [3, 4]), dtype="float32"), lambda d, x: (d, x * np.float32(1.0001)))
    yield corner("square", "kept-by-four-digits", STALE, IN_PLACE, close, "stale", dtypes=("float32",),
                 vjp=cached(all_but(lambda a: str([f"{v:.4g}" for v in a.ravel()])), vjp("square")))  # fmt: skip


def _buffers() -> Iterator[Fault]:
    for operation in ("softmax", "linear", "layer_norm"):
        eleven = ordinary(operation, {})
        calls = again(eleven, *[lambda d, *args: (d * 2, *args)] * 10)
        yield corner(operation, "ring-of-ten", STALE, TWICE, calls, "stale", vjp=ring(vjp(operation), 10))
    yield corner("tanh", "ring-of-three", STALE, TWICE,
                 again(ordinary("tanh", {}), *[lambda d, x: (d * 2, x)] * 3), "stale",
                 vjp=ring(vjp("tanh"), 3))  # fmt: skip
    for operation in ("softmax", "tanh", "sigmoid"):
        two = again(ordinary(operation, {"n": 30}), lambda d, x: (d, x[::-1].copy()))
        yield corner(operation, "layer-past-30", STALE, "owes_nothing_to_the_last_forward", two, "stale",
                     sizes={"n": 30}, **layer(operation, 30))  # fmt: skip
    for operation, sizes in (("exp", {"n": 40}), ("affine", {"d": 40}), ("log_softmax", {"b": 6, "n": 7})):
        yield corner(operation, "writes-to-a-long-cotangent", "mutation", "leaves_its_inputs_alone",
                     ordinary(operation, sizes), "writes-input", sizes=sizes,
                     vjp=scaled_in_place(vjp(operation)))  # fmt: skip
    yield corner("batch_norm", "statistics-of-many-calls", STALE, TWICE, _many("batch_norm", 110), "intermittent",
                 vjp=_for_a_while(100, m.scaled(vjp("batch_norm"), 0.9, 0), vjp("batch_norm")))  # fmt: skip
    yield corner("swiglu", "weights-of-the-first-large-call", "captured weights", IN_PLACE,
                 again(ordinary("swiglu", {"d": 20, "n": 30}), lambda d, x, W, V: (d, x, W + 1, V)), "stale",
                 sizes={"d": 20, "n": 30},
                 vjp=when(lambda d, x, W, V: W.size > 500, m.captured(vjp("swiglu"), [2, 3]),
                          vjp("swiglu")))  # fmt: skip


def _many(operation: str, calls: int) -> Calls:
    one = ordinary(operation, {})
    return lambda: [*one()] * calls


def _for_a_while(k: int, wrong: Function, right: Function) -> Function:
    """Ten calls after the `k`-th are wrong."""
    calls = count(1)
    return lambda *args: (wrong if k < next(calls) <= k + 10 else right)(*args)


KEPT = [*_kept(), *_buffers()]
